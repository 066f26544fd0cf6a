"""A control plane that is restarted: the test named after upstream's."""

from tests.conformance.programs import RUN, container
from tests.conformance.simulated import SimulatedWorld
from tests.conformance.steps import eventually, settle


def test_controller_manager_should_not_create_delete_replicas_across_restart(simulated: SimulatedWorld) -> None:
    """DaemonRestart Controller Manager should not create/delete replicas across restart"""
    labels = {"name": "daemonrestart10"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container(RUN)]}}
    spec = {"replicas": 10, "selector": labels, "template": template}
    simulated.create({"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "r"}, "spec": spec})
    eventually(simulated, lambda: simulated.status("rc/r").get("readyReplicas") == 10)
    names = simulated.pod_names("name=daemonrestart10")
    with simulated.watching("pod", "name=daemonrestart10") as log:
        for _ in range(3):
            simulated.cluster.restart_controllers()
            settle(simulated)
        simulated.cluster.restart_controllers()  # and once more, with something to do
        simulated.scale("rc/r", 11)
        settle(simulated)
        assert (len(log.names("ADDED")), log.names("DELETED")) == (1, [])
    assert sorted({*names, *log.names("ADDED")}) == simulated.pod_names("name=daemonrestart10")
