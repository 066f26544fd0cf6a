import os
import stat
from pathlib import Path

import pytest

from homeport.client.kubeconfig import KubeconfigError, load_kubeconfig, write_kubeconfig
from homeport.client.settings import ConnectionSettings

SETTINGS = ConnectionSettings(
    "https://127.0.0.1:6443", b"ca", b"cert", b"key", "token", tls_server_name="kubernetes", namespace="web"
)


def test_what_is_written_is_read_back_and_private(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    write_kubeconfig(path, "port", SETTINGS)
    assert load_kubeconfig(path) == load_kubeconfig(path, "port") == SETTINGS
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert os.listdir(tmp_path) == ["kubeconfig"]
    assert "key" not in repr(SETTINGS).replace("key_pem", "")


def test_files_are_relative_to_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_bytes(b"CA")
    (tmp_path / "token").write_text("t\n")
    (tmp_path / "config").write_text(
        "clusters: [{name: c, cluster: {server: 'https://h:1', certificate-authority: ca.crt}}]\n"
        "users: [{name: u, user: {tokenFile: token}}]\n"
        "contexts: [{name: x, context: {cluster: c, user: u}}]\n"
    )
    settings = load_kubeconfig(tmp_path / "config", "x")
    assert (settings.ca_pem, settings.token, settings.namespace) == (b"CA", "t", "default")
    assert settings.token_file == str(tmp_path / "token")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is no kubeconfig"),
        ("{", "config"),
        ("current-context: x", "has no context 'x'"),
        ("contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x", "has no cluster 'c'"),
        (
            "clusters: [{name: c, cluster: {server: s}}]\nusers: [{name: u, user: {exec: {}}}]\n"
            "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x",
            "needs 'exec'",
        ),
        (
            "clusters: [{name: c, cluster: {certificate-authority-data: '!'}}]\n"
            "contexts: [{name: x, context: {cluster: c}}]\ncurrent-context: x",
            "not base64",
        ),
    ],
)
def test_an_unusable_file_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)
    with pytest.raises(KubeconfigError, match=message) as refused:
        load_kubeconfig(path)
    assert str(path) in str(refused.value)
