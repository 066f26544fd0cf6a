"""Image archives: what `docker save`, `podman save` or `skopeo copy` write (node 12.5 rule 6).

Two layouts, each as a tar (plain, gzip or zstandard) or as a directory: docker-archive (`manifest.json`) and OCI image
layout (`index.json`, `blobs/`). Names found inside an archive are looked up in it only.
"""

import hashlib
import json
import os
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Final, Protocol, cast

import zstandard

from homeport.node import syscalls
from homeport.node.images.platform import NoPlatform, choose, this_architecture
from homeport.node.images.reference import InvalidReference, Reference, parse
from homeport.node.images.store import BadImage, ImageRecord, ImageStore, Layer, decompress

__all__ = ["load"]

MAX_JSON_BYTES: Final = 4 << 20
_NAME_ANNOTATIONS: Final = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_INDEXES: Final = frozenset(
    {"application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json"}
)


class _Source(Protocol):
    def open(self, name: str) -> IO[bytes]:
        """Open a file of the archive. Raises KeyError when it has none by that name."""
        ...


def load(store: ImageStore, path: Path) -> Sequence[tuple[ImageRecord, Sequence[Reference]]]:
    """Add every image of an archive or layout to the store, with its names.

    Raises BadImage, with a text that names the archive and says what is wrong.
    """
    try:
        with _opened(path) as source:
            listing = _json(source, "manifest.json", missing_ok=True)
            if listing is not None:
                return [_docker(store, source, entry) for entry in _expect(listing, list, "manifest.json")]
            index = _json(source, "index.json", missing_ok=True)
            if index is not None:
                return _layout(store, source, _expect(index, dict, "index.json"))
            raise BadImage("neither a docker archive nor an OCI layout: no manifest.json or index.json inside")
    except (BadImage, OSError, tarfile.TarError, zlib.error, zstandard.ZstdError, EOFError, KeyError) as error:
        raise BadImage(f"cannot load image archive {path}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    match error:
        case OSError() if error.strerror:
            return error.strerror
        case tarfile.TarError():
            return f"not a readable tar archive ({error})"
        case KeyError():
            return str(error.args[0])
    return str(error)


def _docker(store: ImageStore, source: _Source, entry: Any) -> tuple[ImageRecord, Sequence[Reference]]:
    entry = _expect(entry, dict, "manifest.json")
    config = _small(source, _expect(entry.get("Config"), str, "manifest.json: Config"))
    diff_ids = (json.loads(config).get("rootfs") or {}).get("diff_ids") or []
    names = _expect(entry.get("Layers"), list, "manifest.json: Layers")
    if len(names) != len(diff_ids):
        raise BadImage(f"{len(names)} layers in manifest.json, {len(diff_ids)} in the configuration")
    layers = [_layer(source, name, diff_id) for name, diff_id in zip(names, diff_ids, strict=True)]
    references = [_reference(tag) for tag in entry.get("RepoTags") or ()]
    return store.add(config, layers, references, loaded=True), references


def _layout(
    store: ImageStore, source: _Source, index: Mapping[str, Any]
) -> Sequence[tuple[ImageRecord, Sequence[Reference]]]:
    found = []
    for descriptor in _expect(index.get("manifests"), list, "index.json: manifests"):
        references = _named(descriptor)
        manifest_digest = descriptor["digest"]
        manifest = _blob_json(source, manifest_digest)
        while descriptor.get("mediaType") in _INDEXES or "manifests" in manifest:
            try:
                descriptor = choose(manifest["manifests"], *this_architecture())
            except NoPlatform as error:
                raise BadImage(str(error)) from error
            manifest = _blob_json(source, descriptor["digest"])
        config = _blob(source, manifest["config"]["digest"])
        diff_ids = (json.loads(config).get("rootfs") or {}).get("diff_ids") or []
        blobs = [_blob_name(layer["digest"]) for layer in manifest["layers"]]
        if len(blobs) != len(diff_ids):
            raise BadImage(f"{len(blobs)} layers in the manifest, {len(diff_ids)} in the configuration")
        layers = [_layer(source, name, diff_id) for name, diff_id in zip(blobs, diff_ids, strict=True)]
        found.append((store.add(config, layers, references, manifest_digest=manifest_digest, loaded=True), references))
    if not found:
        raise BadImage("index.json lists no image")
    return found


def _named(descriptor: Mapping[str, Any]) -> Sequence[Reference]:
    annotations = descriptor.get("annotations") or {}
    for key in _NAME_ANNOTATIONS:
        if key in annotations:
            return [_reference(annotations[key])]
    return []


def _reference(text: str) -> Reference:
    try:
        return parse(text)
    except InvalidReference as error:
        raise BadImage(f"image name {text!r}: {error}") from error


def _layer(source: _Source, name: str, diff_id: str) -> Layer:
    return Layer(diff_id, lambda: source.open(name))


def _blob_name(digest: str) -> str:
    algorithm, _, digits = digest.partition(":")
    if algorithm != "sha256" or not digits.isalnum():
        raise BadImage(f"digest {digest!r} is not sha256")
    return f"blobs/{algorithm}/{digits}"


def _blob(source: _Source, digest: str) -> bytes:
    data = _small(source, _blob_name(digest))
    if hashlib.sha256(data).hexdigest() != digest.partition(":")[2]:
        raise BadImage(f"blob {digest} does not match its digest")
    return data


def _blob_json(source: _Source, digest: str) -> dict[str, Any]:
    try:
        return cast(dict[str, Any], _expect(json.loads(_blob(source, digest)), dict, digest))
    except ValueError as error:
        raise BadImage(f"blob {digest} is not JSON: {error}") from error


def _json(source: _Source, name: str, *, missing_ok: bool) -> Any:
    try:
        return json.loads(_small(source, name))
    except KeyError:
        if missing_ok:
            return None
        raise
    except ValueError as error:
        raise BadImage(f"{name} is not JSON: {error}") from error


def _small(source: _Source, name: str) -> bytes:
    try:
        with source.open(name) as file:
            data = file.read(MAX_JSON_BYTES + 1)
    except KeyError as error:
        if name in ("manifest.json", "index.json"):
            raise
        raise BadImage(f"{name} is missing") from error
    if len(data) > MAX_JSON_BYTES:
        raise BadImage(f"{name} is larger than {MAX_JSON_BYTES} bytes")
    return data


def _expect(value: Any, kind: type, where: str) -> Any:
    if not isinstance(value, kind):
        raise BadImage(f"{where} is not a JSON {'object' if kind is dict else 'list' if kind is list else 'string'}")
    return value


@contextmanager
def _opened(path: Path) -> Iterator[_Source]:
    if path.is_dir():
        root = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            yield _Directory(root)
        finally:
            os.close(root)
        return
    with open(path, "rb") as raw:
        magic = raw.read(4)
        raw.seek(0)
        if magic[:2] != b"\x1f\x8b" and magic != b"\x28\xb5\x2f\xfd":
            with tarfile.open(fileobj=raw, mode="r:") as archive:
                yield _Tar(archive)
            return
        with tempfile.TemporaryFile(dir=path.parent if os.access(path.parent, os.W_OK) else None) as plain:
            stream = decompress(raw)  # an archive is read in any order, so a compressed one is laid out first
            while chunk := stream.read(1 << 20):
                plain.write(chunk)
            plain.seek(0)
            with tarfile.open(fileobj=plain, mode="r:") as archive:
                yield _Tar(archive)


class _Tar:
    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._names = {member.name.removeprefix("./"): member for member in archive}

    def open(self, name: str) -> IO[bytes]:
        member = self._names.get(name.removeprefix("./"))
        file = self._archive.extractfile(member) if member is not None else None  # follows links inside the archive
        if file is None:
            raise KeyError(f"{name} is missing")
        return file


class _Directory:
    def __init__(self, root: int) -> None:
        self._root = root

    def open(self, name: str) -> IO[bytes]:
        try:
            return open(syscalls.open_in_root(self._root, name, os.O_RDONLY), "rb")
        except FileNotFoundError as error:
            raise KeyError(f"{name} is missing") from error
