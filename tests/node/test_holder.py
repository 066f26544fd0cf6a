"""The namespace keeper: starts programs, records ends, gives its namespaces back after a crash."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from homeport.node.holder_client import Ended, HolderClient, ensure_holder, subordinate_range
from homeport.node.launching import Launch, LaunchFailed
from homeport.node.namespaces import Holder, find_holder, wait_for_end

pytestmark = pytest.mark.real

ENVIRONMENT = {"PATH": "/usr/bin:/bin"}


class Connected:
    """A started keeper and a client of it that collects ends."""

    def __init__(self, run: Path, holder: Holder) -> None:
        self.run, self.holder = run, holder
        self.ends: asyncio.Queue[Ended] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.client = HolderClient(self.ends.put_nowait, self.gone.set)


@asynccontextmanager
async def keeper(run: Path, join: tuple[int, ...] = ()) -> AsyncIterator[Connected]:
    connected = Connected(run, await ensure_holder(run, run.parent / "holder.log", join=join))
    connected.client.connect(run)
    try:
        yield connected
    finally:
        if not connected.gone.is_set():
            await connected.client.stop()
            await connected.gone.wait()
            connected.client.close()


def sandbox(run: Path, *, share_processes: bool = False) -> Launch:
    kinds = ["net", "ipc", "uts", *(["pid"] if share_processes else [])]
    return Launch("sandbox", ["sleep", "infinity"], env=ENVIRONMENT, unshare=kinds, hostname="web-0", keep=True)


def test_a_program_runs_inside_and_its_end_is_announced_and_recorded(tmp_path: Path) -> None:
    async def scenario() -> None:
        run = tmp_path / ("long-" * 30) / "run"  # a socket path beyond the 107 bytes of an address
        async with keeper(run) as held:
            launch = Launch(
                "job",
                ["sh", "-c", "echo $WORD; exit 3"],
                env={**ENVIRONMENT, "WORD": "hello"},
                log=str(run / "job.log"),
                exit=str(run / "exit"),
            )
            pid = await held.client.launch(launch)
            end = await held.ends.get()
            assert (end.name, end.pid, end.code, end.signal) == ("job", pid, 3, 0)
            assert json.loads((run / "exit").read_text())["code"] == 3
            assert (run / "job.log").read_text() == "hello\n"

    asyncio.run(scenario())


def test_death_by_signal_is_128_plus_its_number(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with keeper(tmp_path / "run") as held:
            pid = await held.client.launch(Launch("job", ["sleep", "1000"], env=ENVIRONMENT))
            os.kill(pid, signal.SIGTERM)
            end = await held.ends.get()
            assert (end.code, end.signal) == (143, 15)

    asyncio.run(scenario())


def test_a_program_that_cannot_start_says_why(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with keeper(tmp_path / "run") as held:
            with pytest.raises(LaunchFailed, match="No such file or directory: /nowhere"):
                await held.client.launch(Launch("job", ["/nowhere"]))
            assert (await held.client.status())["children"] == []

    asyncio.run(scenario())


def test_descriptors_travel_to_the_program(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with keeper(tmp_path / "run") as held:
            reader, writer = os.pipe()
            await held.client.launch(Launch("job", ["sh", "-c", "echo sent >&7"], env=ENVIRONMENT, fds=[7]), [writer])
            os.close(writer)
            await held.ends.get()
            with open(reader) as pipe:
                assert pipe.read() == "sent\n"

    asyncio.run(scenario())


@pytest.mark.parametrize("share_processes", [False, True])
def test_namespaces_outlive_the_keeper_and_are_joined_again(tmp_path: Path, share_processes: bool) -> None:
    async def scenario() -> None:
        run = tmp_path / "run"
        async with keeper(run) as first:
            pid = await first.client.launch(sandbox(run, share_processes=share_processes))
            before = namespaces(first.holder.pid)
            assert namespaces(pid)["net"] != before["net"]
            os.kill(first.holder.pid, signal.SIGKILL)
            await first.gone.wait()
        assert wait_for_end(first.holder.pid)
        assert find_holder(run) is None
        try:
            async with keeper(run, join=(pid,)) as second:
                assert second.holder != first.holder
                assert namespaces(second.holder.pid) == before
        finally:
            os.kill(pid, signal.SIGKILL)

    asyncio.run(scenario())


def test_stop_leaves_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        run = tmp_path / "run"
        async with keeper(run) as held:
            pid = await held.client.launch(sandbox(run))
            assert find_holder(run) == held.holder
            await held.client.stop()
            await held.gone.wait()
        assert wait_for_end(held.holder.pid)
        assert not Path(f"/proc/{pid}").exists()
        assert sorted(path.name for path in run.iterdir()) == []

    asyncio.run(scenario())


def test_stop_ends_what_lost_its_parent(tmp_path: Path) -> None:
    async def scenario() -> None:
        run, note = tmp_path / "run", tmp_path / "pid"
        async with keeper(run) as held:
            script = f"sleep 1000 & echo $! > {note}"
            await held.client.launch(Launch("start", ["sh", "-c", script], ENVIRONMENT))
            assert (await held.ends.get()).code == 0
            await held.client.stop()
            await held.gone.wait()
        assert wait_for_end(held.holder.pid)
        assert not Path(f"/proc/{note.read_text().strip()}").exists()

    asyncio.run(scenario())


def test_a_subordinate_range_is_found_by_uid(tmp_path: Path) -> None:
    table = tmp_path / "subuid"
    table.write_text(f"somebody:1:2\n{os.geteuid()}:100000:65536\n")
    assert subordinate_range(str(table)) == "100000:65536"
    assert subordinate_range(str(tmp_path / "absent")) == ""


def namespaces(pid: int) -> dict[str, str]:
    return {kind: os.readlink(f"/proc/{pid}/ns/{kind}") for kind in ("user", "mnt", "net")}
