"""What lies between the host's files and a container on the host image.

Well-known programs bring files, put into the container's own layer. And for an ordinary user there is a layer of empty
directories, shared by all containers: the host's directories belong to ids that do not exist in our user namespace, so
nobody inside could create anything in them; a directory of the same name that is ours takes over their ownership while
their content still shows.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from homeport.node.images.layer import Ownership
from homeport.node.images.programs import Program

__all__ = ["HostLayer"]

_WRITABLE: Final = (("/etc", 2), ("/home", 1), ("/opt", 2), ("/root", 0), ("/srv", 1), ("/usr/local", 2), ("/var", 3))
"""Where programs write, and how many levels below become ours."""


class HostLayer:
    """Makes the shared directories once, and fills the upper layers of host-image containers.

    skeleton  where the shared directories go; a new name per boot, since containers of this boot keep it mounted
    """

    def __init__(self, skeleton: Path, *, rootless: bool) -> None:
        self._rootless = rootless
        self._skeleton = skeleton
        self._opaque = Ownership(privileged=not rootless).opaque_attribute

    def below(self, folder: str) -> list[Path]:
        """Return what to stack under an overlay of the host's `/folder`, topmost first."""
        ours = self._skeleton / folder
        return [ours, Path("/", folder)] if self._rootless and ours.is_dir() else [Path("/", folder)]

    def prepare(self) -> None:
        """Make the shared directories unless they are there. Raises OSError."""
        if not self._rootless or self._skeleton.is_dir():
            return
        new = self._skeleton.with_name(f".{self._skeleton.name}.{os.getpid()}")
        new.mkdir()
        for top, depth in _WRITABLE:
            for path in _directories(top, depth):
                self._directory(new, path)
        new.rename(self._skeleton)

    def lay_out(self, upper: Path, program: Program | None, targets: Sequence[str]) -> None:
        """Write into an upper layer that is not mounted yet. Raises OSError."""
        if self._rootless:
            for target in targets:
                if not os.path.lexists(target):
                    self._directory(upper, os.path.dirname(target.rstrip("/")))
        if program is None:
            return
        for path in program.own:
            os.setxattr(self._directory(upper, path), self._opaque, b"y")
        for path, content in program.files:
            file = self._directory(upper, os.path.dirname(path)) / os.path.basename(path)
            file.write_text(content, encoding="utf-8")
            file.chmod(0o755 if content.startswith("#!") else 0o644)
        for path, target in program.links:
            if target == "%":
                if os.path.lexists(path):
                    continue
                target = program.find() or program.executable
            (self._directory(upper, os.path.dirname(path)) / os.path.basename(path)).symlink_to(target)

    def _directory(self, upper: Path, path: str) -> Path:
        """Make `path` and what is above it in the layer, with the host's modes (and owners, where we may)."""
        place, host = upper, "/"
        for part in os.path.realpath(path).strip("/").split("/"):
            if not part:
                continue
            place, host = place / part, os.path.join(host, part)
            try:
                place.mkdir()
            except FileExistsError:
                continue
            self._imitate(place, host)
        return place

    def _imitate(self, place: Path, host: str) -> None:
        try:
            status = os.stat(host)
        except FileNotFoundError:
            place.chmod(0o755)
            return
        if not self._rootless:
            os.chown(place, status.st_uid, status.st_gid)
            place.chmod(status.st_mode & 0o7777)
            return
        place.chmod(status.st_mode & 0o7777 | 0o700)
        if not os.access(host, os.R_OK | os.X_OK):
            os.setxattr(place, self._opaque, b"y")  # what we may not read does not show; the directory is ours


def _directories(top: str, depth: int) -> Iterator[str]:
    """Yield `top` and the real directories up to `depth` levels below it, as far as we may look."""
    if not os.path.isdir(top):
        return
    yield top
    if depth and os.access(top, os.R_OK | os.X_OK):
        for entry in os.scandir(top):
            if entry.is_dir(follow_symlinks=False):
                yield from _directories(entry.path, depth - 1)
