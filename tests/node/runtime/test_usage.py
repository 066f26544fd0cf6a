"""What containers use: read from their cgroups where the kernel counts, added up over processes where not."""

import os
import subprocess
from pathlib import Path

from homeport.node.runtime.cgroups import Cgroups
from homeport.node.runtime.contract import Usage
from homeport.node.runtime.usage import processes_usage, usage_of
from homeport.node.stats import machine_usage


def files(group: Path, **contents: str) -> None:
    group.mkdir(parents=True)
    for name, text in contents.items():
        (group / name.replace("__", ".")).write_text(text)


def test_version_2(tmp_path: Path) -> None:
    files(
        tmp_path / "c",
        cpu__stat="usage_usec 1500\nuser_usec 1000\n",
        memory__current="1000\n",
        memory__stat="anon 600\ninactive_file 300\n",
    )
    assert Cgroups({"": tmp_path}).usage("c") == Usage(1_500_000, 700)


def test_version_1(tmp_path: Path) -> None:
    files(tmp_path / "cpu" / "c", cpuacct__usage="1500000\n")
    memory = {"memory__usage_in_bytes": "1000\n", "memory__stat": "cache 5\ntotal_inactive_file 400\n"}
    files(tmp_path / "memory" / "c", **memory)
    found = Cgroups({"cpu": tmp_path / "cpu", "memory": tmp_path / "memory"}).usage("c")
    assert found == Usage(1_500_000, 600)


def test_a_group_that_is_gone_tells_nothing(tmp_path: Path) -> None:
    assert Cgroups({"": tmp_path}).usage("c") is None
    assert Cgroups({}).usage("c") is None


def stat(proc: Path, pid: int, namespace: Path, ticks: tuple[int, int, int, int], pages: int) -> None:
    entry = proc / str(pid)
    (entry / "ns").mkdir(parents=True)
    os.link(namespace, entry / "ns" / "mnt")
    fields = ["S", *["0"] * 10, *map(str, ticks), *["0"] * 20]
    (entry / "stat").write_text(f"{pid} (a) b) {' '.join(fields)}\n")
    (entry / "statm").write_text(f"900 {pages} 1 1 0 1 0\n")


def test_processes_of_a_container_are_added_up(tmp_path: Path) -> None:
    one, other, proc = tmp_path / "one", tmp_path / "other", tmp_path / "proc"
    one.touch()
    other.touch()
    stat(proc, 10, one, (1, 2, 3, 4), 5)
    stat(proc, 11, one, (10, 0, 0, 0), 1)
    stat(proc, 12, other, (100, 0, 0, 0), 1)
    (proc / "self").mkdir()
    tick, page = 10**9 // os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert processes_usage({"c": 10}, proc) == {"c": Usage(20 * tick, 6 * page)}
    assert processes_usage({"gone": 99}, proc) == {}


def test_a_process_of_this_machine(tmp_path: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    try:
        (found,) = usage_of({"c": process.pid}, Cgroups({})).values()
        assert found.memory_bytes > 0
    finally:
        process.kill()
        process.wait()


def test_this_machine() -> None:
    found = machine_usage()
    assert found is not None
    assert found.cpu_nanoseconds > 0 < found.memory_bytes


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    assert machine_usage(tmp_path) is None
