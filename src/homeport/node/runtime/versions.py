"""Which versions of a runtime lack the mend of a known way out of a container. Source: `node` 17.1."""

import re
from typing import Final

__all__ = ["outdated"]

_FIRST_MENDED: Final = {"crun": ((1, 27, 0),), "runc": ((1, 2, 8), (1, 3, 3), (1, 4, 0))}
"""For every line of releases that is still mended its first good one; the last holds for all that follow."""


def outdated(name: str, version: str) -> str:
    """Return a sentence about a version older than it should be; empty when it is fine, or cannot be judged.

    Distributions mend old versions under their old number: it says what to look for, not that there is a hole.
    """
    mended, parsed = _FIRST_MENDED.get(name), _parse(version)
    if mended is None or parsed is None:
        return ""
    *lines, newest = mended
    if parsed >= newest or any(parsed[:2] == line[:2] and parsed >= line for line in lines):
        return ""
    wanted = " or ".join(_text(line) for line in mended)
    return (
        f"{name} {version} is older than {wanted}: unless your distribution has mended it, "
        "what runs in a container may get out of it"
    )


def _parse(version: str) -> tuple[int, int, int] | None:
    """Return the numbers of a version; a candidate of a release counts as the one before it."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?(-rc)?", version)
    if found is None:
        return None
    major, minor, patch = (int(part or 0) for part in found.groups()[:3])
    return (major, minor, patch - 1) if found[4] else (major, minor, patch)


def _text(version: tuple[int, int, int]) -> str:
    return ".".join(str(part) for part in (version if version[2] else version[:2]))
