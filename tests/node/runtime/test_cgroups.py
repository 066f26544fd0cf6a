"""Limits as files, and where they go on each layout."""

from pathlib import Path

import pytest

from homeport.node.runtime.cgroups import Cgroups, clear_cgroups, find_cgroups, record_cgroups, settings_v1, settings_v2
from homeport.node.runtime.contract import Limits

FULL = Limits(cpu_shares=1024, cpu_quota_microseconds=50_000, memory_bytes=1 << 20, pids=10)


@pytest.mark.parametrize(
    ("controller", "limits", "files"),
    [
        ("memory", FULL, {"memory.limit_in_bytes": "1048576", "memory.memsw.limit_in_bytes": "1048576"}),
        ("cpu", FULL, {"cpu.shares": "1024", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "50000"}),
        ("pids", FULL, {"pids.max": "10"}),
        ("memory", Limits(), {}),
        ("cpu", Limits(), {}),
        ("pids", Limits(), {}),
    ],
)
def test_version_1(controller: str, limits: Limits, files: dict[str, str]) -> None:
    assert dict(settings_v1(controller, limits)) == files


def test_version_2() -> None:
    assert dict(settings_v2(FULL)) == {
        "memory.max": "1048576",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "cpu.weight": "39",
        "cpu.max": "50000 100000",
        "pids.max": "10",
    }
    assert settings_v2(Limits()) == []


def found(tmp_path: Path, mounts: str, own: str) -> Cgroups:
    (tmp_path / "mounts").write_text(mounts.format(root=tmp_path))
    (tmp_path / "own").write_text(own)
    return find_cgroups("cluster", mounts=tmp_path / "mounts", own=tmp_path / "own")


def test_each_version_1_hierarchy_is_used_below_our_own_group(tmp_path: Path) -> None:
    for directory in ("memory/ours", "cpu", "unified"):
        (tmp_path / directory).mkdir(parents=True)
    line = "1 2 0:3 / {root}/%s rw - %s %s rw%s\n"
    mounts = (
        line % ("memory", "cgroup", "cgroup", ",memory")
        + line % ("cpu", "cgroup", "cgroup", ",cpu,cpuacct")
        + line % ("unified", "cgroup2", "cgroup2", "")
    )
    groups = found(tmp_path, mounts, "4:memory:/ours\n3:cpu,cpuacct:/elsewhere\n0::/\n")
    assert dict(groups.hierarchies) == {"memory": tmp_path / "memory/ours/cluster", "cpu": tmp_path / "cpu/cluster"}
    entered = groups.create("c", FULL)
    assert set(entered) == {str(base / "c/cgroup.procs") for base in groups.hierarchies.values()}
    assert (tmp_path / "memory/ours/cluster/c/memory.limit_in_bytes").read_text() == "1048576"
    (tmp_path / "memory/ours/cluster/c/memory.oom_control").write_text("oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    assert groups.oom_kills("c") == 2
    assert groups.oom_kills("other") == 0


def test_version_2_needs_the_controllers(tmp_path: Path) -> None:
    (tmp_path / "all").mkdir()
    mounts = "1 2 0:3 / {root}/all rw - cgroup2 cgroup2 rw\n"
    assert dict(found(tmp_path, mounts, "0::/\n").hierarchies) == {}
    (tmp_path / "all/cgroup.subtree_control").write_text("")
    groups = found(tmp_path, mounts, "0::/\n")
    assert groups.unified
    assert dict(groups.hierarchies) == {"": tmp_path / "all/cluster"}


def test_without_any_limits_are_ignored(tmp_path: Path) -> None:
    groups = found(tmp_path, "1 2 0:3 / / rw - ext4 /dev/x rw\n", "")
    assert groups.create("c", FULL) == []
    assert groups.oom_kills("c") == 0
    groups.remove("c")


def test_groups_are_cleared_by_whoever_ends_the_engine(tmp_path: Path) -> None:
    for container in ("ended", "running"):
        (tmp_path / "cpu/cluster" / container).mkdir(parents=True)
    (tmp_path / "cpu/cluster/running/child").mkdir()  # not empty, as a group with processes is not to be removed
    clear_cgroups(tmp_path, ["ended"])
    record_cgroups(Cgroups({"cpu": tmp_path / "cpu/cluster"}), tmp_path)
    clear_cgroups(tmp_path, ["ended", "running", "absent"])
    assert [path.name for path in (tmp_path / "cpu/cluster").iterdir()] == ["running"]
    (tmp_path / "cpu/cluster/running/child").rmdir()
    clear_cgroups(tmp_path, ["running"])
    assert not (tmp_path / "cpu/cluster").exists()
