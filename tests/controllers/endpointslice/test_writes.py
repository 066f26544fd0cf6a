"""How often slices are written: never more than upstream, whose controller writes once for each change of a pod that
shows in an endpoint, and less when several come together. Source: services-dns 11."""

from collections.abc import Mapping
from typing import Any

import pytest

from homeport.api.resources import find
from homeport.testing.cluster import SimulatedCluster

PODS = find("Pod")
SLICES = find("EndpointSlice", "discovery.k8s.io")
LABELS = {"app": "web"}
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "web"},
    "spec": {"selector": LABELS, "ports": [{"port": 80}]},
}


class Counting:
    """Counts the writes of slices, and the changes of pods that show in an endpoint, as a watcher sees them."""

    def __init__(self, homeport: SimulatedCluster) -> None:
        self.slices = self.facts = 0
        self._seen: dict[str, Any] = {}
        informers = homeport.simulation.watching()
        informers.informer(SLICES).on_change(self._slice)
        informers.informer(PODS).add_handler(
            add=self._pod, update=lambda _, pod: self._pod(pod), delete=lambda pod: self._fact(pod, None)
        )
        homeport.act(lambda: homeport.simulation.start(informers.run(), "counting"))

    def _slice(self, obj: Mapping[str, Any]) -> None:
        self.slices += obj["metadata"]["name"].startswith("web-")

    def _pod(self, pod: Mapping[str, Any]) -> None:
        self._fact(pod, shown(pod))

    def _fact(self, pod: Mapping[str, Any], fact: object) -> None:
        name = pod["metadata"]["name"]
        self.facts += fact != self._seen.get(name)
        self._seen[name] = fact


def shown(pod: Mapping[str, Any]) -> tuple[Any, ...] | None:
    """Return what an endpoint tells of a pod, None when there is none."""
    status = pod.get("status") or {}
    if not status.get("podIP") or status.get("phase") in ("Succeeded", "Failed"):
        return None
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions", ()))
    return status["podIP"], ready, "deletionTimestamp" in pod["metadata"]


def workload(kind: str, replicas: int) -> dict[str, Any]:
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [{"name": "main", "image": "web:1"}]}}
    spec: dict[str, Any] = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template}
    if kind == "StatefulSet":
        spec |= {"serviceName": "web", "podManagementPolicy": "Parallel"}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec}


@pytest.mark.parametrize(("kind", "replicas", "most"), [("Deployment", 300, 0.2), ("StatefulSet", 50, 1.0)])
def test_a_rollout_writes_no_slice_without_need(
    kind: str, replicas: int, most: float, homeport: SimulatedCluster
) -> None:
    counting = Counting(homeport)
    homeport.apply(SERVICE)
    homeport.apply(workload(kind, replicas))
    homeport.wait(f"{kind}/web", ready=replicas)
    homeport.settle()
    assert counting.facts >= replicas
    assert counting.slices <= counting.facts
    counting.slices = counting.facts = 0
    homeport.patch(f"{kind}/web", image="web:2")
    homeport.settle(limit=36_000)
    assert {pod.image for pod in homeport.pods} == {"web:2"}
    assert counting.facts >= 3 * replicas
    assert counting.slices <= most * counting.facts  # pods of a Deployment come and go together
    kept = homeport.list("endpointslices", selector="kubernetes.io/service-name=web")
    assert sum(len(one["endpoints"]) for one in kept) == replicas
    counting.slices = 0
    homeport.advance(minutes=10)
    assert counting.slices == 0  # nothing is written again at rest
