"""DaemonSet passes: a pod on every node that fits, and how a new template spreads."""

from dataclasses import replace

import pytest

from homeport.controllers.daemonset.model import DaemonSet, Node, Pod
from homeport.controllers.daemonset.placement import affinity_to, belongs, target_of
from homeport.controllers.daemonset.reconcile import reconcile

NOW = 1000.0
NODES = [Node(name, {"disk": "ssd"}) for name in ("n1", "n2", "n3")]
TEMPLATE = {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "main", "image": "a"}]}}


def daemon_set(**changes: object) -> DaemonSet:
    return replace(DaemonSet("default", "d", "uid", 1, TEMPLATE), **changes)


def pod(node: str, digest: str = "new", **changes: object) -> Pod:
    plain = Pod(
        f"d-{node}-{digest}", f"{node}-{digest}", node, True, digest, "",
        phase="Running", ready=True, available_after=0.0, created="2026-01-01T00:00:00Z",
    )  # fmt: skip
    return replace(plain, **changes)


def plan(desired: DaemonSet, pods: list[Pod], nodes: list[Node] = NODES, *, patient: bool = False):
    return reconcile(desired, nodes, pods, "new", lambda _: not patient, NOW)


BAD = {"ready": False, "available_after": None}
SURGE = {"max_surge": 1, "max_unavailable": 0}


@pytest.mark.parametrize(
    ("changes", "pods", "create", "delete"),
    [
        pytest.param({}, [], ["n1", "n2", "n3"], [], id="everywhere"),
        pytest.param({}, [pod("n1"), pod("n2")], ["n3"], [], id="where one is missing"),
        pytest.param({}, [pod("n1"), pod("n2"), pod("n3", terminating=True)], [], [], id="not beside one that goes"),
        pytest.param(
            {}, [pod("n1"), pod("n2", phase="Failed", **BAD), pod("n3")], [], ["d-n2-new"], id="a failed one goes"
        ),
        pytest.param({}, [pod("n1"), pod("n1", "x"), pod("n2"), pod("n3")], [], ["d-n1-x"], id="one is enough"),
        pytest.param({}, [*map(pod, ("n1", "n2", "n3")), pod("n9", bound=False)], [], ["d-n9-new"], id="lost its node"),
        pytest.param({}, [pod("n1", "old"), pod("n2", "old"), pod("n3", "old")], [], ["d-n1-old"], id="one by one"),
        pytest.param({}, [pod("n1", **BAD), pod("n2", "old"), pod("n3", "old")], [], [], id="the next when ready"),
        pytest.param(
            {}, [pod("n1", **BAD), pod("n2", "old", **BAD), pod("n3", "old")], [], ["d-n2-old"], id="broken at once"
        ),
        pytest.param(
            {"max_unavailable": "50%"},
            [pod("n1", "old"), pod("n2", "old"), pod("n3", "old")],
            [],
            ["d-n1-old", "d-n2-old"],
            id="percentages round up",
        ),
        pytest.param({"on_delete": True}, [pod("n1", "old"), pod("n2"), pod("n3")], [], [], id="OnDelete"),
        pytest.param(SURGE, [pod("n1", "old"), pod("n2", "old"), pod("n3", "old")], ["n1"], [], id="surge"),
        pytest.param(
            SURGE, [pod("n1", "old"), pod("n1", **BAD), pod("n2", "old"), pod("n3", "old")], [], [], id="surging"
        ),
        pytest.param(
            SURGE, [pod("n1", "old"), pod("n1"), pod("n2", "old"), pod("n3", "old")], [], ["d-n1-old"], id="surged"
        ),
        pytest.param(
            {}, [pod("n1", "old", **BAD), pod("n2", "old"), pod("n3", "old")], [], ["d-n1-old"], id="broken count"
        ),
        pytest.param(
            {"max_unavailable": 2},
            [pod("n1", "old", **BAD), pod("n2", "old"), pod("n3", "old")],
            [],
            ["d-n1-old", "d-n2-old"],
            id="broken and one more",
        ),
        pytest.param(
            {},
            [pod("n1"), pod("n2"), pod("n3", phase="Failed", terminating=True)],
            ["n3"],
            [],
            id="held by a finalizer",
        ),
        pytest.param({}, [*map(pod, ("n1", "n2", "n3")), pod("", bound=False)], [], [], id="meant for no node"),
        pytest.param(SURGE, [pod("n1"), pod("n2"), pod("n3", terminating=True)], ["n3"], [], id="surge beside the end"),
        pytest.param(SURGE, [pod("n1", "old", **BAD), pod("n2"), pod("n3")], ["n1"], [], id="surge for a broken one"),
        pytest.param(
            SURGE,
            [pod("n1", "old", **BAD), pod("n1", **BAD), pod("n2"), pod("n3")],
            [],
            ["d-n1-old"],
            id="a broken one makes way",
        ),
    ],
)
def test_passes(changes, pods, create, delete):
    made = plan(daemon_set(**changes), pods)
    assert list(made.create) == create
    assert [each.name for each in made.delete] == delete


