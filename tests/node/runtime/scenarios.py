"""What holds inside a cluster's namespaces; each function runs in a node process of its own (`inside.py`)."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from homeport.clock import WallClock
from homeport.node import syscalls
from homeport.node.images.aliases import AliasTable
from homeport.node.images.local import LocalImages, load_archive
from homeport.node.images.store import ImageStore
from homeport.node.runtime.contract import (
    ContainerSpec,
    ExecSpec,
    Exit,
    Image,
    Limits,
    Mount,
    RuntimeFailure,
    SandboxSpec,
    Security,
)
from homeport.node.runtime.oci import OciRuntime
from homeport.node.runtime.state import Directories, Records
from homeport.node.volumes.mounts import mounted_below

SANDBOX = SandboxSpec("sandbox-1", "web-0", {"pod": "web-0"})


class Node:
    """A runtime in one data directory, and shorthands."""

    def __init__(self, data: Path, runtime: OciRuntime) -> None:
        self.data, self.runtime = data, runtime
        self.images = LocalImages(ImageStore(data / "images"), AliasTable(data / "images"), None)
        self.exits = runtime.exits()

    def spec(self, name: str, image: Image, *argv: str, **options: Any) -> ContainerSpec:
        words = argv or (*image.entrypoint, *image.command)
        return ContainerSpec(name, SANDBOX.id, image, words, (), "", self.log(name), **options)

    async def start(self, name: str, *argv: str, image: str = "homeport.local/host", **options: Any) -> None:
        found = await self.images.find(image)
        assert found is not None
        await self.runtime.start_container(self.spec(name, found, *argv, **options))

    async def run(self, name: str, script: str, **options: Any) -> tuple[int, str]:
        """Run a shell script to its end; return exit code and what it printed on stdout."""
        await self.start(name, "sh", "-c", script, **options)
        end = await self.ended(name)
        return end.code, self.printed(name)

    async def ended(self, name: str) -> Exit:
        async for end in self.exits:
            if end.container_id == name:
                return end
        raise AssertionError

    async def exec(self, name: str, *argv: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        async with self.runtime.exec(name, ExecSpec(argv, stdin=bool(stdin))) as session:
            if stdin:
                await session.write_stdin(stdin)
                await session.close_stdin()
            out, err = await asyncio.gather(drained(session.read_stdout), drained(session.read_stderr))
            return await session.wait(), out, err

    def log(self, name: str) -> Path:
        return self.data / "logs" / f"{name}.log"

    def printed(self, name: str, stream: str = "stdout") -> str:
        text = self.log(name).read_bytes().decode() if self.log(name).exists() else ""
        rows = [line.split(" ", 3) for line in text.split("\n")[:-1]]
        return "".join(row[3] + ("\n" if row[2] == "F" else "") for row in rows if row[1] == stream)


async def refusal(attempt: Awaitable[object]) -> RuntimeFailure:
    try:
        await attempt
    except RuntimeFailure as error:
        return error
    raise AssertionError("it went through")


async def drained(read: Any) -> bytes:
    pieces = []
    while piece := await read():
        pieces.append(piece)
    return b"".join(pieces)


@asynccontextmanager
async def node(data: Path) -> AsyncIterator[Node]:
    runtime = await OciRuntime.open(data, WallClock(), cluster="test", tools=[os.environ["RUNTIME"]])
    try:
        yield Node(data, runtime)
    finally:
        await runtime.close()


@asynccontextmanager
async def sandboxed(data: Path) -> AsyncIterator[Node]:
    """A node with one sandbox, removed again with nothing left of it."""
    async with node(data) as it:
        sandbox = await it.runtime.create_sandbox(SANDBOX)
        assert sandbox.running
        yield it
        await it.runtime.remove_sandbox(SANDBOX.id)
        assert await it.runtime.sandboxes() == []
        assert await it.runtime.containers() == []
        places = Directories(data / "run")
        assert places.container_ids() == places.sandbox_ids() == set()
        assert [*Records(places.run).containers(), *Records(places.run).sandboxes()] == []
        assert mounted_below(data, Path("/proc/self/mountinfo").read_text()) == [places.live]
        assert syscalls.start_ticks(sandbox.pid) is None


async def output_and_exit_codes(data: Path) -> None:
    async with sandboxed(data) as it:
        code, out = await it.run("one", "echo to stdout; echo to stderr >&2; hostname; printf unfinished; exit 7")
        assert (code, out) == (7, "to stdout\nweb-0\nunfinished\n")
        assert it.printed("one", "stderr") == "to stderr\n"
        assert (await it.run("two", "head -c 40000 /dev/zero | tr '\\0' x"))[1] == "x" * 40000 + "\n"
        await it.start("three", "sleep", "1000")
        await it.runtime.signal("three", signal.SIGKILL)
        end = await it.ended("three")
        assert (end.code, end.signal, end.oom_killed) == (137, 9, False)
        known = {container.id: container.exit for container in await it.runtime.containers()}
        assert [known[name] and known[name].code for name in ("one", "two", "three")] == [7, 0, 137]
        await it.runtime.remove_container("one")
        assert it.log("one").exists()
        assert "one" not in {container.id for container in await it.runtime.containers()}


async def failures_say_why(data: Path) -> None:
    async with sandboxed(data) as it:
        for name, argv, reason, message in (
            ("a", ["/nowhere"], "RunContainerError", 'exec: "/nowhere": executable file not found in $PATH'),
            ("b", ["nowhere"], "RunContainerError", 'exec: "nowhere": executable file not found in $PATH'),
        ):
            failure = await refusal(it.start(name, *argv))
            if it.runtime.name == "runc":
                message = f'exec: "{argv[0]}": '
            assert failure.reason == reason
            assert failure.message.startswith(message), failure.message
        failure = await refusal(it.start("c", "true", mounts=(Mount("/x", "/does/not/exist"),)))
        assert failure.reason == "CreateContainerError"
        assert "/does/not/exist" in failure.message
        assert await it.runtime.containers() == []
        assert Directories(data / "run").container_ids() == set()


async def commands_beside(data: Path) -> None:
    async with sandboxed(data) as it:
        await it.start("main", "sleep", "1000")
        assert await it.exec("main", "sh", "-c", "cat; echo err >&2; exit 3", stdin=b"in") == (3, b"in", b"err\n")
        assert (await it.exec("main", "cat", "/proc/1/comm"))[1] == b"sleep\n"
        assert (await it.exec("main", "hostname"))[1] == b"web-0\n"
        code, _, err = await it.exec("main", "nowhere")
        assert code == 127
        assert b"nowhere" in err
        async with it.runtime.exec("main", ExecSpec(("sh",), tty=True, stdin=True)) as session:
            await session.resize(100, 40)
            await session.write_stdin(b"stty size; exit 4\n")
            assert b"40 100" in await drained(session.read_stdout)
            assert await session.wait() == 4
        for _ in range(20):
            async with it.runtime.exec("main", ExecSpec(("sleep", "4321"))):
                pass  # left behind, at once: killed, however far its start has come
        code, out, _ = await it.exec("main", "sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert code == 0
        assert b"4321" not in out
        assert (await refusal(it.exec("absent", "true"))).message == 'container not found ("absent")'


async def terminal(data: Path) -> None:
    async with sandboxed(data) as it:
        code, out = await it.run("tty", "tty; echo err >&2; exit 2", tty=True)
        assert code == 2
        assert out.replace("\r", "") == "/dev/pts/0\nerr\n"


async def attached(data: Path) -> None:
    async with sandboxed(data) as it:
        await it.start("cat", "sh", "-c", "echo early; cat; echo done >&2; exit 3", stdin=True)
        async with it.runtime.attach("cat") as session:
            await session.write_stdin(b"first\n")
            while b"first" not in await session.read_stdout():
                pass
        async with it.runtime.attach("cat") as session:  # detaching did not end its input
            await session.write_stdin(b"second\n")
            await session.close_stdin()
            out, err = await asyncio.gather(drained(session.read_stdout), drained(session.read_stderr))
            assert (out, err, await session.wait()) == (b"second\n", b"done\n", 3)
        assert it.printed("cat") == "early\nfirst\nsecond\n"
        await it.start("tty", "sh", tty=True, stdin=True)
        async with it.runtime.attach("tty") as session:
            await session.resize(90, 30)
            await session.write_stdin(b"stty size; exit 5\n")
            assert b"30 90" in await drained(session.read_stdout)
            assert await session.wait() == 5
        assert (await refusal(anext_of(it.runtime.attach("tty")))).message == 'container not found ("tty")'


async def anext_of(context: Any) -> None:
    async with context:
        pass


async def archives(data: Path) -> None:
    for archive in ("docker.tar", "docker.tar.gz", "oci", "oci.tar"):
        [image] = load_archive(data / "images", data / "archives" / archive)
        assert image.reference == "example.org/busybox:1"
    async with sandboxed(data) as it:
        image = await it.images.find("example.org/busybox:1")
        assert image is not None
        assert (image.command, image.user) == (("sh",), "")
        code, out = await it.run("one", "ls /; cat /etc/greeting; echo $WORD; readlink /link", image=image.reference)
        assert code == 0
        assert "hello from layer two" in out
        assert "removed" not in out
        assert "from image" in out
        assert (await it.run("two", "test -e /etc/gone || echo gone", image=image.reference))[1] == "gone\n"
        await it.run("three", "echo changed > /etc/greeting", image=image.reference)
        assert "changed" not in (await it.run("four", "cat /etc/greeting", image=image.reference))[1]


async def nginx_in_place_of_its_image(data: Path) -> None:
    async with sandboxed(data) as it:
        image = await it.images.pull("nginx:1.7.9")
        assert "this machine's own nginx" in image.note
        await it.runtime.start_container(it.spec("nginx", image))
        ask = "import urllib.request as u; print(u.urlopen('http://127.0.0.1/').status)"
        wait = "import socket\nwhile socket.socket().connect_ex(('127.0.0.1', 80)): pass\n"
        assert (await it.exec("nginx", "python3", "-c", wait + ask))[:2] == (0, b"200\n")
        await it.runtime.signal("nginx", signal.SIGQUIT)
        assert (await it.ended("nginx")).code == 0
        assert '"GET / HTTP/1.1" 200' in it.printed("nginx")


async def isolation(data: Path) -> None:
    (data / "secret").write_text("secret")
    (data / "volume").mkdir()
    (data / "volume" / "file").write_text("mine\n")
    async with sandboxed(data) as it:
        mounts = (
            Mount("/data", str(data / "volume")),
            Mount("/var/lib/made/for/it", str(data / "volume"), read_only=True),
            Mount("/scratch", kind="tmpfs", size_bytes=1 << 20),
        )
        script = f"""
            cat /data/file /var/lib/made/for/it/file; echo new > /data/new
            echo no > /var/lib/made/for/it/no || echo read-only
            ls {data}/secret || echo hidden
            touch /etc/mine /var/lib/mine /usr/local/mine && echo writable
            df -k /scratch | tail -1 | awk '{{print $2}}'
            grep -E 'CapInh|CapAmb|Seccomp:' /proc/self/status
            ls /proc/1/cwd/ > /dev/null; unshare -n true || echo confined
        """
        code, out = await it.run("one", script, mounts=mounts)
        assert code == 0
        for word in ("mine\nmine\n", "read-only", "hidden", "writable", "\n1024\n", "Seccomp:\t2", "confined"):
            assert word in out, (word, out, it.printed("one", "stderr"))
        assert out.count("0000000000000000") == 2
        assert (data / "volume" / "new").read_text() == "new\n"
        assert not Path("/etc/mine").exists()
        strict = Security(read_only_root=True, allow_privilege_escalation=False, drop_capabilities=("ALL",))
        script = "touch /etc/x || echo locked; grep -E 'CapBnd|NoNewPrivs' /proc/self/status; touch /tmp/x && echo tmp"
        _, out = await it.run("two", script, security=strict)
        for word in ("locked", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "tmp"):
            assert word in out, (word, out)
        someone = Security(uid=65534, gid=65534, groups=(7,))
        launcher = it.runtime._launcher
        if launcher.ids.single and not launcher.tool.takes_rootless_aliases:
            failure = await refusal(it.run("three", "id", security=someone))
            assert failure.reason == "CreateContainerError"
            assert "user 65534 does not exist on this node" in failure.message
        else:
            _, out = await it.run("three", "id; echo ok > /dev/stdout; grep CapEff /proc/self/status", security=someone)
            assert "uid=65534(nobody) gid=65534(nogroup) groups=65534(nogroup)" in out
            assert launcher.ids.single or ",7(lp)" in out
            assert "ok" in out
            assert "CapEff:\t0000000000000000" in out
            await it.start("four", "sleep", "1000", security=someone)
            assert (await it.exec("four", "id", "-u"))[1] == b"65534\n"


async def memory_limit(data: Path) -> None:
    async with sandboxed(data) as it:
        limits = Limits(memory_bytes=64 << 20, cpu_shares=512, cpu_quota_microseconds=50_000, pids=100)
        await it.start("one", "python3", "-c", "bytearray(200 << 20)", limits=limits)
        end = await it.ended("one")
        if it.runtime.limits_enforced:
            assert (end.code, end.signal, end.oom_killed) == (137, 9, True)
        else:
            assert end.code == 0


async def shared_processes(data: Path) -> None:
    async with node(data) as it:
        await it.runtime.create_sandbox(replace(SANDBOX, share_process_namespace=True))
        await it.start("one", "sh", "-c", "sleep 1000 & wait")
        code, out = await it.run("two", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert code == 0
        assert "sleep infinity" in out
        assert "sleep 1000" in out
        await it.runtime.signal("one", signal.SIGKILL)
        assert (await it.ended("one")).code == 137
        _, out = await it.run("three", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '")
        assert "sleep 1000" not in out
        await it.runtime.remove_sandbox(SANDBOX.id)


async def die_with_pods(data: Path) -> None:
    """Start three containers and die without a word."""
    async with node(data) as it:
        await it.runtime.create_sandbox(SANDBOX)
        await it.start("counting", "sh", "-c", "i=0; while [ ! -e /data/stop ]; do echo $i; i=$((i+1)); done; exit 4",
                       mounts=(Mount("/data", str(data)),), labels={"name": "counting"})  # fmt: skip
        await it.start("short", "sh", "-c", "while [ ! -e /data/end ]; do :; done; echo last words; exit 5",
                       mounts=(Mount("/data", str(data)),))  # fmt: skip
        await it.start("tty", "sh", "-c", "while [ ! -e /data/stop ]; do :; done; tty; exit 6", tty=True,
                       mounts=(Mount("/data", str(data)),))  # fmt: skip
        os.kill(os.getpid(), signal.SIGKILL)


async def adopt(data: Path) -> None:
    async with node(data) as it:
        [sandbox] = await it.runtime.sandboxes()
        assert (sandbox.id, sandbox.labels, sandbox.running) == (SANDBOX.id, SANDBOX.labels, True)
        known = {container.id: container for container in await it.runtime.containers()}
        assert known["counting"].labels == {"name": "counting"}
        assert known["counting"].exit is None
        ended = known["short"].exit
        assert ended is not None
        assert (ended.code, ended.known) == (5, True)
        assert it.printed("short") == "last words\n"
        assert (await it.exec("counting", "hostname"))[1] == b"web-0\n"
        (data / "stop").touch()
        ends = {}
        while len(ends) < 2:
            end = await anext(it.exits)
            ends[end.container_id] = end
        assert {name: end.code for name, end in ends.items()} == {"counting": 4, "tty": 6}
        numbers = [int(line) for line in it.printed("counting").split()]
        assert numbers == list(range(len(numbers)))  # nothing lost, nothing twice
        assert it.printed("tty").strip() == "/dev/pts/0"
        await it.runtime.remove_sandbox(SANDBOX.id)


async def adopt_after_the_keeper_died_too(data: Path) -> None:
    async with node(data) as it:
        [sandbox] = await it.runtime.sandboxes()
        assert sandbox.running
        known = {container.id: container for container in await it.runtime.containers()}
        assert known["counting"].exit is None
        assert (await it.exec("counting", "hostname"))[1] == b"web-0\n"
        (data / "stop").touch()
        end = await it.ended("counting")
        assert not end.known
        assert (await it.run("new", "hostname"))[1] == "web-0\n"
        await it.runtime.remove_sandbox(SANDBOX.id)


async def keeper_dies(data: Path) -> None:
    """The namespace keeper is killed under a living node: it is replaced, and containers go on."""
    async with node(data) as it:
        await it.runtime.create_sandbox(SANDBOX)
        await it.start(
            "before", "sh", "-c", "while [ ! -e /data/stop ]; do :; done", mounts=(Mount("/data", str(data)),)
        )
        old = json.loads((data / "run" / "holder.json").read_text())["pid"]
        os.kill(old, signal.SIGKILL)
        await asyncio.wait_for(it.runtime.holder_replaced(), 20)
        assert (await it.run("after", "hostname"))[1] == "web-0\n"
        (data / "stop").touch()
        assert not (await it.ended("before")).known
        await it.runtime.remove_sandbox(SANDBOX.id)
