"""Directories of volumes: made once, kept, removed without leaving the root."""

import json
import os
import stat
from pathlib import Path

import pytest

from homeport.controllers.volumes.directories import LocalDirectories


def test_a_directory_is_made_once_and_its_data_stays(tmp_path: Path) -> None:
    directories = LocalDirectories(tmp_path / "volumes")
    path = Path(directories.create("pvc-1_ns_data", {"uid": "1"}))
    assert stat.S_IMODE(path.stat().st_mode) == 0o777
    (path / "file").write_text("kept")
    assert directories.create("pvc-1_ns_data", {"uid": "1"}) == str(path)
    assert (path / "file").read_text() == "kept"
    assert json.loads(path.with_name("pvc-1_ns_data.json").read_text()) == {"uid": "1"}


def test_removal_takes_everything_but_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("stays")
    directories = LocalDirectories(tmp_path / "volumes")
    path = Path(directories.create("pvc-1_ns_data", {}))
    (path / "link").symlink_to(outside)
    (path / "deep").mkdir()
    (path / "deep" / "file").write_text("goes")
    directories.remove("pvc-1_ns_data")
    assert os.listdir(tmp_path / "volumes") == []
    assert (outside / "precious").read_text() == "stays"
    directories.remove("pvc-1_ns_data")


def test_a_removal_cut_off_is_finished_by_the_next(tmp_path: Path) -> None:
    directories = LocalDirectories(tmp_path)
    (tmp_path / ".deleting-pvc-1_ns_data-77").mkdir()
    directories.remove("pvc-1_ns_data")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", ".hidden"])
def test_names_that_would_leave_the_root_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="not a directory name"):
        LocalDirectories(tmp_path).remove(name)


def test_a_link_in_place_of_a_volume_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "pvc-1_ns_data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        LocalDirectories(tmp_path).remove("pvc-1_ns_data")


def test_only_what_was_never_written_to_is_unused(tmp_path: Path) -> None:
    directories = LocalDirectories(tmp_path / "volumes")
    assert directories.names() == ()
    written = Path(directories.create("pvc-1_ns_a", {}))
    (written / "file").write_text("stays")
    directories.create("pvc-2_ns_b", {})
    for name in directories.names():
        directories.remove_unused(name)
    directories.remove_unused("pvc-3_ns_c")
    assert directories.names() == ["pvc-1_ns_a"]
    assert sorted(os.listdir(tmp_path / "volumes")) == ["pvc-1_ns_a", "pvc-1_ns_a.json"]