TAINTED = Node("n3", {"disk": "ssd"}, ({"key": "x", "effect": "NoSchedule"},))


@pytest.mark.parametrize(
    ("pods", "delete"),
    [
        ([pod("n1"), pod("n2"), pod("n3", "old")], ["d-n3-old"]),
        ([pod("n1"), pod("n2", **BAD), pod("n3", "old")], []),
        ([pod("n1"), pod("n2", **BAD), pod("n3", "old", **BAD)], ["d-n3-old"]),
        ([pod("n1"), pod("n2"), pod("n3")], []),
    ],
)
def test_a_surging_set_leaves_a_node_when_it_is_available_elsewhere(pods, delete):
    made = plan(daemon_set(**SURGE), pods, [*NODES[:2], TAINTED])
    assert (made.create, [each.name for each in made.delete]) == ((), delete)


def test_a_failing_pod_is_not_replaced_over_and_over():
    pods = [pod("n1", phase="Failed", **BAD), pod("n2"), pod("n3")]
    assert plan(daemon_set(), pods, patient=True).delete == ()


SPEC = TEMPLATE["spec"]


@pytest.mark.parametrize(
    ("spec", "node", "expected"),
    [
        (SPEC, NODES[0], (True, True)),
        ({**SPEC, "nodeName": "n2"}, NODES[0], (False, False)),
        ({**SPEC, "nodeSelector": {"disk": "hdd"}}, NODES[0], (False, False)),
        (SPEC, Node("n1", {}, ({"key": "x", "effect": "NoSchedule"},)), (False, True)),
        (SPEC, Node("n1", {}, ({"key": "x", "effect": "NoExecute"},)), (False, False)),
        (SPEC, Node("n1", {}, ({"key": "x", "effect": "PreferNoSchedule"},)), (True, True)),
        (SPEC, Node("n1", {}, ({"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"},)), (True, True)),
        (SPEC, Node("n1", {}, ({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"},)), (True, True)),
        (
            {**SPEC, "tolerations": [{"key": "x", "value": "y"}]},
            Node("n1", {}, ({"key": "x", "value": "y", "effect": "NoSchedule"},)),
            (True, True),
        ),
    ],
)
def test_where_a_pod_belongs_and_may_stay(spec, node, expected):
    assert belongs(spec, node) == expected


def test_a_pod_knows_its_node_before_it_is_there():
    affinity = affinity_to({"podAffinity": {"x": 1}}, "n2")
    assert target_of({"affinity": affinity}) == "n2"
    assert affinity["podAffinity"] == {"x": 1}
    assert target_of({"nodeName": "n1", "affinity": affinity}) == "n1"


def test_status_counts_the_oldest_pod_of_each_node():
    tainted = Node("n3", {}, ({"key": "x", "effect": "NoSchedule"},))
    pods = [pod("n1"), pod("n2", "old", **BAD), pod("n3")]
    status = plan(daemon_set(), pods, [*NODES[:2], tainted]).status
    assert (status.desired, status.current, status.misscheduled) == (2, 2, 1)
    assert (status.ready, status.available, status.unavailable, status.updated) == (1, 1, 1, 1)
