"""PodStatus as a function of what is observed: phases, conditions, container statuses, patches."""

from typing import Any

import pytest

from homeport.clock import rfc3339
from homeport.node.lifecycle import ContainerState, Ended, Running, Waiting
from homeport.node.pod import Pod, parse_pod
from homeport.node.status import Observation, compute_phase, is_interim, is_starting, pod_status, status_patch

NOW = 1_767_225_600.0


def pod(*, policy: str = "Always", init: Any = (), containers: Any = ("main",), **spec: Any) -> Pod:
    def tree(item: Any) -> Any:
        return {"name": item, "image": "app:1"} if isinstance(item, str) else {"image": "app:1", **item}

    return parse_pod(
        {
            "metadata": {"name": "web", "namespace": "default", "uid": "u-1", "generation": 1},
            "spec": {
                "restartPolicy": policy,
                "initContainers": [tree(item) for item in init],
                "containers": [tree(item) for item in containers],
                **spec,
            },
        }
    )


SIDECAR = {"name": "proxy", "restartPolicy": "Always"}


def running(*, started: bool = True, ready: bool = True) -> ContainerState:
    return ContainerState(running=Running("c1", NOW, "h", hooked=True, started=started, ready=ready))


def ended(code: int, reason: str = "Error") -> ContainerState:
    return ContainerState(ended=Ended("c0", code, reason, NOW, NOW - 5))


WAITING = ContainerState()

PHASES: list[tuple[str, Pod, dict[str, ContainerState], bool, str]] = [
    ("nothing yet", pod(), {}, False, "Pending"),
    ("running", pod(), {"main": running()}, False, "Running"),
    ("one of two waits", pod(containers=("main", "b")), {"main": running()}, False, "Pending"),
    ("crashed, starts again", pod(), {"main": ended(1)}, False, "Running"),
    ("ended well, starts again", pod(), {"main": ended(0)}, False, "Running"),
    ("ended well, never again", pod(policy="Never"), {"main": ended(0)}, False, "Succeeded"),
    ("failed, never again", pod(policy="Never"), {"main": ended(1)}, False, "Failed"),
    ("on failure, well", pod(policy="OnFailure"), {"main": ended(0)}, False, "Succeeded"),
    ("on failure, failed", pod(policy="OnFailure"), {"main": ended(2)}, False, "Running"),
    (
        "one runs, one is over",
        pod(policy="Never", containers=("main", "b")),
        {"main": running(), "b": ended(1)},
        False,
        "Running",
    ),
    (
        "all over, one failed",
        pod(policy="Never", containers=("main", "b")),
        {"main": ended(0), "b": ended(1)},
        False,
        "Failed",
    ),
    ("init runs", pod(init=("setup",)), {"setup": running()}, False, "Pending"),
    ("init failed, tries again", pod(init=("setup",)), {"setup": ended(1)}, False, "Pending"),
    ("init failed for good", pod(policy="Never", init=("setup",)), {"setup": ended(1)}, False, "Failed"),
    ("init done, main waits", pod(init=("setup",)), {"setup": ended(0)}, False, "Pending"),
    ("init done, main runs", pod(init=("setup",)), {"setup": ended(0), "main": running()}, False, "Running"),
    ("sidecar starting", pod(init=(SIDECAR,)), {"proxy": running(started=False)}, False, "Pending"),
    ("sidecar and main run", pod(init=(SIDECAR,)), {"proxy": running(), "main": running()}, False, "Running"),
    ("sidecar crashed, main runs", pod(init=(SIDECAR,)), {"proxy": ended(1), "main": running()}, False, "Running"),
    ("lost with its sandbox", pod(), {"main": ContainerState(previous=ended(137).ended)}, False, "Running"),
    ("ended by us, well", pod(), {"main": ended(0)}, True, "Succeeded"),
    ("ended by us, killed", pod(), {"main": ended(137)}, True, "Failed"),
    (
        "ended by us, one crash-looping",
        pod(containers=("main", "b")),
        {"main": ended(0), "b": ended(3)},
        True,
        "Failed",
    ),
    ("ended by us before it began", pod(), {"main": WAITING}, True, "Failed"),
    ("ended by us while initialising", pod(init=("setup",)), {"setup": ended(143)}, True, "Failed"),
]


