"""How many pods a StatefulSet has, in which order they come and go, and where their numbers begin."""

from typing import Any

from tests.conformance.statefulset.sets import break_probes, mend_probes, pause_new_pods, resume
from tests.conformance.workloads import SELECTOR, bare_pod, headless, saturated, statefulset
from tests.conformance.world import World, also_on_real_pods


@also_on_real_pods
def test_scaling_should_happen_in_predictable_order_and_halt_if_any_stateful_pod_is_unhealthy(world: World) -> None:
    """
    StatefulSet Basic StatefulSet functionality [StatefulSetBasic] Scaling should happen in predictable order and halt
    if any stateful pod is unhealthy
    """
    world.create(headless())
    with world.watching("pods", SELECTOR) as log:
        world.create(statefulset("ss", world.images[0], 1, probe=True))
        saturated(world, "sts/ss", 1)
        break_probes(world, ["ss-0"])
        world.scale("sts/ss", 3)
        world.stays(lambda: world.pod_names(SELECTOR) == ["ss-0"], "no pod above an unhealthy one", 120)
        mend_probes(world, ["ss-0"])
        saturated(world, "sts/ss", 3)
        assert log.names("ADDED") == ["ss-0", "ss-1", "ss-2"]

    with world.watching("pods", SELECTOR) as log:
        names = ["ss-0", "ss-1", "ss-2"]
        break_probes(world, names)
        world.scale("sts/ss", 0)
        world.stays(lambda: world.pod_names(SELECTOR) == names, "no unhealthy pod is removed", 120)
        mend_probes(world, names)
        world.until(lambda: not world.pods(SELECTOR), "the set is scaled to nothing")
        world.until(lambda: len(log.names("DELETED")) == 3, "the watch tells of every deletion")
        assert log.names("DELETED") == ["ss-2", "ss-1", "ss-0"]
        assert log.names("ADDED") == []
    world.until(lambda: world.status("sts/ss")["replicas"] == 0, "the status counts none")


def test_burst_scaling_should_run_to_completion_even_with_unhealthy_pods(world: World) -> None:
    """
    StatefulSet Basic StatefulSet functionality [StatefulSetBasic] Burst scaling should run to completion even with
    unhealthy pods
    """
    names = ["ss-0", "ss-1", "ss-2"]
    world.create(headless())
    world.create(statefulset("ss", world.images[0], 1, probe=True, podManagementPolicy="Parallel"))
    saturated(world, "sts/ss", 1)
    break_probes(world, ["ss-0"])
    world.scale("sts/ss", 3)
    world.until(lambda: world.pod_names(SELECTOR) == names, "pods come although the first is unhealthy", 10)
    world.stays(lambda: world.pod_names(SELECTOR) == names, "three pods")
    mend_probes(world, ["ss-0"])
    saturated(world, "sts/ss", 3)

    break_probes(world, names)
    world.scale("sts/ss", 0)
    world.until(lambda: not world.pods(SELECTOR), "pods go although they are unhealthy", 10)
    world.stays(lambda: not world.pods(SELECTOR), "no pods")
    world.until(lambda: world.status("sts/ss")["replicas"] == 0, "the status counts none")


@also_on_real_pods
def test_should_recreate_evicted_statefulset(world: World) -> None:
    """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] Should recreate evicted statefulset"""
    node = world.items("nodes")[0]["metadata"]["name"]
    port = {"hostPort": 21017, "containerPort": 21017, "name": "conflict"}
    world.create(headless())
    blocking = bare_pod("test-pod", world.images[0], {"name": "test-pod"}, nodeName=node)
    blocking["spec"]["containers"][0]["ports"] = [port]
    world.create(blocking)
    world.until(lambda: world.ready("test-pod"), "the pod that holds the port runs")

    tree = statefulset("ss", world.images[0], 1, pod={"nodeName": node})
    tree["spec"]["template"]["spec"]["containers"][0]["ports"].append(port)
    with world.watching("pods", fields="metadata.name=ss-0") as log:
        world.create(tree)
        world.until(lambda: log.names("DELETED"), "the refused pod is deleted")
    first = log.objects()[0]["metadata"]["uid"]
    phases = [pod["status"].get("phase") for pod in log.objects() if pod["metadata"]["uid"] == first]
    assert "Failed" in phases

    world.delete("pod/test-pod", grace=0)

    def replaced() -> bool:
        pod = world.get("pod/ss-0")
        return bool(pod["status"].get("phase") == "Running" and pod["metadata"]["uid"] != first)

    world.until(replaced, "a new pod of the same name runs")


