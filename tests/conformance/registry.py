"""The names of upstream's end-to-end tests that have a test of the same name here: `names.yaml`, as values."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

__all__ = ["HERE", "Name", "Written", "cited", "slug", "written"]

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Name:
    """One upstream test.

    suite        what upstream puts before the name
    full         suite and text, as upstream prints them without tags such as [Conformance]
    text         the last part, which gives the function its name
    conformance  whether it is one of the conformance tests
    area         the directory below tests/conformance
    real         whether it needs programs, so that it runs on real pods too
    unserved     why there can be no test of it: a departure from upstream that docs/departures.md tells
    """

    suite: str
    full: str
    text: str
    conformance: bool
    area: str
    real: bool
    unserved: str = ""

    @property
    def function(self) -> str:
        return slug(self.text)


@dataclass(frozen=True, slots=True)
class Written:
    """One test function: directory, file, name, how its docstring begins, and whether real pods see it too."""

    area: str
    file: str
    function: str
    title: str
    real: bool


def slug(text: str) -> str:
    """Return the name of the function that tests what a name says."""
    return "test_" + re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def cited() -> list[Name]:
    """Return every name in the table."""
    table = yaml.safe_load((HERE / "names.yaml").read_text())
    return [
        Name(
            suite["suite"],
            f"{suite['suite']} {test['name']}".strip(),
            test["name"],
            test["kind"] == "conformance",
            suite["area"],
            test.get("real", False),
            test.get("unserved", ""),
        )
        for suite in table
        for test in suite["tests"]
    ]


def written() -> Iterator[Written]:
    """Yield every test function below the directories of this package."""
    for path in sorted(HERE.glob("*/test_*.py")):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                title = " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
                marks = [ast.unparse(one) for one in node.decorator_list]
                yield Written(path.parent.name, path.name, node.name, title, "also_on_real_pods" in marks)
