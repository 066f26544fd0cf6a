"""Unpacking one layer: a tar stream becomes a directory that overlayfs can stack.

Foreign bytes: every rule of node 17.2 holds here. Names are resolved by the kernel beneath the layer's own root
(openat2), entries are made new or not at all, whiteouts become overlayfs' own, and nothing is followed or changed
through a symbolic link.
"""

import os
import shutil
import stat
import tarfile
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import IO, Final

from homeport.node import syscalls
from homeport.node.unsharing import in_user_namespace

__all__ = ["LayerError", "Ownership", "unpack"]

WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"
RESERVED: Final = ".wh..wh."
MAX_ENTRIES: Final = 2_000_000
MAX_BYTES: Final = 64 << 30  # unpacked; a layer larger than this is taken for a bomb
_CHUNK: Final = 1 << 20


class LayerError(Exception):
    """The layer breaks the rules; the message names the entry."""


@dataclass(frozen=True, slots=True)
class Ownership:
    """What this process may do: `privileged` is real root (owners, devices, `trusted.` attributes)."""

    privileged: bool

    @property
    def opaque_attribute(self) -> str:
        return "trusted.overlay.opaque" if self.privileged else "user.overlay.opaque"

    @classmethod
    def of_this_process(cls) -> "Ownership":
        """Real root is uid 0 outside every user namespace."""
        return cls(os.geteuid() == 0 and not in_user_namespace())