@pytest.mark.parametrize(("about", "of", "states", "terminated", "expected"), PHASES, ids=[case[0] for case in PHASES])
def test_phase(about: str, of: Pod, states: dict[str, ContainerState], terminated: bool, expected: str) -> None:
    assert compute_phase(of, Observation(containers=states, terminated=terminated)) == expected


def status_of(of: Pod, seen: Observation, previous: dict[str, Any] | None = None) -> dict[str, Any]:
    return pod_status(of, seen, previous or {}, NOW)


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    return {
        entry["type"]: (entry["status"], entry.get("reason", ""), entry.get("message", ""))
        for entry in status["conditions"]
    }


def test_conditions_in_their_order_and_words() -> None:
    status = status_of(pod(init=("setup",), containers=("b", "a")), Observation(sandbox_ready=True))
    assert [entry["type"] for entry in status["conditions"]] == [
        "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled",
    ]  # fmt: skip
    unready = ("False", "ContainersNotReady", "containers with unready status: [b a]")
    incomplete = ("False", "ContainersNotInitialized", "containers with incomplete status: [setup]")
    assert conditions(status) == {
        "PodReadyToStartContainers": ("True", "", ""),
        "Initialized": incomplete,
        "Ready": unready,
        "ContainersReady": unready,
        "PodScheduled": ("True", "", ""),
    }


def test_readiness_gates_must_be_true() -> None:
    gated = pod(readinessGates=[{"conditionType": "lb"}])
    seen = Observation(containers={"main": running()})
    missing = conditions(status_of(gated, seen))["Ready"]
    text = 'corresponding condition of pod readiness gate "lb" does not exist.'
    assert missing == ("False", "ReadinessGatesNotReady", text)
    foreign = {"type": "lb", "status": "False"}
    refused = status_of(gated, seen, {"conditions": [foreign]})
    assert conditions(refused)["Ready"][2] == 'the status of pod readiness gate "lb" is not "True", but False'
    assert foreign in refused["conditions"]
    assert conditions(status_of(gated, seen, {"conditions": [{"type": "lb", "status": "True"}]}))["Ready"][0] == "True"


@pytest.mark.parametrize(("code", "word"), [(0, "PodCompleted"), (1, "PodFailed")])
def test_the_end_of_a_pod_shows_in_its_conditions(code: int, word: str) -> None:
    status = status_of(pod(policy="Never"), Observation(containers={"main": ended(code)}, terminated=True))
    assert conditions(status)["Ready"][:2] == ("False", word)
    assert conditions(status)["ContainersReady"][:2] == ("False", word)


def test_a_terminal_phase_waits_for_the_last_container_and_then_stays() -> None:
    over = Observation(containers={"main": ended(0)})
    assert status_of(pod(policy="Never"), over, {"phase": "Running"})["phase"] == "Running"
    done = Observation(containers={"main": ended(0)}, terminated=True)
    assert status_of(pod(policy="Never"), done, {"phase": "Running"})["phase"] == "Succeeded"
    assert status_of(pod(), Observation(containers={"main": running()}), {"phase": "Failed"})["phase"] == "Failed"


def test_transition_times_move_with_the_status_alone() -> None:
    old = {"type": "Ready", "status": "False", "reason": "Other", "lastTransitionTime": "2025-01-01T00:00:00Z"}
    status = status_of(pod(), Observation(), {"conditions": [old]})
    assert (
        next(c for c in status["conditions"] if c["type"] == "Ready")["lastTransitionTime"]
        == (old["lastTransitionTime"])
    )
    turned = status_of(pod(), Observation(containers={"main": running()}), {"conditions": [old]})
    assert next(c for c in turned["conditions"] if c["type"] == "Ready")["lastTransitionTime"] == rfc3339(NOW)


