"""Layers: what a tar stream becomes, and what it cannot do."""

import contextlib
import io
import os
import stat
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from homeport.node.images.layer import LayerError, Ownership, unpack
from tests.node.images.building import entry, layer

ORDINARY = Ownership(privileged=False)


def unpacked(root: Path, *entries: tuple[tarfile.TarInfo, bytes]) -> Path:
    target = root / "layer"
    target.mkdir()
    unpack(io.BytesIO(layer(*entries)), str(target), ORDINARY)
    return target


def is_whiteout(path: Path) -> bool:
    status = path.lstat()
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: Path) -> bool:
    return ORDINARY.opaque_attribute in os.listxattr(path)


def test_kinds_modes_and_times_are_kept(tmp_path: Path) -> None:
    target = unpacked(
        tmp_path,
        entry("d/", mode=0o1777, mtime=5),
        entry("d/file", b"content", mode=0o4755, mtime=7),
        entry("d/link", link="/etc/passwd"),
        entry("d/hard", hard="d/file"),
        entry("pipe", type=tarfile.FIFOTYPE, mode=0o600),
        entry("made/on/the/way", b"x"),
    )
    assert stat.S_IMODE((target / "d").stat().st_mode) == 0o1777
    assert (target / "d").stat().st_mtime == 5
    file = (target / "d/file").stat()
    assert (stat.S_IMODE(file.st_mode), file.st_mtime, file.st_nlink) == (0o4755, 7, 2)
    assert os.readlink(target / "d/link") == "/etc/passwd"
    assert stat.S_ISFIFO((target / "pipe").stat().st_mode)
    assert (target / "made/on/the/way").read_bytes() == b"x"


def test_whiteouts_become_what_overlayfs_reads(tmp_path: Path) -> None:
    target = unpacked(
        tmp_path,
        entry("a/"),
        entry("a/.wh.gone"),
        entry("b/"),
        entry("b/.wh..wh..opq"),
        entry("c/.wh..wh.plnk/"),
        entry(".wh.replaced"),
        entry("replaced/"),
        entry("replaced/new", b""),
        entry("kept", b"kept"),
        entry(".wh.kept"),
    )
    assert is_whiteout(target / "a/gone")
    assert is_opaque(target / "b")
    assert list((target / "c").iterdir()) == []
    assert is_opaque(target / "replaced")
    assert (target / "replaced/new").exists()
    assert (target / "kept").read_bytes() == b"kept"  # a whiteout hides lower layers, never its own


def test_the_last_of_several_entries_wins(tmp_path: Path) -> None:
    target = unpacked(
        tmp_path,
        entry("x/"),
        entry("x/deep/"),
        entry("x/deep/file", b"1"),
        entry("x", b"file"),
        entry("y", b"file"),
        entry("y/"),
        entry("y/inside", b""),
        entry("z", b"1"),
        entry("z", b"22"),
    )
    assert (target / "x").read_bytes() == b"file"
    assert (target / "y/inside").exists()
    assert (target / "z").read_bytes() == b"22"


def test_links_are_followed_inside_the_layer_only(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    target = unpacked(
        tmp_path,
        entry("real/"),
        entry("inside", link="/real"),
        entry("inside/file", b"in"),
        entry("up", link="../../../../real"),
        entry("up/file2", b"in"),
    )
    assert (target / "real/file").read_bytes() == b"in"
    assert (target / "real/file2").read_bytes() == b"in"
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("entries", "why"),
    [
        ([entry("../escape", b"x")], "leads out"),
        ([entry("a/../../escape", b"x")], "leads out"),
        ([entry("/absolute", b"x")], "absolute"),
        ([entry("out", link="/outside"), entry("out/file", b"x")], "a link to nowhere"),
        ([entry("hard", hard="../../etc/passwd")], "leads out"),
        ([entry("hard", hard="absent")], "not in this layer"),
        ([entry("file", b""), entry("file/below", b"")], "not a directory"),
        ([entry(".wh.")], "whiteout of nothing"),
        ([entry(".wh...")], "whiteout of nothing"),
    ],
)
def test_what_breaks_the_rules_is_refused(
    tmp_path: Path, entries: list[tuple[tarfile.TarInfo, bytes]], why: str
) -> None:
    (tmp_path / "outside").mkdir()
    with pytest.raises(LayerError, match=why):
        unpacked(tmp_path, *entries)
    assert list((tmp_path / "outside").iterdir()) == []
    assert not (tmp_path / "escape").exists()


def test_a_hard_link_to_a_link_does_not_reach_through_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    target = unpacked(tmp_path, entry("link", link=str(secret)), entry("hard", hard="link"), entry("hard", b"new"))
    assert secret.read_text() == "secret"
    assert (target / "hard").read_bytes() == b"new"


def test_foreign_overlay_attributes_are_dropped(tmp_path: Path) -> None:
    info, content = entry("d/")
    info.pax_headers = {"SCHILY.xattr.user.overlay.opaque": "y", "SCHILY.xattr.trusted.overlay.redirect": "/etc"}
    assert os.listxattr(unpacked(tmp_path, (info, content)) / "d") == []


NAMES = st.lists(st.sampled_from(["a", "b", "..", ".", ".wh.a", ".wh..wh..opq", "l"]), min_size=1, max_size=4)


@given(
    entries=st.lists(st.tuples(NAMES, st.sampled_from(["file", "dir", "link", "hard"]), NAMES), min_size=1, max_size=12)
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_ever_leaves_the_layer(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[list[str], str, list[str]]]
) -> None:
    top = tmp_path_factory.mktemp("any")
    (top / "layer").mkdir()
    made = []
    for name, kind, other in entries:
        text, target = "/".join(name), "/".join(other)
        facts = {"link": {"link": "../" * 3 + target}, "hard": {"hard": target}}.get(kind, {})
        made.append(entry(text + ("/" if kind == "dir" else ""), b"x" if kind == "file" else b"", **facts))
    with contextlib.suppress(LayerError, OSError):
        unpack(io.BytesIO(layer(*made)), str(top / "layer"), ORDINARY)
    assert [path.name for path in top.iterdir()] == ["layer"]
