"""What people see: plain tables, JSON where they script, colour and progress only on a terminal."""

import json
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import Any

import click

__all__ = [
    "fitting",
    "folded",
    "output_option",
    "print_json",
    "print_table",
    "print_yaml",
    "screen_columns",
    "table_text",
]

output_option = click.option("-o", "--output", type=click.Choice(["json"]), help="Print JSON for scripts.")


def print_json(tree: Any) -> None:
    click.echo(json.dumps(tree, indent=2))


def print_yaml(tree: Any) -> None:
    import yaml

    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    click.echo(yaml.dump(_plain(tree), Dumper=dumper, sort_keys=False), nl=False)


def _plain(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {key: _plain(value) for key, value in tree.items()}
    if isinstance(tree, Sequence) and not isinstance(tree, str):
        return [_plain(value) for value in tree]
    return tree


def table_text(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return aligned columns, three spaces apart, as kubectl prints them; a cell may have several lines."""
    cells = [
        line for row in (headers, *rows) for line in zip_longest(*(str(cell).split("\n") for cell in row), fillvalue="")
    ]
    widths = [max(len(line[column]) for line in cells) for column in range(len(headers))]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)
    return "\n".join(lines)


def screen_columns() -> int | None:
    """Return how wide the output may be; None for what is piped, which is never shortened. `COLUMNS` decides."""
    return shutil.get_terminal_size((0, 0)).columns or None


def folded(line: str, columns: int | None) -> str:
    """Return a line broken between words where the screen ends, the rest set in."""
    if columns is None or len(line) <= columns:
        return line
    margin = line[: len(line) - len(line.lstrip())]
    return textwrap.fill(
        line, columns, subsequent_indent=f"{margin}    ", break_long_words=False, break_on_hyphens=False
    )


def fitting(texts: Iterable[str], columns: int | None) -> str:
    """Return the first of several texts that is no wider than the screen, else the last."""
    text = ""
    for text in texts:
        if columns is None or all(len(line.expandtabs()) <= columns for line in text.splitlines()):
            break
    return text


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    click.echo(table_text(headers, rows))
