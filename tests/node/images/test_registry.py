"""Pulling, against the distribution's own registry and skopeo, and against a registry that misbehaves."""

import asyncio
import hashlib
import json
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from homeport.node.images.reference import parse
from homeport.node.images.registry import RegistryPuller, api_host, is_loopback
from homeport.node.images.store import ImageStore
from homeport.node.runtime.contract import Image, ImageError
from tests.node.images.building import archive, entry, layer

LAYER = layer(entry("file", b"content"))


def pull(store: ImageStore, text: str) -> Image:
    async def ask() -> Image:
        with ThreadPoolExecutor(2) as threads:
            return await RegistryPuller(store, threads).pull(parse(text))

    return asyncio.run(ask())


@contextmanager
def registry(directory: Path) -> Iterator[str]:
    """The distribution's registry on a loopback port; yields `127.0.0.1:PORT`."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    config = directory / "config.yml"
    storage = {"filesystem": {"rootdirectory": str(directory / "blobs")}}
    config.write_text(json.dumps({"version": 0.1, "storage": storage, "http": {"addr": address}}))
    with open(directory / "registry.log", "wb") as log:
        process = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=subprocess.PIPE)
    assert process.stderr is not None
    with process.stderr as errors:
        for line in errors:
            if b"listening on" in line:
                break
        draining = Thread(target=errors.read)
        draining.start()
        try:
            yield address
        finally:
            process.terminate()
            process.wait()
            draining.join()


@pytest.mark.real
def test_an_image_pushed_by_skopeo_is_pulled(tmp_path: Path) -> None:
    archive(tmp_path / "image.tar", [LAYER], {"Cmd": ["run"]}, ["app:1"])
    store = ImageStore(tmp_path / "images")
    with registry(tmp_path) as address:
        command = ["skopeo", "--insecure-policy", "copy", "-q", "--dest-tls-verify=false"]
        subprocess.run([*command, f"docker-archive:{tmp_path}/image.tar", f"docker://{address}/app:1"], check=True)
        image = pull(store, f"{address}/app:1")
        assert image.command == ("run",)
        assert image.digest.startswith(f"{address}/app@sha256:")
        [directory] = store.layer_directories(image.id)
        assert (directory / "file").read_bytes() == b"content"
        assert pull(store, image.digest).id == image.id
        with pytest.raises(ImageError) as caught:
            pull(store, f"{address}/app:2")
    reference = f"{address}/app:2"
    assert caught.value.message == (
        f'failed to pull and unpack image "{reference}": failed to resolve reference "{reference}": '
        f"{reference}: not found"
    )


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


CONFIG = json.dumps({"rootfs": {"diff_ids": [digest(LAYER)]}}).encode()
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "config": {"digest": digest(CONFIG), "size": len(CONFIG)},
        "layers": [{"digest": digest(LAYER), "size": len(LAYER)}],
    }
).encode()


@contextmanager
def serving(pages: Mapping[str, tuple[int, Mapping[str, str], bytes]], *, token: str = "") -> Iterator[str]:
    """A registry that answers from a table; with `token` it wants to see that first."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if token and not self.path.startswith("/token") and self.headers["Authorization"] != f"Bearer {token}":
                self.send_response(401)
                realm = f'Bearer realm="http://{address}/token",service="s",scope="repository:app:pull"'
                self.send_header("WWW-Authenticate", realm)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            status, headers, body = pages.get(self.path.partition("?")[0], (404, {}, b""))
            first = int((self.headers["Range"] or "bytes=0-").removeprefix("bytes=").rstrip("-"))
            body = body[first:]
            self.send_response(206 if first and status == 200 else status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: 100 if "X-Cut" in headers and not first else None])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    address = f"127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield address
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def pages(**changes: tuple[int, Mapping[str, str], bytes]) -> dict[str, tuple[int, Mapping[str, str], bytes]]:
    table: dict[str, tuple[int, Mapping[str, str], bytes]] = {
        "/v2/app/manifests/1": (200, {}, MANIFEST),
        f"/v2/app/blobs/{digest(CONFIG)}": (200, {}, CONFIG),
        f"/v2/app/blobs/{digest(LAYER)}": (200, {}, LAYER),
        "/token": (200, {}, b'{"token": "let-me"}'),
    }
    named = {"manifest": "/v2/app/manifests/1", "layer": f"/v2/app/blobs/{digest(LAYER)}"}
    return {**table, **{named[name]: page for name, page in changes.items()}}


