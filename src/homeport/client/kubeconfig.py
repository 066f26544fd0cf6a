"""Kubeconfig files: read into connection settings, written so that kubectl and every client library understand them."""

import base64
import binascii
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from homeport.client.settings import ConnectionSettings

__all__ = ["KubeconfigError", "kubeconfig", "load_kubeconfig", "write_kubeconfig"]


class KubeconfigError(ValueError):
    """The file cannot be used; the message names it and the entry at fault."""


def load_kubeconfig(path: Path, context: str = "") -> ConnectionSettings:
    """Return the settings of a context (the current one by default); files it names are relative to it.

    Raises KubeconfigError; also for credential plugins (`exec`, `auth-provider`), which are not run.
    """
    try:
        document = yaml.safe_load(path.read_text())
    except OSError as error:
        raise KubeconfigError(f"{path}: {error.strerror or error}") from error
    except yaml.YAMLError as error:
        raise KubeconfigError(f"{path}: {error}") from error
    if not isinstance(document, Mapping):
        raise KubeconfigError(f"{path}: is no kubeconfig")
    name = context or document.get("current-context") or ""
    chosen = _entry(path, document, "contexts", "context", name)
    cluster = _entry(path, document, "clusters", "cluster", chosen.get("cluster", ""))
    user = _entry(path, document, "users", "user", chosen["user"]) if chosen.get("user") else {}
    for plugin in ("exec", "auth-provider"):
        if plugin in user:
            raise KubeconfigError(f"{path}: user {chosen['user']!r} needs {plugin!r}, which is not supported")
    token, token_file = user.get("token", ""), ""
    if not token and user.get("tokenFile"):
        token, token_file = _read(path, user["tokenFile"]).decode().strip(), str(path.parent / user["tokenFile"])
    return ConnectionSettings(
        server=cluster.get("server", ""),
        ca_pem=_blob(path, cluster, "certificate-authority"),
        cert_pem=_blob(path, user, "client-certificate"),
        key_pem=_blob(path, user, "client-key"),
        token=token,
        token_file=token_file,
        tls_server_name=cluster.get("tls-server-name", ""),
        insecure=bool(cluster.get("insecure-skip-tls-verify", False)),
        namespace=chosen.get("namespace") or "default",
    )


def kubeconfig(name: str, settings: ConnectionSettings) -> dict[str, Any]:
    """Return a kubeconfig document with one cluster, user and context, all called `name`."""
    cluster: dict[str, Any] = {"server": settings.server}
    if settings.ca_pem:
        cluster["certificate-authority-data"] = _base64(settings.ca_pem)
    if settings.tls_server_name:
        cluster["tls-server-name"] = settings.tls_server_name
    if settings.insecure:
        cluster["insecure-skip-tls-verify"] = True
    user: dict[str, Any] = {}
    if settings.cert_pem:
        user["client-certificate-data"] = _base64(settings.cert_pem)
        user["client-key-data"] = _base64(settings.key_pem)
    if settings.token:
        user["token"] = settings.token
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": settings.namespace}}],
        "current-context": name,
    }


def write_kubeconfig(path: Path, name: str, settings: ConnectionSettings) -> None:
    """Write a kubeconfig, mode 0600, in one step: readers see the old file or the new one."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            yaml.safe_dump(kubeconfig(name, settings), file, sort_keys=False)
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def _entry(path: Path, document: Mapping[str, Any], plural: str, kind: str, name: str) -> Mapping[str, Any]:
    for item in document.get(plural) or ():
        if item.get("name") == name:
            found: Mapping[str, Any] = item.get(kind) or {}
            return found
    raise KubeconfigError(f"{path}: has no {kind} {name!r}")


def _blob(path: Path, entry: Mapping[str, Any], name: str) -> bytes:
    """Return the bytes of `name-data`, or of the file `name` points to."""
    data = entry.get(f"{name}-data")
    if data:
        try:
            return base64.b64decode(data, validate=True)
        except binascii.Error as error:
            raise KubeconfigError(f"{path}: {name}-data is not base64") from error
    return _read(path, entry[name]) if entry.get(name) else b""


def _read(path: Path, name: str) -> bytes:
    try:
        return (path.parent / name).read_bytes()
    except OSError as error:
        raise KubeconfigError(f"{path}: {path.parent / name}: {error.strerror or error}") from error


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
