"""The file of small records: what was put last is what is read, whatever became of its writer."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.node import journal
from homeport.node.journal import Journal


def content(path: Path) -> dict[str, object]:
    seen = Journal(path)
    return {key: seen.get(key) for key in seen}


def test_the_last_value_of_a_key_counts(tmp_path: Path) -> None:
    path = tmp_path / "records"
    records = Journal(path)
    assert content(path) == {}
    records.put("a", {"n": 1})
    records.put("b", [None, "\n", "ü"])
    records.put("a", {"n": 2})
    records.drop("nobody")
    assert content(path) == {"a": {"n": 2}, "b": [None, "\n", "ü"]}
    records.drop("a")
    assert (records.get("a"), content(path)) == (None, {"b": [None, "\n", "ü"]})
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_known_already_is_not_written(tmp_path: Path) -> None:
    records = Journal(tmp_path / "records")
    records.put("a", {"n": 1})
    size = (tmp_path / "records").stat().st_size
    records.put("a", {"n": 1})
    Journal(tmp_path / "records").put("a", {"n": 1})
    assert (tmp_path / "records").stat().st_size == size


@given(cut=st.integers(0, 60))
def test_a_line_whose_writer_died_over_it_is_none(tmp_path_factory, cut: int) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("journal") / "records"
    first = Journal(path)
    first.put("a", 1)
    first.put("b", {"text": "x" * 20})
    path.write_bytes(path.read_bytes()[:cut])
    left = content(path)
    assert left.items() <= {"a": 1, "b": {"text": "x" * 20}}.items()
    successor = Journal(path)
    successor.put("c", 3)
    successor.put("a", 4)
    assert content(path) == {**left, "c": 3, "a": 4}


@pytest.mark.parametrize("noise", [b"\0" * 50, b"[]\n[1, 2]\n{}\n\xff\n", b'["a", 1, 2]\n', b'["a"]\n'])
def test_what_no_writer_wrote_is_passed_over(tmp_path: Path, noise: bytes) -> None:
    path = tmp_path / "records"
    path.write_bytes(b'["a", 1]\n' + noise)
    assert content(path) == {"a": 1}
    Journal(path).put("b", 2)
    assert content(path) == {"a": 1, "b": 2}


def test_a_file_mostly_out_of_date_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "SLACK_BYTES", 100)
    path = tmp_path / "records"
    records = Journal(path)
    records.put("kept", "for ever")
    for number in range(1000):
        records.put("changing", number)
        assert path.stat().st_size < 250
    assert content(path) == {"kept": "for ever", "changing": 999}
    assert [file.name for file in tmp_path.iterdir()] == ["records"]