def test_a_token_is_fetched_and_shown(tmp_path: Path) -> None:
    with serving(pages(), token="let-me") as address:
        assert pull(ImageStore(tmp_path), f"{address}/app:1").id == digest(CONFIG)


def test_a_wrong_token_is_access_denied(tmp_path: Path) -> None:
    with serving(pages(), token="other") as address, pytest.raises(ImageError, match="pull access denied"):
        pull(ImageStore(tmp_path), f"{address}/app:1")


def test_an_index_leads_to_this_machine(tmp_path: Path) -> None:
    entries = [
        {"digest": digest(b"no"), "platform": {"os": "unknown", "architecture": "unknown"}},
        {"digest": digest(b"no"), "platform": {"os": "windows", "architecture": "amd64"}},
        *(
            {"digest": digest(MANIFEST), "platform": {"os": "linux", "architecture": architecture}}
            for architecture in ("amd64", "arm64")
        ),
    ]
    index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    table = pages(manifest=(200, {}, index)) | {f"/v2/app/manifests/{digest(MANIFEST)}": (200, {}, MANIFEST)}
    with serving(table) as address:
        image = pull(ImageStore(tmp_path), f"{address}/app:1")
    assert image.digest == f"{address}/app@{digest(index)}"
    none = json.dumps({"schemaVersion": 2, "manifests": entries[:2]}).encode()
    with serving(pages(manifest=(200, {}, none))) as address, pytest.raises(ImageError, match="no match for platform"):
        pull(ImageStore(tmp_path), f"{address}/app:1")


def test_a_redirect_is_followed_and_a_broken_connection_resumed(tmp_path: Path) -> None:
    with serving({"/elsewhere": (200, {"X-Cut": "yes"}, LAYER)}) as other:
        away = (307, {"Location": f"http://{other}/elsewhere"}, b"")
        with serving(pages(layer=away)) as address:
            assert pull(ImageStore(tmp_path), f"{address}/app:1").id == digest(CONFIG)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"layer": (200, {}, b"x" * len(LAYER))}, "does not match its digest"),
        ({"layer": (200, {}, LAYER + b"more")}, "larger than"),
        ({"layer": (500, {}, b"")}, "unexpected status from GET request"),
        ({"manifest": (200, {}, b"{")}, "not JSON"),
        ({"manifest": (200, {}, b'{"schemaVersion": 1}')}, "unsupported manifest"),
    ],
)
def test_what_is_not_as_announced_is_refused(
    tmp_path: Path, changes: dict[str, tuple[int, Mapping[str, str], bytes]], why: str
) -> None:
    with serving(pages(**changes)) as address, pytest.raises(ImageError, match=why):
        pull(ImageStore(tmp_path), f"{address}/app:1")
    assert list(ImageStore(tmp_path).list()) == []


def test_an_unreachable_registry_is_reported_soon_and_remembered(tmp_path: Path) -> None:
    async def scenario() -> None:
        with ThreadPoolExecutor(2) as threads:
            puller = RegistryPuller(ImageStore(tmp_path), threads)
            for _ in range(2):
                started = time.monotonic()
                with pytest.raises(ImageError) as caught:
                    await puller.pull(parse("nowhere.invalid/app:1"))
                assert 'failed to do request: Head "https://nowhere.invalid/v2/app/manifests/1"' in caught.value.message
            assert time.monotonic() - started < 0.5

    asyncio.run(scenario())


def test_only_this_machine_is_asked_without_tls() -> None:
    assert [is_loopback(host) for host in ("localhost:5000", "127.0.0.1", "[::1]:80", "example.org", "10.0.0.1")] == [
        True,
        True,
        True,
        False,
        False,
    ]
    assert api_host("docker.io") == "registry-1.docker.io"
