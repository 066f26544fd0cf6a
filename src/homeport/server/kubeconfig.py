"""The file clients connect with."""

import base64
import os
from pathlib import Path
from typing import Any

import msgspec

from homeport.server.pki import Credential

__all__ = ["write_kubeconfig"]


def write_kubeconfig(path: Path, name: str, url: str, ca: bytes, user: Credential) -> None:
    """Write a kubeconfig with everything embedded, mode 0600. JSON is YAML, so that is what it is in."""
    text = {field: base64.b64encode(value).decode() for field, value in _parts(ca, user)}
    document: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url, "certificate-authority-data": text["ca"]}}],
        "users": [
            {
                "name": name,
                "user": {"client-certificate-data": text["certificate"], "client-key-data": text["key"]},
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def _parts(ca: bytes, user: Credential) -> tuple[tuple[str, bytes], ...]:
    return ("ca", ca), ("certificate", user.certificate), ("key", user.key)
