"""What the runtime writes down, and what is found again: by its successor, and by those outside the namespaces."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from homeport.node import syscalls
from homeport.node.holder import write_atomically
from homeport.node.runtime.state import (
    ContainerRecord,
    Directories,
    Process,
    SandboxRecord,
    living_containers,
    living_sandboxes,
)

BOOT = syscalls.boot_id()
HERE = Process.of(os.getpid(), BOOT)
GONE = replace(HERE, boot="an earlier one")


@pytest.fixture
def places(tmp_path: Path) -> Directories:
    """As seen by a runtime; `live` is a plain directory."""
    found = Directories(tmp_path)
    for path in (found.sandboxes, found.containers, found.layers, found.live / "shm", found.live / "containers"):
        path.mkdir(parents=True)
    return found


def sandbox(name: str, process: Process = HERE, at: float = 1.0) -> SandboxRecord:
    return SandboxRecord(name, "web-0", {"pod-uid": "u"}, at, share_pids=False, process=process)


def container(name: str, process: Process | None = HERE) -> ContainerRecord:
    return ContainerRecord(name, "s", "image", "/log", False, False, {"container": "c"}, 2.0, process)


def test_records_are_read_as_they_were_written(places: Directories) -> None:
    places.save_sandbox(sandbox("s"))
    places.save_container(container("c"))
    assert list(places.sandbox_records()) == [sandbox("s")]
    assert list(places.container_records()) == [container("c")]
    assert places.sandbox_ids() == {"s"}
    places.forget_sandbox("s")
    places.forget_container("c")
    places.forget_container("c")
    assert places.sandbox_ids() == places.container_ids() == set()


def test_what_has_not_begun_is_known_as_long_as_its_bundle_is_there(places: Directories) -> None:
    places.bundle("c").mkdir()
    places.save_container(container("c", None))
    assert list(places.container_records()) == []
    assert list(places.prepared_records()) == [container("c", None)]
    places.save_container(container("c"))
    assert list(places.container_records()) == [container("c")]


def test_a_record_whose_writer_died_half_way_does_not_count(places: Directories) -> None:
    places.save_sandbox(sandbox("whole"))
    for torn in ("", '{"id": "torn", "host'):
        (places.sandboxes / "torn.json").write_text(torn)
        (places.containers / "torn.json").write_text(torn)
        places.bundle("torn").mkdir(exist_ok=True)
        (places.bundle("torn") / "container.json").write_text(torn)
        assert [one.id for one in places.sandbox_records()] == ["whole"]
        assert list(places.container_records()) == list(places.prepared_records()) == []
        assert "torn" in places.sandbox_ids() & places.container_ids()


def test_whatever_is_left_of_a_container_names_it(places: Directories) -> None:
    places.bundle("bundle.1").mkdir()
    (places.layers / "layer.1.upper").mkdir()
    (places.layers / "scratch.work").mkdir()
    write_atomically(places.exit_file("ended"), "{}")
    (places.containers / ".killed.exit.new").touch()
    assert places.container_ids() == {"bundle.1", "layer.1", "scratch", "ended"}


def test_an_end_nobody_saw_reads_the_same_for_ever(places: Directories) -> None:
    assert places.exit("c") is None
    unknown = places.save_unknown_exit("c", 3.0)
    assert places.exit("c") == unknown
    assert (unknown.code, unknown.known) == (137, False)


def test_the_living_are_found_from_outside(places: Directories) -> None:
    for number, process in enumerate((HERE, GONE, replace(HERE, start=HERE.start + 1))):
        places.save_sandbox(sandbox(f"s{number}", process))
        places.save_container(container(f"c{number}", process))
    assert living_sandboxes(places.run) == living_containers(places.run) == [os.getpid()]


def test_nothing_lives_where_nothing_ran(tmp_path: Path) -> None:
    assert living_sandboxes(tmp_path) == living_containers(tmp_path) == []
    assert Directories(tmp_path).container_ids() == Directories(tmp_path).sandbox_ids() == set()


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "ü"])
def test_an_id_is_a_plain_name(places: Directories, name: str) -> None:
    with pytest.raises(ValueError, match="is not an id"):
        places.bundle(name)
