"""A directory as a value: whatever was there, putting a tree back makes the directory equal to it."""

import os
import random
import shutil
from pathlib import Path

import pytest

from homeport.testing.files import Directory, File, Link, read_tree, write_tree


def disturb(root: Path, rng: random.Random) -> None:
    """Change a directory at random: files, modes, links, directories, and one kind in place of another."""
    for _ in range(rng.randrange(12)):
        above = root.joinpath(*rng.choices(("a", "b"), k=rng.randrange(3)))
        path = above / rng.choice("abc")
        if not above.is_dir() or above.is_symlink():
            continue
        if os.path.lexists(path) and rng.random() < 0.7:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        match rng.randrange(4) if not os.path.lexists(path) else 4:
            case 0:
                path.mkdir()
            case 1:
                path.write_bytes(rng.randbytes(rng.randrange(9)))
            case 2:
                path.symlink_to(rng.choice(("a", "../b", "nowhere")))
            case 3:
                os.mkfifo(path)
            case _ if not path.is_symlink():
                path.chmod(rng.choice((0o700, 0o755)) if path.is_dir() else rng.choice((0o600, 0o644)))


@pytest.mark.parametrize("seed", range(60))
def test_any_directory_becomes_what_it_was(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    root, other = tmp_path / "root", tmp_path / "other"
    root.mkdir()
    other.mkdir()
    disturb(root, rng)
    saved = read_tree(root)
    disturb(root, rng)
    disturb(other, rng)
    for directory in (root, other):
        write_tree(directory, saved)
        assert read_tree(directory) == saved


def test_only_what_differs_is_written(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    for name in ("same", "changed"):
        (tmp_path / "d" / name).write_text("1")
    saved = read_tree(tmp_path)
    assert saved.keys() == {"d", "d/changed", "d/same"}
    (tmp_path / "d" / "changed").write_text("2")
    os.utime(tmp_path / "d" / "same", ns=(1, 1))
    write_tree(tmp_path, saved)
    assert (tmp_path / "d" / "changed").read_text() == "1"
    assert (tmp_path / "d" / "same").stat().st_mtime_ns == 1


def test_modes_and_links_and_large_files_are_kept(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"x" * (2 << 20))
    (tmp_path / "large").chmod(0o600)
    (tmp_path / "link").symlink_to("large")
    (tmp_path / "d").mkdir(0o711)
    (tmp_path / "d").chmod(0o711)
    assert read_tree(tmp_path) == {
        "d": Directory(0o711),
        "large": File(0o600, b"x" * (2 << 20)),
        "link": Link("large"),
    }
