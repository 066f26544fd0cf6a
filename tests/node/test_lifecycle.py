"""What a pod's containers should do next, as tables and as a property over random histories."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.node.backoff import Backoff
from homeport.node.lifecycle import ContainerState, Ended, Running, may_restart, plan
from homeport.node.pod import ContainerDef, Kind, Pod, ProbeKind
from tests.node.test_status import NOW, SIDECAR, pod


def live(container: ContainerDef, **changes: Any) -> ContainerState:
    base = Running(f"{container.name}-0", NOW, container.hash, hooked=True, started=True, ready=True)
    return ContainerState(running=base._replace(**changes))


def over(code: int = 0, at: float = NOW) -> ContainerState:
    return ContainerState(ended=Ended("gone", code, "Error", at, at - 1))


def starts(of: Pod, states: dict[str, ContainerState], now: float = NOW) -> tuple[str, ...]:
    return plan(of, states, now).start


def test_containers_start_one_after_the_other_and_failures_hold_nobody_back() -> None:
    of = pod(containers=("a", "b"))
    a, _ = of.containers
    assert starts(of, {}) == ("a",)
    assert starts(of, {"a": ContainerState(busy=True)}) == ()
    assert starts(of, {"a": live(a, hooked=False)}) == ()  # its hook still runs
    assert starts(of, {"a": live(a)}) == ("b",)
    assert starts(of, {"a": ContainerState(retry_at=NOW + 10)}) == ("b",)


def test_init_containers_come_first_and_sidecars_only_need_to_be_started() -> None:
    of = pod(init=("one", SIDECAR, "two"))
    one, proxy, _ = of.init
    assert starts(of, {}) == ("one",)
    assert starts(of, {"one": live(one)}) == ()
    assert starts(of, {"one": over()}) == ("proxy",)
    assert starts(of, {"one": over(), "proxy": live(proxy, started=False)}) == ()
    assert starts(of, {"one": over(), "proxy": live(proxy, ready=False)}) == ("two",)
    assert starts(of, {"one": over(), "proxy": live(proxy), "two": over()}) == ("main",)


def test_a_sidecar_that_ends_starts_again_whatever_the_policy() -> None:
    of = pod(policy="Never", init=(SIDECAR, "two"))
    two = of.init[1]
    (main,) = of.containers
    assert starts(of, {"proxy": over(1, NOW - 999), "two": live(two)}) == ("proxy",)
    assert starts(of, {"proxy": over(1, NOW - 999), "two": over(), "main": live(main)}) == ("proxy",)
    finished = plan(of, {"proxy": over(0), "two": over(), "main": over()}, NOW)
    assert (finished.start, finished.finished) == ((), True)


def test_a_failing_init_container_ends_a_pod_that_never_restarts() -> None:
    assert plan(pod(policy="Never", init=("one",)), {"one": over(1)}, NOW).finished
    assert not plan(pod(init=("one",)), {"one": over(1)}, NOW).finished


def test_the_first_restart_is_immediate_later_ones_wait() -> None:
    of = pod()
    key = of.containers[0].backoff_key
    state = over(1)
    assert starts(of, {"main": state}) == ("main",)
    delayed = state._replace(backoff=Backoff(40.0, NOW - 30, key))
    step = plan(of, {"main": delayed}, NOW + 10)
    assert step.start == ()
    assert step.wake_at == NOW + 40
    assert step.waiting["main"].reason == "CrashLoopBackOff"
    assert step.waiting["main"].message == "back-off 40s restarting failed container=main pod=web_default(u-1)"
    assert starts(of, {"main": delayed}, NOW + 40) == ("main",)
    other_image = delayed._replace(backoff=Backoff(40.0, NOW - 30, "another"))
    assert starts(of, {"main": other_image}, NOW + 1) == ("main",)


def test_probes_and_new_images_stop_a_container() -> None:
    of = pod(containers=({"name": "main", "livenessProbe": PROBE},))
    (main,) = of.containers
    (stop,) = plan(of, {"main": live(main, failed_probe=ProbeKind.LIVENESS)}, NOW).stop
    assert (stop.message, stop.grace) == ("Container main failed liveness probe, will be restarted", 7)
    (stop,) = plan(of, {"main": live(main, hash="old")}, NOW).stop
    assert (stop.message, stop.forced) == ("Container main definition changed, will be restarted", True)


PROBE = {"exec": {"command": ["x"]}, "terminationGracePeriodSeconds": 7}


@pytest.mark.parametrize(
    ("policy", "container", "code", "expected"),
    [
        ("Always", {}, 0, True),
        ("OnFailure", {}, 0, False),
        ("OnFailure", {}, 1, True),
        ("Never", {}, 1, False),
        ("Never", {}, None, True),
        ("Never", {"restartPolicy": "OnFailure"}, 1, True),
        ("Always", {"restartPolicy": "Never"}, 1, False),
        ("Never", {"restartPolicy": "Never", "restartPolicyRules": [
            {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}, 42, True),
        ("Never", {"restartPolicy": "Never", "restartPolicyRules": [
            {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}]}, 41, False),
        ("Never", {"restartPolicy": "Never", "restartPolicyRules": [
            {"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [42]}}]}, 41, True),
    ],
)  # fmt: skip
def test_who_starts_again(policy: str, container: dict[str, Any], code: int | None, expected: bool) -> None:
    of = pod(policy=policy, containers=({"name": "main", **container},))
    assert may_restart(of, of.containers[0], code) is expected


def test_a_pod_being_deleted_restarts_nothing() -> None:
    tree = dict(pod().tree)
    tree["metadata"] = {**tree["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
    from homeport.node.pod import parse_pod

    of = parse_pod(tree)
    assert not may_restart(of, of.containers[0], 1)


def test_backoff_doubles_to_its_cap_and_is_forgotten_after_ten_quiet_minutes() -> None:
    backoff, now, gaps = Backoff(), 0.0, []
    for _ in range(8):
        gaps.append(backoff.remaining(now, now))
        now += gaps[-1]
        backoff = backoff.next(now, now)
    assert gaps == [0, 10, 20, 40, 80, 160, 300, 300]
    assert backoff.remaining(now + 601, now + 601) == 0.0
    assert backoff.next(now + 601, now + 601).delay == 10.0
    assert Backoff(40.0, 0.0).remaining(1000.0, 0.0) <= 40.0  # the clock was set back


@st.composite
def histories(draw: st.DrawFn) -> tuple[Pod, list[tuple[str, int]]]:
    init = draw(st.lists(st.sampled_from(["ordinary", "sidecar"]), max_size=3))
    of = pod(
        policy=draw(st.sampled_from(["Always", "OnFailure", "Never"])),
        init=[
            {"name": f"i{at}", **({"restartPolicy": "Always"} if kind == "sidecar" else {})}
            for at, kind in enumerate(init)
        ],
        containers=tuple(f"c{at}" for at in range(draw(st.integers(1, 3)))),
    )
    names = [container.name for container in of.all()]
    return of, draw(st.lists(st.tuples(st.sampled_from(names), st.integers(0, 2)), max_size=30))


@given(histories())
def test_any_history_keeps_the_order_and_comes_to_rest(history: tuple[Pod, list[tuple[str, int]]]) -> None:
    of, exits = history
    states: dict[str, ContainerState] = {}
    now = NOW

    def perform() -> bool:
        step = plan(of, states, now)
        assert len(step.start) <= 1
        for name in step.start:
            container = of.find(name)
            assert container is not None
            if container.kind is Kind.REGULAR and not any(states.get(c.name) for c in of.containers):
                for before in of.init:
                    state = states[before.name]
                    done = state.running is not None if before.kind is Kind.SIDECAR else state.ended is not None
                    assert done
            states[name] = live(container)
        return bool(step.start)

    for name, code in exits:
        while perform():
            pass
        now += 1000
        state = states.get(name)
        if state is not None and state.running is not None:
            states[name] = over(code, now)
    for container in of.init:  # let initialisation come to its end
        while perform():
            pass
        state = states.get(container.name)
        if container.kind is Kind.INIT and state is not None and state.running is not None:
            states[container.name] = over(0, now)
    while perform():
        pass
    assert plan(of, states, now).start == ()
