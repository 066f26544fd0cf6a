"""Which program a container runs: image and spec combined, `$(VAR)` expanded. Source: `node` sections 7.2 and 7.4."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

__all__ = ["NoCommand", "argv", "expand"]

_REFERENCE: Final = re.compile(r"\$(?:\$|\(([^)]*)\))")


class NoCommand(Exception):
    """Neither spec nor image names a program."""


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by what is known; `$$` is a dollar; what is unknown or unterminated stays as written."""

    def replacement(match: re.Match[str]) -> str:
        name = match[1]
        return "$" if name is None else known.get(name, match[0])

    return _REFERENCE.sub(replacement, text)


def argv(
    entrypoint: Sequence[str],
    image_command: Sequence[str],
    command: Sequence[str] | None,
    args: Sequence[str] | None,
    known: Mapping[str, str],
) -> tuple[str, ...]:
    """Return the words to execute; raises NoCommand when there are none.

    The image's own words are never expanded; an empty list in the spec is the same as none.
    """
    spec_command = [expand(word, known) for word in command or ()]
    spec_args = [expand(word, known) for word in args or ()]
    if spec_command:
        words = [*spec_command, *spec_args]
    elif spec_args:
        words = [*entrypoint, *spec_args]
    else:
        words = [*entrypoint, *image_command]
    if not words:
        raise NoCommand("no command specified")
    return tuple(words)
