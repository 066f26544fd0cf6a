"""Aliases: patterns of image names that mean another image here, such as `nginx:*=homeport.local/host nginx -g …`.

Kept in `<images>/aliases.json`, newest first; the first that matches holds.
"""

import fcntl
import json
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from homeport.node.images.reference import Reference, parse

__all__ = ["Alias", "AliasTable", "parse_alias"]


@dataclass(frozen=True, slots=True)
class Alias:
    """Images matching `pattern` are `target`; `argv`, when given, replaces entry point and command."""

    pattern: str
    target: str
    argv: tuple[str, ...] = ()

    def matches(self, text: str, reference: Reference) -> bool:
        """Compare with the name as written, in its shortest and in its full form."""
        return any(fnmatchcase(name, self.pattern) for name in (text, reference.familiar, str(reference)))

    def __str__(self) -> str:
        return f"{self.pattern}={' '.join((self.target, *map(shlex.quote, self.argv)))}"


def parse_alias(text: str) -> Alias:
    """Read `PATTERN=TARGET[ ARG…]`, split as a shell would. Raises ValueError (InvalidReference for the target)."""
    pattern, equals, rest = text.partition("=")
    words = shlex.split(rest)
    if not (equals and pattern and words):
        raise ValueError(f"{text!r} is not PATTERN=TARGET[ ARG…]")
    parse(words[0])
    return Alias(pattern.strip(), words[0], tuple(words[1:]))


class AliasTable:
    """The aliases below one directory (`<data>/images`)."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root / "aliases.json"

    def list(self) -> Sequence[Alias]:
        try:
            rows = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return []
        return [Alias(pattern, target, tuple(argv)) for pattern, target, argv in rows]

    def find(self, text: str, reference: Reference) -> Alias | None:
        return next((alias for alias in self.list() if alias.matches(text, reference)), None)

    def add(self, alias: Alias) -> None:
        """Put an alias in front, replacing one with the same pattern."""
        with self._locked():
            self._write([alias, *(other for other in self.list() if other.pattern != alias.pattern)])

    def remove(self, pattern: str) -> bool:
        """Drop the alias with this very pattern; False when there is none."""
        with self._locked():
            before = self.list()
            after = [alias for alias in before if alias.pattern != pattern]
            self._write(after)
            return len(after) < len(before)

    def _write(self, aliases: Sequence[Alias]) -> None:
        new = self._path.with_suffix(".new")
        with open(new, "w", encoding="utf-8") as file:
            json.dump([[alias.pattern, alias.target, alias.argv] for alias in aliases], file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._path)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(self._root / "lock", "w", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