def unpack(stream: IO[bytes], target: str, ownership: Ownership) -> int:
    """Fill the empty directory `target` from an uncompressed tar stream; return the bytes of file content.

    Raises LayerError, tarfile.TarError, OSError.
    """
    root = os.open(target, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return _Unpacking(root, ownership).run(stream)
    finally:
        os.close(root)


class _Unpacking:
    def __init__(self, root: int, ownership: Ownership) -> None:
        self.root, self.ownership = root, ownership
        self.whiteouts: set[str] = set()
        self.directories: dict[str, tarfile.TarInfo] = {}
        self.bytes = 0

    def run(self, stream: IO[bytes]) -> int:
        with tarfile.open(fileobj=stream, mode="r|") as archive:
            for count, entry in enumerate(archive):
                if count >= MAX_ENTRIES:
                    raise LayerError(f"more than {MAX_ENTRIES} entries")
                self.entry(archive, entry)
        for path, entry in sorted(self.directories.items(), reverse=True):
            with closing_fd(syscalls.open_in_root(self.root, path, os.O_RDONLY | os.O_DIRECTORY)) as fd:
                self.own(fd, entry)
                os.fchmod(fd, entry.mode & 0o7777)
                os.utime(fd, (entry.mtime, entry.mtime))
        return self.bytes

    def entry(self, archive: tarfile.TarFile, entry: tarfile.TarInfo) -> None:
        parts = _parts(entry.name)
        if not parts:
            if entry.isdir():
                self.directories["."] = entry
            return
        path, name = "/".join(parts), parts[-1]
        with closing_fd(self.parent(parts[:-1])) as parent:
            if name.startswith(WHITEOUT):
                self.whiteout(parent, path, name)
                return
            if entry.isdir():
                self.directory(parent, path, name, entry)
                return
            self.clear(parent, path, name)
            self.leaf(archive, parent, name, entry)

    def parent(self, parts: list[str]) -> int:
        """Open the directory an entry goes into, making what is missing; links in the way stay inside the layer."""
        path = "/".join(parts) or "."
        try:
            return syscalls.open_in_root(self.root, path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            pass
        except NotADirectoryError as error:
            raise LayerError(f"{path}: not a directory") from error
        with closing_fd(self.parent(parts[:-1])) as above:
            try:
                os.mkdir(parts[-1], 0o755, dir_fd=above)
            except FileExistsError as error:
                raise LayerError(f"{path}: a link to nowhere stands where a directory is needed") from error
        return syscalls.open_in_root(self.root, path, os.O_RDONLY | os.O_DIRECTORY)

    def whiteout(self, parent: int, path: str, name: str) -> None:
        if name == OPAQUE:
            self.make_opaque(parent)
            return
        if name.startswith(RESERVED):
            return
        hidden = name.removeprefix(WHITEOUT)
        if hidden in ("", ".", ".."):
            raise LayerError(f"{path}: whiteout of nothing")
        full = os.path.join(os.path.dirname(path), hidden)
        try:
            os.mknod(hidden, stat.S_IFCHR, 0, dir_fd=parent)
            self.whiteouts.add(full)
        except FileExistsError:  # replaced in this very layer: what is below must not shine through
            if full in self.directories:
                with closing_fd(os.open(hidden, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)) as fd:
                    self.make_opaque(fd)

    def make_opaque(self, fd: int) -> None:
        os.setxattr(fd, self.ownership.opaque_attribute, b"y")

    def directory(self, parent: int, path: str, name: str, entry: tarfile.TarInfo) -> None:
        self.directories[path] = entry
        hidden = path in self.whiteouts
        try:
            os.mkdir(name, 0o700, dir_fd=parent)
        except FileExistsError:
            if stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                return
            os.unlink(name, dir_fd=parent)
            os.mkdir(name, 0o700, dir_fd=parent)
        self.whiteouts.discard(path)
        if hidden:
            with closing_fd(os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)) as fd:
                self.make_opaque(fd)

    def clear(self, parent: int, path: str, name: str) -> None:
        """Remove what an earlier entry left under this name: the last one wins."""
        self.whiteouts.discard(path)
        try:
            os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return
        except IsADirectoryError:
            shutil.rmtree(name, dir_fd=parent)
            for known in [known for known in self.directories if f"{known}/".startswith(f"{path}/")]:
                del self.directories[known]

    def leaf(self, archive: tarfile.TarFile, parent: int, name: str, entry: tarfile.TarInfo) -> None:
        if entry.isfile():
            self.file(archive, parent, name, entry)
            return
        if entry.islnk():
            self.hard_link(parent, name, entry)
            return
        if entry.issym():
            if "\0" in entry.linkname:
                raise LayerError(f"{entry.name}: NUL in a link")
            os.symlink(entry.linkname, name, dir_fd=parent)
        elif entry.isfifo():
            os.mkfifo(name, entry.mode & 0o7777, dir_fd=parent)
        elif entry.ischr() or entry.isblk():
            if not self.ownership.privileged or (entry.devmajor, entry.devminor) == (0, 0):
                return  # an ordinary user makes no devices; 0/0 is overlayfs' whiteout and not the archive's to make
            kind = stat.S_IFCHR if entry.ischr() else stat.S_IFBLK
            os.mknod(name, kind | entry.mode & 0o7777, os.makedev(entry.devmajor, entry.devminor), dir_fd=parent)
        else:
            raise LayerError(f"{entry.name}: unknown kind of entry {entry.type!r}")
        if self.ownership.privileged:
            os.chown(name, entry.uid, entry.gid, dir_fd=parent, follow_symlinks=False)
        if not entry.issym():
            os.chmod(name, entry.mode & 0o7777, dir_fd=parent)
        os.utime(name, (entry.mtime, entry.mtime), dir_fd=parent, follow_symlinks=False)

    def file(self, archive: tarfile.TarFile, parent: int, name: str, entry: tarfile.TarInfo) -> None:
        self.bytes += entry.size
        if self.bytes > MAX_BYTES:
            raise LayerError(f"unpacks to more than {MAX_BYTES} bytes")
        source = archive.extractfile(entry)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with closing_fd(os.open(name, flags, 0o600, dir_fd=parent)) as fd:
            if source is not None:
                with closing(source), open(fd, "wb", closefd=False) as out:
                    shutil.copyfileobj(source, out, _CHUNK)
            self.own(fd, entry)
            os.fchmod(fd, entry.mode & 0o7777)
            self.attributes(fd, entry)
            os.utime(fd, (entry.mtime, entry.mtime))

    def hard_link(self, parent: int, name: str, entry: tarfile.TarInfo) -> None:
        parts = _parts(entry.linkname.lstrip("/"))
        if not parts:
            raise LayerError(f"{entry.name}: link to the root")
        try:
            with closing_fd(
                syscalls.open_in_root(self.root, "/".join(parts[:-1]) or ".", os.O_RDONLY | os.O_DIRECTORY)
            ) as fd:
                os.link(parts[-1], name, src_dir_fd=fd, dst_dir_fd=parent, follow_symlinks=False)
        except FileNotFoundError as error:
            raise LayerError(f"{entry.name}: hard link to {entry.linkname}, which is not in this layer") from error

    def own(self, fd: int, entry: tarfile.TarInfo) -> None:
        if self.ownership.privileged:
            os.fchown(fd, entry.uid, entry.gid)
        elif os.geteuid() == 0:  # in a user namespace: ids without a mapping stay ours
            with suppress(OSError):
                os.fchown(fd, entry.uid, entry.gid)

    def attributes(self, fd: int, entry: tarfile.TarInfo) -> None:
        for key, value in entry.pax_headers.items():
            attribute = key.removeprefix("SCHILY.xattr.")
            if attribute == key or attribute.startswith("user.overlay."):
                continue
            if (attribute == "security.capability" and self.ownership.privileged) or attribute.startswith("user."):
                with suppress(OSError):  # a file system without extended attributes loses them, as everywhere
                    os.setxattr(fd, attribute, value.encode("utf-8", "surrogateescape"))


class closing_fd:
    """Close a descriptor at the end of a block."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __enter__(self) -> int:
        return self.fd

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def _parts(name: str) -> list[str]:
    """Return the components of an entry's name beneath the root. Raises LayerError on the way out or NUL."""
    if "\0" in name:
        raise LayerError(f"{name!r}: NUL in a name")
    if name.startswith("/"):
        raise LayerError(f"{name}: absolute")
    parts: list[str] = []
    for part in name.split("/"):
        if part in ("", "."):
            continue
        if part == "..":
            if not parts:
                raise LayerError(f"{name}: leads out of the layer")
            parts.pop()
            continue
        parts.append(part)
    return parts
