"""Every name in `names.yaml` has its test, and every test below this package bears a name from there."""

from collections import Counter
from pathlib import Path

import pytest

from tests.conformance.registry import Name, cited, slug, written
from tests.conformance.table import PAGE, page

NAMES = [name for name in cited() if not name.unserved]
UNSERVED = [name for name in cited() if name.unserved]
DEPARTURES = Path(__file__).parents[2] / "docs" / "departures.md"
WRITTEN = {(one.area, one.function): one for one in written()}


def test_a_function_is_called_what_its_name_says() -> None:
    assert slug("Setting .start.ordinal") == "test_setting_start_ordinal"
    assert slug("should not deadlock when a pod's predecessor fails") == (
        "test_should_not_deadlock_when_a_pod_s_predecessor_fails"
    )


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name.full)
def test_every_name_has_its_test(name: Name) -> None:
    found = WRITTEN.get((name.area, name.function))
    assert found is not None, f"no {name.function} in tests/conformance/{name.area}"
    assert found.title == name.full
    assert found.real == name.real, "whether it runs on real pods differs from the table"


def test_no_name_is_told_twice() -> None:
    assert [key for key, count in Counter((one.area, one.function) for one in NAMES).items() if count > 1] == []


@pytest.mark.parametrize("name", UNSERVED, ids=lambda name: name.full)
def test_a_name_without_a_test_is_a_departure(name: Name) -> None:
    assert name.unserved in DEPARTURES.read_text(encoding="utf-8")


def test_no_test_is_missing_from_the_table() -> None:
    assert set(WRITTEN) - {(one.area, one.function) for one in NAMES} == set()


def test_the_table_is_up_to_date() -> None:
    told = "run python -m tests.conformance.table --update"
    assert PAGE.read_text(encoding="utf-8") == page(cited(), list(written())), told
