"""The group this process came from, by what the kernel lists."""

import pytest

from homeport.node.own_cgroup import home_in

MOUNTS = """\
22 1 0:20 / / rw - ext4 /dev/vda rw
30 22 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct
32 30 0:28 /machine /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
33 30 0:29 / /sys/fs/cgroup/unified rw shared:4 - cgroup2 cgroup2 rw,nsdelegate
"""
OWN = "4:cpu,cpuacct:/\n3:memory:/machine/engine\n0::/user.slice/a:b\n"


@pytest.mark.parametrize(
    ("group", "home"),
    [
        ("/sys/fs/cgroup/cpu/homeport/c/cgroup.procs", "/sys/fs/cgroup/cpu/cgroup.procs"),
        ("/sys/fs/cgroup/memory/homeport/c/cgroup.procs", "/sys/fs/cgroup/memory/engine/cgroup.procs"),
        ("/sys/fs/cgroup/unified/c/cgroup.procs", "/sys/fs/cgroup/unified/user.slice/a:b/cgroup.procs"),
        ("/sys/fs/cgroup/pids/homeport/c/cgroup.procs", None),
        ("/somewhere/else/cgroup.procs", None),
    ],
)
def test_home_is_in_the_same_hierarchy(group: str, home: str | None) -> None:
    assert home_in(group, MOUNTS.splitlines(True), OWN.splitlines(True)) == home


def test_a_group_outside_of_what_is_mounted_is_out_of_reach() -> None:
    own = "3:memory:/elsewhere\n"
    assert home_in("/sys/fs/cgroup/memory/c/cgroup.procs", MOUNTS.splitlines(True), own.splitlines(True)) is None
