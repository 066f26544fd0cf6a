"""Programs started without a fork: where they find themselves, and that whoever started them is back where it was."""

import fcntl
import os
import re
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from homeport.node import syscalls
from homeport.node.sealing import SealedPrograms
from homeport.node.spawning import Stranded, spawn_there
from homeport.node.unsharing import needs_user_namespace

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}
KINDS = {"net": syscalls.CLONE_NEWNET, "ipc": syscalls.CLONE_NEWIPC, "uts": syscalls.CLONE_NEWUTS}


def output(*argv: str, **options: object) -> str:
    """Run a program to its end and return what it wrote to standard output."""
    reader, writer = os.pipe()
    null = os.open(os.devnull, os.O_RDWR)
    try:
        pid = spawn_there(argv, ENVIRONMENT, {0: null, 1: writer, 2: null}, **options)  # type: ignore[arg-type]
    finally:
        os.close(writer)
        os.close(null)
    with open(reader, encoding="utf-8") as said:
        text = said.read()
    assert os.waitpid(pid, 0)[1] == 0
    return text


def test_a_program_leads_a_session_of_its_own_with_default_signals() -> None:
    was = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        fields = output("cat", "/proc/self/stat").split()
        status = output("cat", "/proc/self/status")
    finally:
        signal.signal(signal.SIGINT, was)
    assert fields[0] == fields[4] == fields[5]
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn:"))
    assert int(ignored.split()[1], 16) & 1 << signal.SIGINT - 1 == 0


def test_descriptors_are_placed_whatever_overlaps() -> None:
    first, second = os.memfd_create("first"), os.memfd_create("second")
    os.write(first, b"first")
    os.write(second, b"second")
    null = os.open(os.devnull, os.O_RDWR)
    reader, writer = os.pipe()
    swapped = {0: null, 1: writer, 2: null, first: second, second: first}
    pid = spawn_there(["ls", "-l", "/proc/self/fd"], ENVIRONMENT, swapped)
    os.close(writer)
    with open(reader, encoding="utf-8") as said:
        links = dict(re.findall(r"(\d+) -> (.*)", said.read()))
    os.waitpid(pid, 0)
    for fd in (first, second, null):
        os.close(fd)
    assert links[str(first)].startswith("/memfd:second")
    assert links[str(second)].startswith("/memfd:first")


@pytest.mark.parametrize("name", ["no-such-program", "/no/such/program"])
def test_what_cannot_be_executed_raises_and_nothing_runs(name: str) -> None:
    with pytest.raises(FileNotFoundError):
        output(name)


@contextmanager
def homes() -> Iterator[Mapping[int, int]]:
    fds = {flag: os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind, flag in KINDS.items()}
    try:
        yield fds
    finally:
        for fd in fds.values():
            os.close(fd)


def here() -> dict[str, str]:
    return {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS}


@pytest.mark.real
@pytest.mark.skipif(needs_user_namespace(), reason="namespaces of its own need privileges")
class TestElsewhere:
    def test_the_program_is_in_new_namespaces_and_we_are_not(self) -> None:
        before = here()
        flags = sum(KINDS.values())
        with homes() as home:
            said = output(
                "sh",
                "-c",
                "cd /proc/self/ns; readlink net ipc uts; hostname; cat /proc/sys/net/ipv4/ip_forward",
                unshare=flags,
                home=home,
                hostname="db-0",
                sysctls={"net.ipv4.ip_forward": "1"},
            ).split()
        assert here() == before
        assert not set(said[:3]) & set(before.values())
        assert said[3:] == ["db-0", "1"]

    def test_we_come_back_when_the_program_does_not_start(self) -> None:
        before = here()
        with homes() as home, pytest.raises(FileNotFoundError):
            output("no-such-program", unshare=sum(KINDS.values()), home=home)
        assert here() == before

    def test_we_come_back_when_a_setting_is_refused(self) -> None:
        before = here()
        with homes() as home, pytest.raises(OSError, match="no_such_key"):
            output("true", unshare=sum(KINDS.values()), home=home, sysctls={"net.no_such_key": "1"})
        assert here() == before

    def test_not_to_come_back_is_no_failure_to_start(self) -> None:
        if (pid := os.fork()) == 0:  # a child, since it will not be where it was
            try:
                output("true", unshare=syscalls.CLONE_NEWUTS, home={syscalls.CLONE_NEWUTS: -1})
            except Stranded:
                os._exit(7)
            finally:
                os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_a_sealed_copy_is_executed_and_cannot_be_written(tmp_path: Path) -> None:
    programs = SealedPrograms()
    copy = programs.find("/bin/echo")
    if copy is None:
        pytest.skip("this kernel executes no memfd")
    assert output("echo", "from the copy", program=copy) == "from the copy\n"
    assert fcntl.fcntl(copy, 1034) == 0xF
    with pytest.raises(PermissionError):
        os.write(copy, b"x")
    assert programs.find("/bin/echo") == copy
    programs.close()


def test_a_changed_program_is_copied_again(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    programs = SealedPrograms()
    first = programs.find(str(program))
    program.write_text("#!/bin/sh\necho more\n")
    second = programs.find(str(program))
    if first is None or second is None:
        pytest.skip("this kernel executes no memfd")
    assert os.pread(second, 100, 0) == program.read_bytes()
    programs.close()


def test_what_is_not_there_has_no_copy() -> None:
    assert SealedPrograms().find("/no/such/program") is None
