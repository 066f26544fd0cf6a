"""Images on disk: unpacked layers by digest, image records, and the names that lead to them.

    <images>/layers/<32 hex digits of the diff id>/   one directory per layer, shared, never changed
    <images>/index.json                               image records and references
    <images>/lock                                     held while either changes

Nothing here needs a running engine: the command line uses the same functions. A layer appears by rename once it is
complete and on disk, so a crash leaves at most a `.new-…` directory, which the next writer removes.
"""

import fcntl
import hashlib
import io
import json
import os
import shutil
import tarfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, cast

import zstandard

from homeport.node import syscalls
from homeport.node.images.layer import LayerError, Ownership, unpack
from homeport.node.images.reference import Reference
from homeport.node.runtime.contract import Image

__all__ = ["BadImage", "ImageRecord", "ImageStore", "Layer", "decompress"]

_LAYER_NAME_LENGTH: Final = 32  # hex digits: 128 bits name a layer, and 80 of them fit in one page of mount options


class BadImage(Exception):
    """The image's parts do not fit together, or a layer cannot be unpacked; the message is for people."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer to add: the digest of its uncompressed tar, and how to open it (compressed or not)."""

    diff_id: str
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One image in the store. `loaded`: it came from an archive, no registry vouches for it."""

    id: str
    manifest_digest: str
    config: Mapping[str, Any]
    layers: tuple[str, ...]
    size_bytes: int
    loaded: bool

    def image(self, reference: str, digest: str = "") -> Image:
        """Return what the node agent works with, under the name it was asked for."""
        config = self.config.get("config") or {}
        pairs = (text.partition("=") for text in config.get("Env") or ())
        return Image(
            id=self.id,
            reference=reference,
            digest=digest,
            entrypoint=tuple(config.get("Entrypoint") or ()),
            command=tuple(config.get("Cmd") or ()),
            environment=tuple((name, value) for name, _, value in pairs),
            user=config.get("User") or "",
            working_directory=config.get("WorkingDir") or "",
            stop_signal=config.get("StopSignal") or "",
            size_bytes=self.size_bytes,
        )


class ImageStore:
    """The images below one directory (`<data>/images`)."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._layers = root / "layers"

    def resolve(self, reference: Reference) -> ImageRecord | None:
        """Return the image a full reference leads to, or None."""
        index = self._read()
        found = index["references"].get(str(reference))
        return _record(found, index["images"][found]) if found else None

    def get(self, image_id: str) -> ImageRecord | None:
        """Return the image with this config digest, or None."""
        tree = self._read()["images"].get(image_id)
        return _record(image_id, tree) if tree else None

    def list(self) -> Sequence[Image]:
        """Return every image once per reference; those nothing refers to, under their id."""
        index = self._read()
        images = {image_id: _record(image_id, tree) for image_id, tree in index["images"].items()}
        named = [images[image_id].image(name) for name, image_id in sorted(index["references"].items())]
        unnamed = set(images) - set(index["references"].values())
        return named + [images[image_id].image(image_id) for image_id in sorted(unnamed)]

    def layer_directories(self, image_id: str) -> Sequence[Path]:
        """Return the image's layers, lowest first. Raises BadImage when it is not here."""
        record = self.get(image_id)
        if record is None:
            raise BadImage(f"image {image_id} is not in the store")
        return [self._directory(diff_id) for diff_id in record.layers]

    def add(
        self,
        config: bytes,
        layers: Sequence[Layer],
        references: Sequence[Reference],
        *,
        manifest_digest: str = "",
        loaded: bool,
    ) -> ImageRecord:
        """Unpack what is missing, record the image and its names. Raises BadImage, OSError.

        Every layer's uncompressed content must hash to its diff id, and the config must list the same ones.
        """
        image_id = f"sha256:{hashlib.sha256(config).hexdigest()}"
        tree = _config(config)
        diff_ids = [layer.diff_id for layer in layers]
        if (tree.get("rootfs") or {}).get("diff_ids", []) != diff_ids:
            raise BadImage("the image's configuration and its manifest list different layers")
        with self._locked():
            self._clear_remains()
            size = sum(self._add_layer(layer) for layer in layers)
            index = self._read()
            index["images"][image_id] = {
                "manifest": manifest_digest,
                "config": {"config": tree.get("config"), "architecture": tree.get("architecture")},
                "layers": diff_ids,
                "size": size,
                "loaded": loaded,
            }
            for reference in references:
                index["references"][str(reference)] = image_id
            self._write(index)
        return _record(image_id, index["images"][image_id])

    def remove(self, reference: Reference) -> bool:
        """Forget a name; the image and layers nothing else uses go with it. False when it was not there."""
        with self._locked():
            index = self._read()
            image_id = index["references"].pop(str(reference), None)
            if image_id is None:
                return False
            if image_id not in index["references"].values():
                del index["images"][image_id]
            self._write(index)
            used = {self._directory(layer) for tree in index["images"].values() for layer in tree["layers"]}
            for directory in set(self._layers.iterdir()) - used:
                _remove_tree(directory)
        return True

    def _directory(self, diff_id: str) -> Path:
        algorithm, _, digits = diff_id.partition(":")
        if algorithm != "sha256" or len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
            raise BadImage(f"layer digest {diff_id!r} is not sha256")
        return self._layers / digits[:_LAYER_NAME_LENGTH]

    def _add_layer(self, layer: Layer) -> int:
        directory = self._directory(layer.diff_id)
        record = directory.with_suffix(".json")
        if directory.is_dir() and record.is_file():
            return int(json.loads(record.read_text())["size"])
        _remove_tree(directory)
        new = self._layers / f".new-{os.getpid()}"
        new.mkdir(mode=0o755)
        try:
            with layer.open() as raw:
                hashing = _Hashing(decompress(raw))
                size = unpack(cast(IO[bytes], hashing), str(new), Ownership.of_this_process())
                hashing.drain()
            if hashing.digest != layer.diff_id:
                raise BadImage(f"layer {layer.diff_id} does not match its digest: it hashes to {hashing.digest}")
            fd = os.open(new, os.O_RDONLY | os.O_DIRECTORY)
            try:
                syscalls.sync_filesystem(fd)
            finally:
                os.close(fd)
            new.rename(directory)
        except (LayerError, tarfile.TarError, zlib.error, zstandard.ZstdError, EOFError) as error:
            raise BadImage(f"layer {layer.diff_id} cannot be unpacked: {error}") from error
        finally:
            _remove_tree(new)
        record.write_text(json.dumps({"size": size, "diff_id": layer.diff_id}), encoding="utf-8")
        return size

    def _clear_remains(self) -> None:
        for remains in self._layers.glob(".new-*"):
            _remove_tree(remains)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._layers.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self.root / "lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _read(self) -> dict[str, Any]:
        try:
            index: dict[str, Any] = json.loads((self.root / "index.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {"images": {}, "references": {}}
        return index

    def _write(self, index: Mapping[str, Any]) -> None:
        new = self.root / "index.json.new"
        with open(new, "w", encoding="utf-8") as file:
            json.dump(index, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.root / "index.json")


class _Hashing(io.RawIOBase):
    """Reads through and hashes."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source, self._hash = source, hashlib.sha256()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(size)
        self._hash.update(data)
        return data

    def drain(self) -> None:
        while self.read(1 << 20):
            pass

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"


def decompress(raw: IO[bytes]) -> IO[bytes]:
    """Return a reader of the plain bytes of a gzip, zstandard or plain stream, told apart by its first bytes."""
    head = raw.read(4)
    source = cast(IO[bytes], _Rejoined(head, raw))
    if head[:2] == b"\x1f\x8b":
        return cast(IO[bytes], _Gunzip(source))
    if head == b"\x28\xb5\x2f\xfd":
        return cast(IO[bytes], zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True))
    return source


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were looked at already."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not self._head:
            return self._rest.read(size)
        taken = self._head if size < 0 else self._head[:size]
        self._head = self._head[len(taken) :]
        if size < 0:
            return taken + self._rest.read()
        return taken


class _Gunzip(io.RawIOBase):
    """Reads a gzip stream without seeking; members may follow one another."""

    def __init__(self, source: IO[bytes]) -> None:
        self._source = source
        self._inflate = zlib.decompressobj(31)
        self._input = b""

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        limit = size if size > 0 else 1 << 20
        pieces = []
        while limit > 0:
            if not self._input:
                self._input = self._source.read(1 << 16)
                if not self._input:
                    if not self._inflate.eof:
                        raise EOFError("compressed data ends too early")
                    break
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(31)
            piece = self._inflate.decompress(self._input, limit)
            self._input = self._inflate.unconsumed_tail or self._inflate.unused_data
            pieces.append(piece)
            limit -= len(piece)
            if piece and size < 0:
                break
        return b"".join(pieces)


def _config(data: bytes) -> dict[str, Any]:
    try:
        tree = json.loads(data)
    except ValueError as error:
        raise BadImage(f"the image's configuration is not JSON: {error}") from error
    if not isinstance(tree, dict):
        raise BadImage("the image's configuration is not a JSON object")
    return tree


def _record(image_id: str, tree: Mapping[str, Any]) -> ImageRecord:
    return ImageRecord(image_id, tree["manifest"], tree["config"], tuple(tree["layers"]), tree["size"], tree["loaded"])


def _remove_tree(directory: Path) -> None:
    """Remove a layer, whatever modes its directories have."""
    if not directory.is_dir():
        directory.unlink(missing_ok=True)
        return
    for parent, names, _ in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            if not os.path.islink(path):
                os.chmod(path, 0o700)
    os.chmod(directory, 0o700)
    shutil.rmtree(directory)