def test_should_not_deadlock_when_a_pod_s_predecessor_fails(world: World) -> None:
    """
    StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should not deadlock when a pod's predecessor fails
    """
    tree = statefulset("ss", world.images[0], 2, claims=True)
    world.create(headless())
    pause_new_pods(world, tree, ["ss-0", "ss-1"])
    world.create(tree)
    world.until(lambda: world.find("pod/ss-0"), "the first pod comes")
    resume(world, "ss-0")
    world.until(lambda: world.get("pod/ss-1")["status"]["phase"] == "Running", "the second pod runs, not ready")

    first = world.get("pod/ss-0")["metadata"]["uid"]
    second = world.get("pod/ss-1")["metadata"]["uid"]
    world.delete("pod/ss-0")
    world.until(lambda: world.get("pod/ss-0")["metadata"]["uid"] != first, "the healthy pod is made anew")
    assert not world.ready("ss-1")
    resume(world, "ss-0")
    resume(world, "ss-1")
    saturated(world, "sts/ss", 2)
    assert world.get("pod/ss-1")["metadata"]["uid"] == second


def _starts(world: World, start: int | None) -> dict[str, Any]:
    """Create a set of two pods whose numbers begin somewhere; wait for them."""
    spec = {"ordinals": {"start": start}} if start is not None else {}
    world.create(headless())
    created: dict[str, Any] = world.create(statefulset("ss", world.images[0], 2, **spec))
    saturated(world, "sts/ss", 2)
    begin = start or 0
    assert world.pod_names(SELECTOR) == [f"ss-{begin}", f"ss-{begin + 1}"]
    return created


def _comes_to(world: World, *names: str) -> None:
    """Wait for exactly these pods, and for a status that counts them."""
    world.observed("sts/ss")
    world.until(lambda: world.pod_names(SELECTOR) == list(names), f"the pods are {names}")
    saturated(world, "sts/ss", len(names))
    assert world.pod_names(SELECTOR) == list(names)
    assert world.status("sts/ss")["replicas"] == len(names)


def test_setting_start_ordinal(world: World) -> None:
    """StatefulSet Scaling StatefulSetStartOrdinal Setting .start.ordinal"""
    _starts(world, None)
    with world.watching("pods", SELECTOR) as log:
        world.change("sts/ss", lambda tree: tree["spec"].update(ordinals={"start": 2}, replicas=3))
        _comes_to(world, "ss-2", "ss-3", "ss-4")
        assert log.names("ADDED") == ["ss-2", "ss-3", "ss-4"]
        world.until(lambda: log.names("DELETED") == ["ss-1", "ss-0"], "the pods below go, highest first")


def test_increasing_start_ordinal(world: World) -> None:
    """StatefulSet Scaling StatefulSetStartOrdinal Increasing .start.ordinal"""
    _starts(world, 2)
    world.change("sts/ss", lambda tree: tree["spec"].update(ordinals={"start": 4}))
    _comes_to(world, "ss-4", "ss-5")


def test_decreasing_start_ordinal(world: World) -> None:
    """StatefulSet Scaling StatefulSetStartOrdinal Decreasing .start.ordinal"""
    _starts(world, 3)
    kept = world.get("pod/ss-3")["metadata"]["uid"]
    world.change("sts/ss", lambda tree: tree["spec"].update(ordinals={"start": 2}))
    _comes_to(world, "ss-2", "ss-3")
    assert world.get("pod/ss-3")["metadata"]["uid"] == kept


def test_removing_start_ordinal(world: World) -> None:
    """StatefulSet Scaling StatefulSetStartOrdinal Removing .start.ordinal"""
    _starts(world, 3)
    world.change("sts/ss", lambda tree: tree["spec"].pop("ordinals"))
    _comes_to(world, "ss-0", "ss-1")
