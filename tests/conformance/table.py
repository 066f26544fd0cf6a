"""The table of upstream names and our tests: run this module to print it, with `--update` to write it."""

import sys
from collections.abc import Sequence
from itertools import groupby

from tests.conformance.registry import HERE, Name, Written, cited, written

__all__ = ["PAGE", "page"]

PAGE = HERE / "README.md"
HEAD = """\
# Upstream's tests and ours

Kubernetes proves what a cluster does with end-to-end tests. Those that concern what Homeport promises have a test here
that bears the same name and asserts the same, in a simulated cluster (virtual time) and, where programs matter, on real
pods too. **C** marks upstream's conformance tests.

`names.yaml` is the source of this table; after a change of it run `python -m tests.conformance.table --update`. A test
checks that every name has its test and every test its name.
"""


def page(names: Sequence[Name], functions: Sequence[Written]) -> str:
    """Return the whole page: one table for each of upstream's suites."""
    files = {(one.area, one.function): one.file for one in functions}
    lines = [HEAD]
    tests = [name for name in names if not name.unserved]
    conformance = sum(name.conformance for name in tests)
    real = sum(name.real for name in tests)
    lines.append(f"{len(tests)} tests, {conformance} of them conformance tests; {real} run on real pods too.\n")
    for suite, group in groupby(names, lambda name: name.suite):
        lines += [f"## {suite}\n", "| upstream | C | here | sides |", "|---|---|---|---|"]
        lines += [_row(name, files.get((name.area, name.function), "")) for name in group]
        lines.append("")
    return "\n".join(lines)


def _row(name: Name, file: str) -> str:
    place = f"[{name.area}/{file}]({name.area}/{file})" if not name.unserved else "–"
    sides = name.unserved or ("simulated, real" if name.real else "simulated")
    return f"| {name.text} | {'C' if name.conformance else ''} | {place} | {sides} |"


def main(arguments: Sequence[str]) -> None:
    text = page(cited(), list(written()))
    if "--update" in arguments:
        PAGE.write_text(text, encoding="utf-8")
    else:
        sys.stdout.write(text)


if __name__ == "__main__":
    main(sys.argv[1:])
