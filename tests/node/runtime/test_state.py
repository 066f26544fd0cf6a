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
    Records,
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
    for path in (found.exits, found.layers, found.live / "shm", found.live / "containers"):
        path.mkdir(parents=True)
    return found


def sandbox(name: str, process: Process = HERE, at: float = 1.0) -> SandboxRecord:
    return SandboxRecord(name, "web-0", {"pod-uid": "u"}, at, share_pids=False, process=process)


def container(name: str, process: Process | None = HERE) -> ContainerRecord:
    return ContainerRecord(name, "s", "image", "/log", False, False, {"container": "c"}, 2.0, process)


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.save_sandbox(sandbox("one"))
    records.save_container(container("one", None))
    assert list(Records(tmp_path).containers()) == [container("one", None)]
    records.save_container(container("one"))
    for seen in (records, Records(tmp_path)):
        assert list(seen.sandboxes()) == [sandbox("one")]
        assert list(seen.containers()) == [container("one")]
    records.forget_sandbox("one")
    records.forget_container("one")
    records.forget_container("one")
    assert [*Records(tmp_path).sandboxes(), *Records(tmp_path).containers()] == []


def test_whatever_is_left_of_a_container_names_it(places: Directories) -> None:
    places.bundle("bundle.1").mkdir()
    (places.layers / "layer.1.upper").mkdir()
    (places.layers / "scratch.work").mkdir()
    write_atomically(places.exit_file("ended"), "{}")
    (places.exits / ".killed.new").touch()
    places.shared_memory("sandbox.1").mkdir()
    assert places.container_ids() == {"bundle.1", "layer.1", "scratch", "ended"}
    assert places.sandbox_ids() == {"sandbox.1"}


def test_an_end_nobody_saw_reads_the_same_for_ever(places: Directories) -> None:
    assert places.exit("c") is None
    unknown = places.save_unknown_exit("c", 3.0)
    assert places.exit("c") == unknown
    assert (unknown.code, unknown.known) == (137, False)


def test_the_living_are_found_from_outside(tmp_path: Path) -> None:
    records = Records(tmp_path)
    for number, process in enumerate((HERE, GONE, replace(HERE, start=HERE.start + 1))):
        records.save_sandbox(sandbox(f"s{number}", process))
        records.save_container(container(f"c{number}", process))
    records.save_container(container("about to begin", None))
    assert living_sandboxes(tmp_path) == living_containers(tmp_path) == [os.getpid()]


def test_nothing_lives_where_nothing_ran(tmp_path: Path) -> None:
    assert living_sandboxes(tmp_path) == living_containers(tmp_path) == []
    assert Directories(tmp_path).container_ids() == Directories(tmp_path).sandbox_ids() == set()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", ".hidden", "ü"])
def test_an_id_is_a_plain_name(places: Directories, name: str) -> None:
    with pytest.raises(ValueError, match="is not an id"):
        places.bundle(name)