def test_a_delayed_restart_shows_the_end_as_last_state() -> None:
    states = {"main": ended(3)}
    waiting = {"main": Waiting("CrashLoopBackOff", "back-off 10s …")}
    seen = Observation(containers=states, waiting=waiting, runtime_name="crun")
    entry = status_of(pod(), seen)["containerStatuses"][0]
    assert entry["state"] == {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s …"}}
    assert entry["lastState"]["terminated"]["exitCode"] == 3
    assert entry["lastState"]["terminated"]["containerID"] == "crun://c0"
    assert (entry["ready"], entry["started"]) == (False, False)


def test_container_statuses_are_sorted_and_name_their_mounts() -> None:
    mounts = [
        {"name": "data", "mountPath": "/data"},
        {"name": "cfg", "mountPath": "/cfg", "readOnly": True},
    ]
    of = pod(containers=({"name": "b", "volumeMounts": mounts}, "a"))
    status = status_of(of, Observation(containers={"b": running()}))
    assert [entry["name"] for entry in status["containerStatuses"]] == ["a", "b"]
    assert status["containerStatuses"][1]["volumeMounts"] == [
        {"name": "data", "mountPath": "/data"},
        {"name": "cfg", "mountPath": "/cfg", "readOnly": True, "recursiveReadOnly": "Disabled"},
    ]


def test_a_rejected_pod_has_no_containers() -> None:
    verdict = Waiting("OutOfcpu", "Pod was rejected: no room")
    status = status_of(pod(), Observation(verdict=verdict, rejected=True, terminated=True))
    assert (status["phase"], status["reason"]) == ("Failed", "OutOfcpu")
    assert "containerStatuses" not in status


def test_patches_hold_what_differs_and_nobody_elses_conditions() -> None:
    foreign = {"type": "lb", "status": "True"}
    before = status_of(pod(), Observation(), {"conditions": [foreign]})
    assert status_patch("u-1", before, before) is None
    after = status_of(pod(), Observation(containers={"main": running()}, pod_ips=("10.0.0.1",)), before)
    patch = status_patch("u-1", before, after)
    assert patch is not None
    assert patch["metadata"] == {"uid": "u-1"}
    assert set(patch["status"]) == {"phase", "podIP", "podIPs", "containerStatuses", "conditions"}
    assert {entry["type"] for entry in patch["status"]["conditions"]} == {"Ready", "ContainersReady"}
    assert all(entry["reason"] is None for entry in patch["status"]["conditions"])


def test_a_new_address_replaces_the_old_one() -> None:
    patch = status_patch("u-1", {"podIPs": [{"ip": "10.0.0.1"}]}, {"podIPs": [{"ip": "10.0.0.2"}], "conditions": []})
    assert patch is not None
    assert patch["status"]["podIPs"] == [{"ip": "10.0.0.2"}, {"$patch": "replace"}]


SCHEDULED: dict[str, Any] = {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "True"}]}


@pytest.mark.parametrize(
    ("state", "interim"),
    [
        (ContainerState(), True),
        (ContainerState(busy=True), True),
        (ContainerState(waiting=Waiting("ErrImagePull", "no such image")), False),
        (ContainerState(waiting=Waiting("CreateContainerConfigError", "no such key")), False),
        (running(started=False, ready=False), False),
        (running(), False),
        (ended(1), False),
        (ContainerState(previous=ended(1).ended), False),
    ],
)
def test_what_merely_says_that_a_pod_is_being_started_is_interim(state: ContainerState, interim: bool) -> None:
    for init, containers in (((), ("main",)), (("main",), ("other",))):
        of = pod(init=init, containers=containers)
        seen = Observation({"main": state}, sandbox_ready=True, pod_ips=("10.244.0.2",))
        assert is_interim(SCHEDULED)
        assert is_interim(status_of(of, seen, SCHEDULED)) is interim
        assert is_starting(of, seen) is interim


@pytest.mark.parametrize(
    "seen",
    [
        Observation(verdict=Waiting("OutOfcpu", "too much"), rejected=True),
        Observation(terminated=True),
        Observation(restarting_all=True),
        Observation(waiting={"main": Waiting("CrashLoopBackOff", "back-off")}),
        Observation(verdict=Waiting("DeadlineExceeded", "too long")),
    ],
)
def test_whether_a_pod_is_starting_is_known_without_its_status(seen: Observation) -> None:
    assert is_starting(pod(), seen) is is_interim(status_of(pod(), seen, SCHEDULED))


def test_what_takes_back_something_is_never_interim() -> None:
    assert not is_interim(status_of(pod(), Observation({"main": running()})))
