"""The host's state, and what changed in it."""

import subprocess
import sys

import pytest

from homeport.engine.hoststate import HostState, mounts, snapshot

MOUNTINFO = """22 1 259:1 / / rw,relatime shared:1 - ext4 /dev/root rw
40 22 0:35 /sub /mnt rw - tmpfs none rw,size=10k
"""


def test_mounts_are_told_by_place_and_source() -> None:
    assert mounts(MOUNTINFO) == {"/ from /dev/root/ (ext4)", "/mnt from none/sub (tmpfs)"}


def test_a_difference_says_what_came_and_what_went() -> None:
    before = HostState({"mount": frozenset({"/", "/old"}), "route": frozenset()})
    after = HostState({"mount": frozenset({"/", "/new"}), "route": frozenset()})
    assert before.difference(after) == ["- mount: /old", "+ mount: /new"]
    assert before.difference(before) == []


@pytest.mark.real
def test_a_host_left_alone_does_not_differ() -> None:
    assert snapshot().difference(snapshot()) == []


CHANGES = """
import subprocess
from homeport.engine.hoststate import snapshot
before = snapshot()
for command in ("ip link set lo up", "ip link add br9 type bridge", "ip addr add 10.9.0.1/24 dev br9",
                "ip link set br9 up", "nft add table ip stray"):
    subprocess.run(command.split(), check=True)
open("/proc/sys/net/ipv4/ip_forward", "w").write("1")
found = {line.split(":")[0] for line in before.difference(snapshot())}
assert found >= {"+ interface", "+ address", "+ route", "+ packet filter", "+ kernel setting"}, found
"""


@pytest.mark.real
def test_every_kind_of_leftover_is_seen() -> None:
    command = ["unshare", "--map-root-user", "--net", sys.executable, "-c", CHANGES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
