"""What must hold for a program run inside the cluster; each scenario is run by `test_inside` as its own process."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from homeport.engine.hoststate import snapshot
from homeport.engine.inside import InsideError, run_inside
from homeport.node.holder_client import HolderClient, ensure_holder
from homeport.node.namespaces import Holder, wait_for_end

SEARCH = ("shop.svc.cluster.local", "svc.cluster.local", "cluster.local")


def run(holder: Holder, *argv: str, privileged: bool = False) -> int:
    return run_inside(holder, argv, ["10.96.0.10"], SEARCH, privileged=privileged)


def report(holder: Holder, directory: Path, code: str, *, privileged: bool = False) -> object:
    """Run Python code inside and return the JSON it leaves in a file."""
    path = directory / "report.json"
    program = f"import json, os, socket\njson.dump({code}, open({str(path)!r}, 'w'))"
    assert run(holder, sys.executable, "-I", "-c", program, privileged=privileged) == 0
    return json.loads(path.read_text())


def it_is_the_callers_own_process_elsewhere(holder: Holder, directory: Path) -> None:
    before = snapshot()
    os.chdir(directory)
    os.environ["COLOUR"] = "green"
    seen = report(holder, directory, "[os.getcwd(), os.environ['COLOUR'], os.getuid(), os.getgid()]")
    assert seen == [str(directory), "green", os.getuid(), os.getgid()]
    seen = report(holder, directory, "[open('/etc/resolv.conf').read(), [n for _, n in socket.if_nameindex()]]")
    assert seen == [f"search {' '.join(SEARCH)}\nnameserver 10.96.0.10\noptions ndots:5\n", ["lo"]]
    assert report(holder, directory, "os.readlink('/proc/self/ns/net')") == os.readlink(f"/proc/{holder.pid}/ns/net")
    assert "10.96.0.10" not in Path("/etc/resolv.conf").read_text()
    assert before.difference(snapshot()) == []


def exit_codes_and_failures_come_back(holder: Holder, directory: Path) -> None:
    assert run(holder, "true") == 0
    assert run(holder, "sh", "-c", "exit 42") == 42
    assert run(holder, "sh", "-c", "kill -9 $$") == 137
    with pytest.raises(InsideError, match="cannot run /no/such/program: No such file"):
        run(holder, "/no/such/program")
    with pytest.raises(InsideError, match="no command"):
        run(holder)
    with pytest.raises(InsideError, match="cannot enter the cluster's network"):
        run(Holder(holder.pid, holder.start + 1), "true")


def standard_streams_are_the_callers(holder: Holder, directory: Path) -> None:
    text = directory / "text"
    text.write_text("from a file\n")
    kept_in, kept_out = os.dup(0), os.dup(1)
    try:
        with text.open() as source, (directory / "copy").open("w") as target:
            os.dup2(source.fileno(), 0)
            os.dup2(target.fileno(), 1)
            assert run(holder, "cat") == 0
    finally:
        os.dup2(kept_in, 0)
        os.dup2(kept_out, 1)
    assert (directory / "copy").read_text() == "from a file\n"


def signals_reach_the_program(holder: Holder, directory: Path) -> None:
    fifo = directory / "ready"
    os.mkfifo(fifo)
    before = signal.getsignal(signal.SIGUSR1)
    script = f"trap 'exit 7' USR1; echo ready > {fifo}; while :; do sleep 0.05; done"
    with subprocess.Popen(["sh", "-c", f"read line < {fifo}; kill -USR1 {os.getpid()}"]) as disturber:
        assert run(holder, "sh", "-c", script) == 7
        assert disturber.wait() == 0
    assert signal.getsignal(signal.SIGUSR1) is before


def a_stopped_program_stops_its_command(holder: Holder, directory: Path) -> None:
    fifo = directory / "pid"
    os.mkfifo(fifo)
    code = (
        "from homeport.engine.inside import run_inside; from homeport.node.namespaces import Holder; import sys;"
        f"sys.exit(run_inside(Holder({holder.pid}, {holder.start}),"
        f" ['sh', '-c', 'echo $$ > {fifo}; read line; exit 5'], ['10.96.0.10'], ['cluster.local']))"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, start_new_session=True) as command:
        assert command.stdin
        program = int(fifo.read_text())
        os.kill(program, signal.SIGSTOP)
        stopped = os.waitid(os.P_PID, command.pid, os.WSTOPPED)
        assert stopped
        assert stopped.si_status == signal.SIGSTOP
        os.kill(command.pid, signal.SIGCONT)
        assert os.waitid(os.P_PID, command.pid, os.WCONTINUED)
        command.stdin.write(b"go on\n")
        command.stdin.close()
        assert command.wait(30) == 5


def capabilities_are_for_who_asks(holder: Holder, directory: Path) -> None:
    link = ["ip", "link", "add", "probe0", "type", "bridge"]
    if os.getuid() != 0:
        assert run(holder, *link) != 0
    assert run(holder, *link, privileged=True) == 0
    assert run(holder, "ip", "link", "delete", "probe0", privileged=True) == 0


async def start(directory: Path) -> Holder:
    return await ensure_holder(directory / "run", directory / "logs" / "holder.log")


async def stop(directory: Path) -> None:
    client = HolderClient(lambda _: None, lambda: None)
    client.connect(directory / "run")
    await client.stop()
    client.close()


def main(scenario: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        holder = asyncio.run(start(directory))
        try:
            globals()[scenario](holder, directory)
        finally:
            asyncio.run(stop(directory))
            wait_for_end(holder.pid)


if __name__ == "__main__":
    main(sys.argv[1])
