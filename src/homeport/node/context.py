"""What the parts of one node share: settled once by `main`, handed to every pod's worker."""

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from homeport.client.contract import Client, Object
from homeport.clock import Clock
from homeport.node.checkpoint import Checkpoints
from homeport.node.environment import Facts
from homeport.node.events import Recorder
from homeport.node.handlers import Prober, probe_for_real
from homeport.node.network.contract import Network
from homeport.node.objects import ObjectCache
from homeport.node.pulling import ImagePuller
from homeport.node.reach import Reach
from homeport.node.runtime.contract import Runtime
from homeport.node.settings import NodeSettings
from homeport.node.volumes.ids import IdMaps, this_process
from homeport.node.volumes.mounts import Mounts

__all__ = ["Capacity", "NodeContext"]


@dataclass(frozen=True, slots=True)
class Capacity:
    """What the machine has, in the node object's own notation (`node` 14.6)."""

    capacity: Mapping[str, str]
    allocatable: Mapping[str, str]
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class NodeContext:
    """`services` returns every Service known now; `started_at` is when this agent began, epoch seconds.

    departed  returns once no new connection is led to a deleted pod (by uid) any more
    patience  seconds a report that a pod is merely being started may wait for a better one
    ids       the users and groups there are in the node's namespace
    """

    settings: NodeSettings
    client: Client
    clock: Clock
    rng: random.Random
    runtime: Runtime
    network: Network
    reach: Reach
    images: ImagePuller
    objects: ObjectCache
    recorder: Recorder
    mounts: Mounts
    capacity: Capacity
    checkpoints: Checkpoints
    services: Callable[[], Sequence[Object]]
    started_at: float
    departed: Callable[[str], Awaitable[None]]
    prober: Prober = probe_for_real
    patience: float = 0.0
    ids: IdMaps = field(default_factory=this_process)

    @property
    def host_ips(self) -> tuple[str, ...]:
        return self.network.gateways

    def facts(self, pod_ips: Sequence[str]) -> Facts:
        return Facts(self.host_ips, pod_ips, self.capacity.allocatable, self.services())
