"""Rolling updates that may take several pods at once, behind their gate (workloads 7.4)."""

from collections.abc import Iterator
from typing import Any

import pytest

from homeport.controllers.statefulset.codec import decode_set
from homeport.testing.cluster import SimulatedCluster
from tests.controllers.statefulset.sets import pod, stateful_set
from tests.controllers.statefulset.test_reconcile import plan

GATE = "MaxUnavailableStatefulSet"
OLD, NEW = {"revision": "a"}, {"revision": "b"}
UNREADY = {"ready": False}


def rolled(pods: list[Any], **fields: Any) -> str:
    made = plan(stateful_set(replicas=len(pods), ordered=False, **fields), pods, update="b")
    return " ".join(each.pod.name for each in made.rolling)


@pytest.mark.parametrize(
    ("pods", "most", "expected"),
    [
        ([pod(n, **OLD) for n in range(4)], 1, "web-3"),
        ([pod(n, **OLD) for n in range(4)], 2, "web-3 web-2"),
        ([pod(n, **OLD) for n in range(4)], 9, "web-3 web-2 web-1 web-0"),
        ([pod(0, **OLD), pod(1, **OLD), pod(2, **OLD), pod(3, **NEW, **UNREADY)], 2, "web-2"),
        ([pod(0, **OLD, **UNREADY), pod(1, **OLD), pod(2, **OLD)], 2, "web-2"),
        ([pod(0, **OLD, **UNREADY), pod(1, **OLD, **UNREADY), pod(2, **OLD)], 2, ""),
        ([pod(0, **OLD), pod(1, **OLD), pod(2, **NEW)], 2, "web-1 web-0"),
        ([pod(0, **OLD), pod(1, **OLD), pod(2, **OLD, terminating=True)], 2, "web-1"),
    ],
)
def test_as_many_as_may_be_missing(pods: list[Any], most: int, expected: str) -> None:
    assert rolled(pods, max_unavailable=most) == expected


def test_the_partition_holds_and_what_is_missing_below_it_counts() -> None:
    pods = [pod(0, **OLD, **UNREADY), pod(1, **OLD), pod(2, **OLD), pod(3, **OLD)]
    assert rolled(pods, max_unavailable=3, partition=2) == "web-3 web-2"
    assert rolled(pods, max_unavailable=2, partition=2) == "web-3"


@pytest.mark.parametrize(
    ("amount", "replicas", "expected"), [(None, 5, 1), (3, 5, 3), ("40%", 5, 2), ("50%", 5, 2), ("10%", 5, 1)]
)
def test_amounts(amount: int | str | None, replicas: int, expected: int) -> None:
    rolling = {"partition": 0} | ({} if amount is None else {"maxUnavailable": amount})
    tree = {
        "metadata": {"namespace": "n", "name": "s", "uid": "u"},
        "spec": {"replicas": replicas, "template": {}, "updateStrategy": {"rollingUpdate": rolling}},
    }
    assert decode_set(tree, frozenset({GATE})).max_unavailable == expected
    assert decode_set(tree).max_unavailable is None


def manifest(image: str) -> dict[str, Any]:
    template = {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": image}]}}
    spec = {
        "serviceName": "x",
        "replicas": 4,
        "podManagementPolicy": "Parallel",
        "selector": {"matchLabels": {"app": "x"}},
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}},
        "template": template,
    }
    return {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "x"}, "spec": spec}


@pytest.fixture(params=[(), (f"{GATE}=true",)], ids=["closed", "open"])
def cluster(request: pytest.FixtureRequest) -> Iterator[SimulatedCluster]:
    made = SimulatedCluster(seed=6, gates=request.param)
    yield made
    made.close()


def test_two_at_a_time_with_the_gate_open_alone(cluster: SimulatedCluster) -> None:
    cluster.apply(manifest("web:1"))
    cluster.wait("statefulset/x", ready=4)
    rolling = cluster.get("statefulset/x")["spec"]["updateStrategy"]["rollingUpdate"]
    for name in ("x-2", "x-3"):
        cluster.pods[name].slow_start(30)
    cluster.patch("statefulset/x", image="web:2")
    cluster.advance(seconds=15)
    changed = [each.name for each in cluster.pods if each.image == "web:2"]
    if cluster.feature_gates:
        assert (rolling, changed) == ({"maxUnavailable": 2, "partition": 0}, ["x-2", "x-3"])
    else:
        assert (rolling, changed) == ({"partition": 0}, ["x-3"])
    cluster.wait("statefulset/x")
    assert {each.image for each in cluster.pods} == {"web:2"}


def test_gates_nobody_knows_are_refused() -> None:
    with pytest.raises(ValueError, match="feature gate 'Nonsense' is not known here"):
        SimulatedCluster(gates=("Nonsense=true",))
