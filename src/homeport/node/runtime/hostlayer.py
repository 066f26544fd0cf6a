"""What a container on the host image finds in its own layer before it starts.

A well-known program's files; and, for an ordinary user, directories. The host's directories belong to ids that do not
exist in our user namespace, so nobody inside could create anything in them; a directory of the same name in the
container's layer, which is ours, takes over their ownership while their content still shows.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from homeport.node.images.layer import Ownership
from homeport.node.images.programs import Program

__all__ = ["HostLayer"]

_WRITABLE: Final = (("/etc", 2), ("/home", 1), ("/opt", 2), ("/root", 0), ("/srv", 1), ("/usr/local", 2), ("/var", 3))
"""Where programs write, and how many levels below are made ours."""


class HostLayer:
    """Fills the upper layer of host-image containers. The host's directories are looked at once."""

    def __init__(self, *, rootless: bool) -> None:
        self._rootless = rootless
        self._opaque = Ownership(privileged=not rootless).opaque_attribute
        self._skeleton: list[str] | None = None

    def lay_out(self, upper: Path, program: Program | None, targets: Sequence[str]) -> None:
        """Write into an upper layer that is not mounted yet. Raises OSError."""
        if self._rootless:
            if self._skeleton is None:
                self._skeleton = [path for top, depth in _WRITABLE for path in _directories(top, depth)]
            for path in self._skeleton:
                self._directory(upper, path)
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
