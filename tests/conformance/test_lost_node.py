"""A node that says nothing any more: whoever may be replaced is replaced, whoever has a name keeps it."""

import pytest

from homeport.testing.cluster import SimulatedCluster
from tests.conformance.workloads import deployment, headless, statefulset

IMAGE = "example.org/web:1"


@pytest.mark.homeport(nodes=2)
def test_a_deployment_replaces_the_pod_and_a_statefulset_waits(homeport: SimulatedCluster) -> None:
    homeport.apply(headless())
    homeport.apply(statefulset("ss", IMAGE, 2))
    homeport.apply(deployment("fleet", IMAGE, 2, labels={"name": "fleet"}))
    homeport.wait("sts/ss", ready=2)
    homeport.wait("deploy/fleet", ready=2)
    lost = homeport.pods["ss-0"].node
    there = {name: homeport.pods[name].uid for name in ("ss-0", "ss-1") if homeport.pods[name].node == lost}
    fleet = {pod.name for pod in homeport.pods if pod.name.startswith("fleet")}
    on_lost = {name for name in fleet if homeport.pods[name].node == lost}
    assert on_lost, "the scheduler spreads the Deployment over both nodes"

    homeport.nodes[lost].lose()
    homeport.advance(seconds=90)
    assert not homeport.nodes[lost].ready
    assert not any(homeport.pods[name].ready for name in (*there, *on_lost))
    assert all("deletionTimestamp" not in homeport.pods[name].object["metadata"] for name in (*there, *on_lost))

    homeport.advance(minutes=30)
    homeport.wait("deploy/fleet", ready=2)
    running = {pod.name for pod in homeport.pods if pod.name.startswith("fleet") and pod.ready}
    assert len(running) == 2
    assert running.isdisjoint(on_lost)
    for name, uid in there.items():
        pod = homeport.pods[name]
        assert (pod.uid, pod.ready) == (uid, False)
        assert "deletionTimestamp" in pod.object["metadata"]

    homeport.nodes[lost].start()
    homeport.wait("sts/ss", ready=2)
    assert all(homeport.pods[name].uid != uid for name, uid in there.items())
    homeport.settle()
    assert {pod.name for pod in homeport.pods if pod.name.startswith("fleet")} == running
