"""The controllers of a cluster, written out in one place, to be run side by side in one task group."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from homeport.client.contract import Client
from homeport.client.informer import InformerFactory
from homeport.clock import Clock
from homeport.controllers.cronjob import CronJobController
from homeport.controllers.daemonset import DaemonSetController
from homeport.controllers.deployment import DeploymentController
from homeport.controllers.disruption import DisruptionController, StaleDisruptions
from homeport.controllers.endpoints import EndpointsController
from homeport.controllers.endpointslice import EndpointSliceController
from homeport.controllers.garbagecollector import GarbageCollector
from homeport.controllers.horizontalpodautoscaler import HorizontalPodAutoscalerController
from homeport.controllers.job import FinishedJobs, JobController
from homeport.controllers.loadbalancer import LoadBalancerController
from homeport.controllers.loadbalancer.assign import Pool
from homeport.controllers.mirroring import EndpointSliceMirroring
from homeport.controllers.namespace import NamespaceController
from homeport.controllers.nodes import NodeLifecycle, PodCollector, TaintEviction
from homeport.controllers.replicaset import REPLICATION_CONTROLLERS, ReplicaSetController
from homeport.controllers.resourcequota import ResourceQuotaController
from homeport.controllers.serviceaccount import NamespaceFurnisher
from homeport.controllers.servicecidr import ServiceCidrController
from homeport.controllers.statefulset import StatefulSetController
from homeport.controllers.volumes import (
    ClaimProtection,
    EphemeralVolumes,
    LocalProvisioner,
    VolumeBinder,
    VolumeProtection,
)
from homeport.controllers.volumes.binder import RETELL_SECONDS
from homeport.controllers.volumes.directories import Directories

__all__ = ["Controller", "Settings", "controllers"]


class Controller(Protocol):
    """What runs until it is cancelled."""

    async def run(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Settings:
    """What controllers must be told.

    ca_bundle    PEM text of the certificates that signed the API server's, for `kube-root-ca.crt`
    directories  where local volumes live; None runs no provisioner
    claim_retell_seconds  how often an unbound claim is told again why
    feature_gates  names of `homeport.api.gates.GATES` that are open
    balancer_pools  where LoadBalancer Services get their addresses; without, they wait for somebody else's provider
    watch_nodes  whether a node that falls silent is taken for lost; simulated nodes never speak
    """

    ca_bundle: str
    directories: Directories | None = None
    watch_nodes: bool = True
    feature_gates: frozenset[str] = frozenset()
    claim_retell_seconds: float = RETELL_SECONDS
    balancer_pools: Sequence[Pool] = ()


def controllers(
    client_for: Callable[[str], Client], clock: Clock, informers: InformerFactory, settings: Settings
) -> Sequence[Controller]:
    """Return every controller, ready to run.

    client_for  a client by component name, which becomes the user agent and so the field manager
    informers   shared by all of them; whoever owns the factory runs it
    """

    def client(component: str) -> Client:
        return client_for(component)

    running: list[Controller] = [
        StatefulSetController(client("statefulset-controller"), clock, informers, settings.feature_gates),
        ReplicaSetController(client("replicaset-controller"), clock, informers),
        ReplicaSetController(client("replication-controller"), clock, informers, REPLICATION_CONTROLLERS),
        DaemonSetController(client("daemonset-controller"), clock, informers),
        CronJobController(client("cronjob-controller"), clock, informers),
        JobController(client("job-controller"), clock, informers),
        FinishedJobs(client("ttl-after-finished-controller"), clock, informers),
        DisruptionController(client("disruption-controller"), clock, informers),
        StaleDisruptions(client("disruption-controller"), clock, informers),
        DeploymentController(client("deployment-controller"), clock, informers),
        EndpointSliceController(client("endpointslice-controller"), clock, informers),
        EndpointsController(client("endpoint-controller"), clock, informers),
        EndpointSliceMirroring(client("endpointslicemirroring-controller"), clock, informers),
        GarbageCollector(client("generic-garbage-collector"), clock, informers),
        NamespaceController(client("namespace-controller"), clock, informers),
        NamespaceFurnisher(client("service-account-controller"), informers, settings.ca_bundle),
        ServiceCidrController(client("service-cidr-controller"), clock, informers),
        VolumeBinder(
            client("persistent-volume-binder"), clock, informers, retell_seconds=settings.claim_retell_seconds
        ),
        EphemeralVolumes(client("ephemeral-volume-controller"), clock, informers),
        ClaimProtection(client("pvc-protection-controller"), informers),
        VolumeProtection(client("pv-protection-controller"), informers),
        HorizontalPodAutoscalerController(client("horizontal-pod-autoscaler"), clock, informers),
        ResourceQuotaController(client("resourcequota-controller"), clock, informers),
        PodCollector(client("pod-garbage-collector"), clock, informers),
        TaintEviction(client("taint-eviction-controller"), clock, informers),
    ]
    if settings.balancer_pools:
        running.append(LoadBalancerController(client("service-controller"), clock, informers, settings.balancer_pools))
    if settings.watch_nodes:
        running.append(NodeLifecycle(client("node-controller"), clock, informers))
    if settings.directories is not None:
        provisioner = client("local-provisioner")
        running.append(LocalProvisioner(provisioner, clock, informers, settings.directories))
    return running
