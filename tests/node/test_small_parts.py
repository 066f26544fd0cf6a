"""Probe tallies, stopping, logs, admission, security: the small parts on their own."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from homeport.node.admission import Occupancy, admit
from homeport.node.environment import ConfigError
from homeport.node.grpc_health import header_block, parse_reply, request_bytes
from homeport.node.last_words import read_last_words
from homeport.node.logs import LogOptions, parse, read_log, tail_records
from homeport.node.pod import ExecAction, Probe, default_pull_policy
from homeport.node.probes import Tally
from homeport.node.runtime.contract import Image
from homeport.node.security import security_of
from homeport.node.stopping import Deadline, stop_signal
from tests.node.test_environment import pod

PROBE = Probe(ExecAction(("x",)), success_threshold=2, failure_threshold=3)


def test_thresholds_count_equal_results_in_a_row() -> None:
    tally, verdicts = Tally(False), []
    for success in (True, False, True, True, False, False, True, False, False, False):
        tally = tally.add(success, PROBE)
        verdicts.append(tally.verdict)
    assert verdicts == [False, False, False, True, True, True, True, True, True, False]


@pytest.mark.parametrize(
    ("name", "number"),
    [("SIGQUIT", 3), ("quit", 3), ("9", 9), ("SIGRTMIN+3", signal.SIGRTMIN + 3), ("", 15), ("NONSENSE", 15)],
)
def test_stop_signals(name: str, number: int) -> None:
    assert stop_signal(name) == number


@pytest.mark.virtual
async def test_a_deadline_only_comes_nearer() -> None:
    deadline, never = Deadline(30.0), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.call_later(5, deadline.shorten, 3.0)
    loop.call_later(6, deadline.shorten, 100.0)
    assert not await deadline.wait(never)
    assert loop.time() == 8.0
    assert not await deadline.wait(never, floor=2.0)
    assert loop.time() == 10.0


LOG = (
    b"2026-01-01T00:00:00.100000000Z stdout F one\n"
    b"2026-01-01T00:00:01.5Z stderr F two\n"
    b"2026-01-01T00:00:02Z stdout P thr\n"
    b"2026-01-01T00:00:02.000000001Z stdout F ee\n"
    b"2026-01-01T00:00:03Z stdout F \xff four\n"
    b"no record\n"
)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "0.log"
    path.write_bytes(LOG)
    return path


async def read(path: Path, **options: Any) -> bytes:
    return b"".join([piece async for piece in read_log(path, LogOptions(**options), None)])


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, b"one\ntwo\nthree\n\xff four\n"),
        ({"tail_lines": 2}, b"three\n\xff four\n"),
        ({"tail_lines": 0}, b""),
        ({"tail_lines": 99}, b"one\ntwo\nthree\n\xff four\n"),
        ({"since": 1_767_225_601.4}, b"two\nthree\n\xff four\n"),
        ({"limit_bytes": 6}, b"one\ntw"),
        ({"stream": "Stderr"}, b"two\n"),
        (
            {"timestamps": True, "tail_lines": 2},
            b"2026-01-01T00:00:02.000000000Z three\n2026-01-01T00:00:03.000000000Z \xff four\n",
        ),
    ],
)
async def test_logs_are_selected(log: Path, options: dict[str, Any], expected: bytes) -> None:
    assert await read(log, **options) == expected


async def test_a_log_is_followed_until_its_container_ends(log: Path) -> None:
    ended, pieces = asyncio.Event(), []

    async def follow() -> None:
        pieces.extend([piece async for piece in read_log(log, LogOptions(follow=True, tail_lines=0), ended)])

    task = asyncio.create_task(follow())
    await asyncio.sleep(0.01)
    with log.open("ab") as file:
        file.write(b"2026-01-01T00:00:09Z stdout F more\n")
    ended.set()
    await task
    assert b"".join(pieces) == b"more\n"


def test_long_logs_are_tailed_from_the_end(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"".join(b"2026-01-01T00:00:00Z stdout F line %d\n" % n for n in range(20_000)))
    assert [record.content for record in tail_records(path, 3)] == [b"line 19997", b"line 19998", b"line 19999"]
    assert len(tail_records(path, 5000)) == 5000
    assert tail_records(tmp_path / "none", 5) == []


def test_records_that_are_none() -> None:
    assert parse(b"") is None
    assert parse(b"2026 stdin F x") is None
    record = parse(b"2026-01-01T00:00:00Z stdout F")
    assert record is not None
    assert (record.content, record.complete) == (b"", True)


def test_last_words(tmp_path: Path, log: Path) -> None:
    words = tmp_path / "words"
    words.write_bytes(b"x" * 5000 + b"end")
    assert read_last_words(words, log, from_log=False) == "x" * 4093 + "end"
    words.write_bytes(b"")
    assert read_last_words(words, log, from_log=False) == ""
    assert read_last_words(words, log, from_log=True) == "one\ntwo\nthree\n\ufffd four\n"
    words.unlink()
    words.symlink_to("/etc/passwd")
    assert read_last_words(words, log, from_log=False) == ""


NODE = {"cpu": "2", "memory": "1Gi", "pods": "3"}


@pytest.mark.parametrize(
    ("container", "spec", "reason"),
    [
        ({"resources": {"requests": {"cpu": "1500m"}}}, {}, None),
        ({"resources": {"requests": {"cpu": "2500m"}}}, {}, "OutOfcpu"),
        ({"resources": {"requests": {"memory": "2Gi"}}}, {}, "OutOfmemory"),
        ({}, {"os": {"name": "windows"}}, "PodOSNotSupported"),
        ({}, {"nodeSelector": {"disk": "ssd"}}, "NodeAffinity"),
        ({}, {"securityContext": {"sysctls": [{"name": "net/ipv4/tcp_syncookies", "value": "1"}]}}, None),
        ({}, {"securityContext": {"sysctls": [{"name": "kernel.shmmax", "value": "1"}]}}, "SysctlForbidden"),
        ({"ports": [{"containerPort": 80, "hostPort": 80, "hostIP": "127.0.0.1"}]}, {}, "NodePorts"),
        ({"ports": [{"containerPort": 80, "hostPort": 80, "protocol": "UDP"}]}, {}, None),
    ],
)
def test_admission(container: dict[str, Any], spec: dict[str, Any], reason: str | None) -> None:
    import dataclasses

    other = dataclasses.replace(pod({"ports": [{"containerPort": 80, "hostPort": 80}]}), uid="other")
    refusal = admit(pod(container, **spec), Occupancy([other]), NODE, {"disk": "hdd"})
    assert (refusal.reason if refusal else None) == reason


def test_a_full_node_refuses() -> None:
    import dataclasses

    others = [dataclasses.replace(pod({}), uid=str(n)) for n in range(3)]
    refusal = admit(pod({}), Occupancy(others), NODE, None)
    assert refusal is not None
    assert refusal.message == "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3"


IMAGE = Image("sha256:0", "app:1")


def test_container_contexts_override_the_pods() -> None:
    of = pod(
        {"securityContext": {"runAsUser": 5, "capabilities": {"add": ["CAP_NET_ADMIN"], "drop": ["ALL"]}}},
        securityContext={"runAsUser": 1, "runAsGroup": 2, "fsGroup": 3, "supplementalGroups": [4, 3]},
    )
    found = security_of(of, of.containers[0], IMAGE)
    assert (found.uid, found.gid, found.groups) == (5, 2, (4, 3))
    assert (found.add_capabilities, found.drop_capabilities) == (("NET_ADMIN",), ("ALL",))


@pytest.mark.parametrize(
    ("user", "image_user", "text"),
    [
        (0, "", "container's runAsUser breaks non-root policy"),
        (None, "", "container has runAsNonRoot and image will run as root"),
        (None, "app", "container has runAsNonRoot and image has non-numeric user (app), cannot verify"),
        (None, "7:7", None),
        (7, "", None),
    ],
)
def test_root_is_refused_where_it_must_be(user: int | None, image_user: str, text: str | None) -> None:
    context = {"runAsNonRoot": True, **({"runAsUser": user} if user is not None else {})}
    of = pod({"securityContext": context})
    image = Image("sha256:0", "app:1", user=image_user)
    if text is None:
        security_of(of, of.containers[0], image)
        return
    with pytest.raises(ConfigError) as caught:
        security_of(of, of.containers[0], image)
    assert str(caught.value).startswith(text)
    assert str(caught.value).endswith('(pod: "web-0_db(u-1)", container: main)')


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"), ("nginx:latest", "Always"), ("nginx:1.27", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"), ("localhost:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:00", "IfNotPresent"),
    ],
)  # fmt: skip
def test_default_pull_policies(image: str, policy: str) -> None:
    assert default_pull_policy(image) == policy


def test_a_health_check_on_the_wire() -> None:
    assert header_block([("te", "trailers")]) == b"\x00\x02te\x08trailers"
    wire = request_bytes("10.0.0.1:80", "db", "1.36")
    assert wire.startswith(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
    assert wire.endswith(b"\x00\x00\x00\x00\x04\x0a\x02db")
    assert parse_reply(b"\x00\x00\x00\x00\x02\x08\x01") == "SERVING"
    assert parse_reply(b"\x00\x00\x00\x00\x02\x08\x02") == "NOT_SERVING"
    assert parse_reply(b"\x00\x00\x00\x00\x00") == "UNKNOWN"
    assert parse_reply(b"") == ""


async def test_a_followed_log_goes_on_after_its_rotation(tmp_path: Path) -> None:
    path, ended, pieces = tmp_path / "0.log", asyncio.Event(), []
    path.write_bytes(b"2026-01-01T00:00:00Z stdout F old\n")

    async def follow() -> None:
        async for piece in read_log(path, LogOptions(follow=True), ended):
            pieces.append(piece)
            seen.set()

    seen = asyncio.Event()
    task = asyncio.create_task(follow())
    await seen.wait()
    seen.clear()
    with path.open("ab") as file:
        file.write(b"2026-01-01T00:00:01Z stdout F last\n")
    path.rename(tmp_path / "0.log.20260101-000002")
    path.write_bytes(b"2026-01-01T00:00:02Z stdout F new\n")
    async with asyncio.timeout(5):
        while b"new" not in b"".join(pieces):
            await seen.wait()
            seen.clear()
    ended.set()
    await task
    assert b"".join(pieces) == b"old\nlast\nnew\n"
