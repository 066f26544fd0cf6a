"""Sets of completion indexes as Jobs write them: `0,2-4`.

Source: `workloads` 11; API reference, `status.completedIndexes`.
"""

from collections.abc import Iterable

__all__ = ["BadIndexes", "format_indexes", "parse_indexes", "read_indexes"]


class BadIndexes(ValueError):
    """A text that is no set of indexes; says why."""


def format_indexes(indexes: Iterable[int]) -> str:
    """Return the shortest text of a set: runs of three or more as `2-4`, two neighbours one by one."""
    runs: list[list[int]] = []
    for index in sorted(set(indexes)):
        if runs and index == runs[-1][1] + 1:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    parts: list[str] = []
    for low, high in runs:
        if high == low:
            parts.append(str(low))
        else:
            parts.append(f"{low},{high}" if high == low + 1 else f"{low}-{high}")
    return ",".join(parts)


def parse_indexes(text: str, completions: int) -> frozenset[int]:
    """Return the set a text stands for. Raises BadIndexes, also for an index that is not below `completions`."""
    found: set[int] = set()
    last = -1
    for part in text.split(",") if text else ():
        low, high = _interval(part, completions)
        if last >= low:
            raise BadIndexes(f"non-increasing order, previous: {last}, current: {low}")
        found.update(range(low, high + 1))
        last = high
    return frozenset(found)


def read_indexes(text: str, completions: int) -> frozenset[int]:
    """Return the indexes of a stored text that are below `completions`; parts that make no sense are left out."""
    found: set[int] = set()
    for part in text.split(",") if text else ():
        low, _, high = part.partition("-")
        if low.isdigit() and (high or low).isdigit():
            found.update(range(int(low), min(int(high or low), completions - 1) + 1))
    return frozenset(found)


def _interval(text: str, completions: int) -> tuple[int, int]:
    parts = text.split("-")
    if len(parts) > 2:
        raise BadIndexes(
            f'the fragment "{text}" violates the requirement that an index interval can have at most two parts '
            "separated by '-'"
        )
    ends = [_index(part, completions) for part in parts]
    if len(ends) == 2 and ends[0] >= ends[1]:
        raise BadIndexes(f"non-increasing order, previous: {ends[0]}, current: {ends[1]}")
    return ends[0], ends[-1]


def _index(text: str, completions: int) -> int:
    if not text.isascii() or not text.isdigit():
        raise BadIndexes(f'cannot convert string to integer for index: "{text}"')
    if int(text) >= completions:
        raise BadIndexes(f'too large index: "{text}"')
    return int(text)
