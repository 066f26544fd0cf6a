"""A container's root directory: an overlay of its image's layers, or of the host, with a layer of its own on top.

    <bundle>/rootfs   where it is mounted, in the namespace keeper's mount namespace
    <layer>.upper     what the container changed
    <layer>.work      overlayfs' own

An ordinary user cannot overlay `/` as a whole (its mounts are locked to it): there the root is a small tmpfs with one
overlay per top-level directory, and directories programs write in are made ours in advance (`hostlayer`). All paths
reach the kernel as descriptors, so neither length nor commas matter.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from homeport.node import syscalls
from homeport.node.images.host import is_host, program_of
from homeport.node.runtime.hostlayer import HostLayer

__all__ = ["FRESH_ON_HOST", "RootFilesystems"]

FRESH_ON_HOST: Final = ("/tmp", "/run")
_NOT_FROM_HOST: Final = frozenset({"proc", "sys", "dev", "run", "tmp", "boot", "lost+found", "mnt", "media"})
_MAX_DEPTH: Final = 3
_MAX_COPIED_BYTES: Final = 1 << 20
_MAX_OPTIONS: Final = 4000  # mount(2) takes one page


class RootFilesystems:
    """Mounts and unmounts root directories; runs in the namespace keeper's mount namespace.

    layers    image id → its layer directories, lowest first
    shared    a directory for what containers on the host image have in common
    rootless  inside our own user namespace
    """

    def __init__(self, layers: Callable[[str], Sequence[Path]], shared: Path, *, rootless: bool) -> None:
        self._layers, self._rootless = layers, rootless
        self._host = HostLayer(shared, rootless=rootless)

    def mount(self, bundle: Path, layer: Path, image_id: str, targets: Sequence[str] = ()) -> Path:
        """Make and mount `bundle/rootfs`, with a layer of its own. Raises OSError, or what `layers` raises.

        targets  where volumes will be mounted: on the host image their places must be ours to make
        """
        root, (upper, work) = bundle / "rootfs", _own_layer(layer)
        for path in (root, upper, work):
            path.mkdir(exist_ok=True)
            path.chmod(0o755)
        if is_host(image_id):
            self._host.prepare()
            self._host.lay_out(upper, program_of(image_id), targets)
            if self._rootless:
                self._mount_host_folders(root, upper, work)
            else:
                self._overlay([Path("/")], upper, work, root)
            return root
        layers = list(reversed(self._layers(image_id)))
        if not layers:
            layers = [bundle / "empty"]
            layers[0].mkdir(exist_ok=True)
        self._overlay(layers, upper, work, root)
        return root

    def separate_folders(self, image_id: str) -> Sequence[str]:
        """Return the top-level directories that are mounts of their own, so a read-only root does not cover them."""
        return [f"/{entry.name}" for entry in _host_folders()] if self._rootless and is_host(image_id) else []

    def unmount(self, bundle: Path, layer: Path) -> None:
        """Undo `mount` and drop the container's own layer. Absent is fine."""
        root = bundle / "rootfs"
        while os.path.ismount(root):
            syscalls.umount(str(root))
        for path in (*_own_layer(layer), bundle / "empty", root):
            _remove_tree(path)

    def _overlay(self, lower: Sequence[Path], upper: Path, work: Path, target: Path) -> None:
        with _paths([*lower, upper, work]) as names:
            *below, above, scratch = names
            options = f"lowerdir={':'.join(below)},upperdir={above},workdir={scratch}"
            if self._rootless:
                options += ",userxattr"
            if len(options) > _MAX_OPTIONS:
                raise OSError(f"an image of {len(lower)} layers is more than overlayfs can take in one mount")
            syscalls.mount("overlay", str(target), "overlay", 0, options)

    def _mount_host_folders(self, root: Path, upper: Path, work: Path) -> None:
        syscalls.mount("tmpfs", str(root), "tmpfs", syscalls.MS_NODEV, "mode=755")
        for entry in os.scandir("/"):
            if entry.is_symlink():
                (root / entry.name).symlink_to(os.readlink(entry.path))
        for entry in _host_folders():
            self._mount_folder(root, upper, work, entry.name, _MAX_DEPTH)
        for name in ("proc", "sys", "dev", "run", "tmp", "mnt"):
            (root / name).mkdir(mode=0o755, exist_ok=True)

    def _mount_folder(self, root: Path, layer: Path, scratch: Path, name: str, depth: int) -> None:
        """Overlay one of the host's directories, or put it together when something is mounted inside it.

        Such mounts are locked to the host's view, which the kernel does not let an ordinary user overlay: a container's
        `/etc` with its `resolv.conf`, for instance. What then cannot be had either stays empty.
        """
        host, target, upper = f"/{name}", root / name, layer / name
        work = scratch / name.replace("/", "%")
        for path in (target, upper, work):
            path.mkdir(parents=True, exist_ok=True)
        upper.chmod(os.stat(host).st_mode & 0o7777 | 0o700)
        try:
            self._overlay(self._host.below(name), upper, work, target)
            return
        except OSError:
            if depth == 0 or not os.access(host, os.R_OK | os.X_OK):
                return
        for entry in os.scandir(host):
            if entry.is_symlink():
                (target / entry.name).symlink_to(os.readlink(entry.path))
            elif entry.is_dir():
                self._mount_folder(root, layer, scratch, f"{name}/{entry.name}", depth - 1)
            elif entry.is_file():
                _copy_file(entry.path, target / entry.name)
        for own in os.scandir(upper):  # the container's own files, for which there is no overlay here
            if not own.is_dir(follow_symlinks=False):
                (target / own.name).unlink(missing_ok=True)
                shutil.copy(own.path, target / own.name, follow_symlinks=False)
            elif not (target / own.name).exists():
                shutil.copytree(own.path, target / own.name, symlinks=True)


def _own_layer(layer: Path) -> tuple[Path, Path]:
    """Return where overlayfs has a container's own files, and its scratch directory on the same file system."""
    return layer.with_name(f"{layer.name}.upper"), layer.with_name(f"{layer.name}.work")


def _copy_file(source: str, target: Path) -> None:
    """Copy a small file that we may read, with its mode; the rest is left out."""
    if os.stat(source).st_size <= _MAX_COPIED_BYTES and os.access(source, os.R_OK):
        shutil.copyfile(source, target)
        shutil.copymode(source, target)


def _host_folders() -> list[os.DirEntry[str]]:
    found = (entry for entry in os.scandir("/") if entry.is_dir(follow_symlinks=False))
    return sorted((entry for entry in found if entry.name not in _NOT_FROM_HOST), key=lambda entry: entry.name)


@contextmanager
def _paths(directories: Sequence[Path]) -> Iterator[list[str]]:
    """Yield short names for directories, valid in this process until the end of the block."""
    fds = [os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC) for directory in directories]
    try:
        yield [f"/proc/self/fd/{fd}" for fd in fds]
    finally:
        for fd in fds:
            os.close(fd)


def _remove_tree(directory: Path) -> None:
    """Remove a directory whatever modes its parts have (overlayfs leaves `work/work` at 0000)."""

    def unlock(function: Callable[..., object], path: str, _: object) -> None:
        os.chmod(os.path.dirname(path), 0o700)
        if stat.S_ISDIR(os.lstat(path).st_mode):
            os.chmod(path, 0o700)
            shutil.rmtree(path)
        else:
            function(path)

    if directory.exists():
        shutil.rmtree(directory, onerror=unlock)
