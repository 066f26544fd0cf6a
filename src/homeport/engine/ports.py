"""Ports on the host: chosen once, kept while they can be, so that a kubeconfig stays right over restarts."""

import errno
import json
from collections.abc import Awaitable, Callable

from homeport.engine.directory import DataDirectory, write_atomically

__all__ = ["PortTaken", "Ports"]


class PortTaken(Exception):
    """The port asked for belongs to somebody else."""


class Ports:
    """The ports a cluster used last, in `ports.json`."""

    def __init__(self, directory: DataDirectory) -> None:
        self._path = directory.path / "ports.json"

    def last(self, name: str) -> int:
        """Return the port used last, 0 for none."""
        try:
            return int(json.loads(self._path.read_text(encoding="utf-8")).get(name, 0))
        except (FileNotFoundError, ValueError):
            return 0

    def keep(self, name: str, port: int) -> None:
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            known = {}
        if known.get(name) != port:
            write_atomically(self._path, json.dumps({**known, name: port}) + "\n")

    async def bind(self, name: str, wanted: int, listen: Callable[[int], Awaitable[int]]) -> int:
        """Listen on the wanted port; with 0 on the last one, or a free one when that is taken. Raises PortTaken."""
        tries = [wanted] if wanted else [self.last(name), 0]
        for port in dict.fromkeys(tries):
            try:
                bound = await listen(port)
            except OSError as error:
                if error.errno not in (errno.EADDRINUSE, errno.EACCES):
                    raise
                trouble = error
                continue
            self.keep(name, bound)
            return bound
        raise PortTaken(
            f"port {wanted} for the {name} is not free ({trouble.strerror}); free it, or choose another with"
            f" --{name}-port"
        ) from trouble
