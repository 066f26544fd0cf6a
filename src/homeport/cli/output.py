"""What people see: plain tables, JSON where they script, colour and progress only on a terminal."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click

__all__ = ["output_option", "print_json", "print_table", "print_yaml", "table_text"]

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


def table_text(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return aligned columns, three spaces apart, as kubectl prints them."""
    cells = [list(map(str, headers)), *(list(map(str, row)) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(headers))]
    lines = ("   ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells)
    return "\n".join(lines)


def print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    click.echo(table_text(headers, rows))
