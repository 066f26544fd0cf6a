"""The page cannot lie: every timeline is what the controllers do today."""

import re

import pytest
from tools.timelines import BLOCK, PAGE, flow, lines, manifest, merged, read, timeline
from tools.timelines import Row as R

BLOCKS = {found.group(2): found.group(0) for found in BLOCK.finditer(PAGE.read_text())}


@pytest.mark.parametrize("name", read()[2])
def test_the_page_shows_what_happens(name: str) -> None:
    assert BLOCKS[name] == f"<!-- timeline: {name} -->\n```text\n{timeline(name)}\n```\n", "run tools/timelines.py"


def test_the_page_shows_the_manifest_and_nothing_unknown() -> None:
    assert BLOCKS["manifest"] == f"<!-- timeline: manifest -->\n```yaml\n{manifest()}\n```\n"
    assert BLOCKS.keys() == {"manifest", *read()[2]}


def test_every_link_within_the_page_leads_somewhere() -> None:
    text = PAGE.read_text()
    headings = {
        re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in re.findall(r"^#+ (.*)$", text, re.M)
    }
    assert set(re.findall(r"\]\(#([\w-]+)\)", text)) <= headings
    for path in re.findall(r"\]\((\.\./[\w/.-]+)\)", text):
        assert (PAGE.parent / path).exists(), path


def test_rows_of_one_instant_become_one_when_they_say_the_same() -> None:
    rows = [R(5, 3, "a", "gone"), R(5, 1, "b", "made"), R(5, 2, "a", "made"), R(6.5, 4, "claim y", "gone")]
    rows += [R(6.5, 6, "claim x", "gone"), R(6.5, 5, "z", "gone"), R(5, 4, "b", "gone")]
    assert lines(rows, 4) == ["   1s  a, b made", "       a, b gone", " 2.5s  claims x, y gone", "       z gone"]


def test_what_is_done_parts_what_happens_in_one_instant() -> None:
    rows = [R(1, 1, "a", "ready"), R(1, 1, "", "$ do"), R(1, 2, "b", "ready"), R(1, 3, "b", "gone")]
    assert lines(rows, 0) == ["   1s  a ready", "       $ do", "       b ready", "       b gone"]
    assert lines(rows, 0, chance=True) == ["   1s  $ do", "       a ready", "       b gone", "       b ready"]


def test_changes_of_a_manifest_are_told_on_one_line() -> None:
    assert flow({"replicas": 2, "strategy": {"type": "OnDelete", "rolling": None}}) == (
        "replicas: 2, strategy.type: OnDelete, strategy.rolling: null"
    )
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": None}, "d": 3}) == {"a": {"c": 2}, "d": 3}
