"""The shell: the cache follows the informers, the queue holds pods without a node, decisions become writes.

Decisions are made one after the other, writes go out beside each other. Nothing is polled: a pod without a place is
tried again when a node, a pod, a claim or a volume changes in a way that may matter.
"""

import asyncio
import logging
import random
from collections.abc import Mapping
from typing import Any

from homeport.api import pods as pod_rules
from homeport.api.owners import controller_of
from homeport.api.resources import find
from homeport.client.contract import Client, Object, PatchType
from homeport.client.events import EventRecorder
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.service_index import index_by_selector, services_of
from homeport.clock import Clock, rfc3339
from homeport.errors import ApiError, Conflict, NotFound
from homeport.scheduler.cache import ClusterCache
from homeport.scheduler.claims import (
    BIND_COMPLETED,
    SELECTED_NODE,
    Binding,
    ClaimView,
    VolumeIndex,
    decode_claim,
    decode_storage_class,
    decode_volume,
)
from homeport.scheduler.codec import decode_node, decode_pod, same_facts
from homeport.scheduler.decide import Placement, Unschedulable, decide
from homeport.scheduler.model import Pod
from homeport.scheduler.preemption import Eviction
from homeport.scheduler.queue import PodQueue
from homeport.scheduler.spreading import with_default_spread

__all__ = ["Scheduler"]

PODS = find("Pod")
NODES = find("Node")
NAMESPACES = find("Namespace")
CLAIMS = find("PersistentVolumeClaim")
VOLUMES = find("PersistentVolume")
SERVICES = find("Service")
CLASSES = find("StorageClass", "storage.k8s.io")
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
SPREAD_OWNERS = ("ReplicaSet", "StatefulSet")
VOLUME_BINDING_SECONDS = 600.0

_log = logging.getLogger(__name__)


class Scheduler:
    """Gives every pod that names this scheduler a node."""

    component = "default-scheduler"

    def __init__(self, client: Client, clock: Clock, informers: InformerFactory, rng: random.Random) -> None:
        self._client, self._clock, self._rng = client, clock, rng
        self._events = EventRecorder(client, clock, self.component)
        self._queue = PodQueue()
        self._cache = ClusterCache()
        self._writing: dict[Key, asyncio.Task[None]] = {}  # pods whose writes are under way
        self._again: set[Key] = set()  # of those, the ones to look at once more afterwards
        self._claim_waiters: dict[Key, dict[asyncio.Event, None]] = {}  # who waits for a claim to change
        self._pods = informers.informer(PODS)
        self._nodes = informers.informer(NODES)
        self._namespaces = informers.informer(NAMESPACES)
        self._claims = informers.informer(CLAIMS)
        self._volumes = informers.informer(VOLUMES)
        self._classes = informers.informer(CLASSES)
        self._services = informers.informer(SERVICES)
        index_by_selector(self._services)
        self._owners = {("apps", kind): informers.informer(find(kind, "apps")) for kind in SPREAD_OWNERS}
        self._pods.add_handler(add=self._pod_seen, update=self._pod_changed, delete=self._pod_gone)
        self._nodes.add_handler(add=self._node_seen, update=self._node_changed, delete=self._node_gone)
        self._namespaces.on_change(self._namespace_seen)
        self._volume_index = VolumeIndex()
        self._volumes.add_handler(
            add=self._volume_seen, update=lambda _, new: self._volume_seen(new), delete=self._volume_gone
        )
        self._claims.on_change(self._claim_changed)
        for informer in (self._claims, self._volumes, self._classes):
            informer.on_change(self._storage_changed)

    async def run(self) -> None:
        """Place pods; ends by cancellation only."""
        async with asyncio.TaskGroup() as group:
            self._events.begin(group)
            for informer in (
                self._pods,
                self._nodes,
                self._namespaces,
                self._claims,
                self._volumes,
                self._classes,
                self._services,
                *self._owners.values(),
            ):
                await informer.synced.wait()
            while True:
                key = await self._queue.get()
                self._schedule(key, group)

    def _schedule(self, key: Key, group: asyncio.TaskGroup) -> None:
        """Decide about one pod, and start the writes that follow."""
        raw = self._pods.get(*key)
        if raw is None or not self._is_ours(raw):
            return
        if key in self._writing:
            self._again.add(key)
            return
        pod = self._spread_by_default(raw, decode_pod(raw))
        outcome = decide(pod, self._cache.snapshot(), self._claim_view(pod), self._rng)
        match outcome:
            case Placement(node, bindings):
                self._cache.assume(pod, node)
                writes = self._bind(key, raw, pod, node, bindings)
            case Unschedulable(message, eviction):
                self._queue.rest(key, pod.priority)
                writes = self._refuse(key, raw, pod, message, eviction)
        self._writing[key] = group.create_task(writes, name=f"schedule-{key[0]}/{key[1]}")

    async def _bind(self, key: Key, raw: Object, pod: Pod, node: str, bindings: tuple[Binding, ...]) -> None:
        try:
            if bindings:
                async with asyncio.timeout(VOLUME_BINDING_SECONDS):
                    await self._bind_volumes(bindings, node)
            binding = {
                "apiVersion": "v1",
                "kind": "Binding",
                "metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
                "target": {"apiVersion": "v1", "kind": "Node", "name": node},
            }
            await self._client.create(PODS, binding, pod.namespace, subresource="binding", name=pod.name)
        except (ApiError, OSError, VolumeLost) as error:
            if self._cache.drop_pod(pod.uid):
                self._queue.wake_all()
            if not isinstance(error, NotFound):
                _log.info("binding %s/%s to %s failed: %s", pod.namespace, pod.name, node, error)
                self._events.warning(raw, "FailedScheduling", f"binding rejected: {error}")
                self._queue.retry(key, pod.priority)
        else:
            self._queue.forget(key)
            self._events.normal(raw, "Scheduled", f"Successfully assigned {pod.namespace}/{pod.name} to {node}")
        finally:
            self._written(key)

    async def _bind_volumes(self, bindings: tuple[Binding, ...], node: str) -> None:
        """Reserve volumes or ask for them, and return when every claim is bound."""
        for binding in bindings:
            claim, volume = binding.claim, binding.volume
            if volume is None:
                if claim.selected_node != node:
                    patch = {"metadata": {"annotations": {SELECTED_NODE: node}, "uid": claim.uid}}
                    await self._client.patch(CLAIMS, claim.namespace, claim.name, patch)
            elif volume.claim is None or not volume.claim[2]:
                annotations = {BOUND_BY_CONTROLLER: "yes"} if volume.claim is None else {}
                ref = {
                    "kind": "PersistentVolumeClaim",
                    "apiVersion": "v1",
                    "namespace": claim.namespace,
                    "name": claim.name,
                    "uid": claim.uid,
                }
                reserve = {
                    "metadata": {"annotations": annotations, "resourceVersion": volume.version},
                    "spec": {"claimRef": ref},
                }
                await self._client.patch(VOLUMES, None, volume.name, reserve)
        seen_selected: set[str] = set()
        changed, keys = asyncio.Event(), [(binding.claim.namespace, binding.claim.name) for binding in bindings]
        for key in keys:
            self._claim_waiters.setdefault(key, {})[changed] = None
        try:
            while not all(self._is_bound(binding, node, seen_selected) for binding in bindings):
                changed.clear()
                await changed.wait()
        finally:
            for key in keys:
                waiters = self._claim_waiters.get(key, {})
                waiters.pop(changed, None)
                if not waiters:
                    self._claim_waiters.pop(key, None)

    def _is_bound(self, binding: Binding, node: str, seen_selected: set[str]) -> bool:
        """Whether the claim is bound. Raises VolumeLost when it never will be this way."""
        claim = binding.claim
        raw = self._claims.get(claim.namespace, claim.name)
        if raw is None or raw["metadata"]["uid"] != claim.uid:
            raise VolumeLost(f'persistentvolumeclaim "{claim.name}" is gone')
        annotations = raw["metadata"].get("annotations") or {}
        if BIND_COMPLETED in annotations:
            return True
        if binding.volume is None:
            if annotations.get(SELECTED_NODE) == node:
                seen_selected.add(claim.uid)
            elif claim.uid in seen_selected:
                raise VolumeLost(f'no volume for persistentvolumeclaim "{claim.name}" could be provisioned on {node}')
        return False

    async def _refuse(self, key: Key, raw: Object, pod: Pod, message: str, eviction: Eviction | None) -> None:
        """Tell why a pod has no node, and make room if others must yield."""
        try:
            self._events.warning(raw, "FailedScheduling", message)
            await self._report(raw, message, eviction.node if eviction else "")
            if eviction is not None:
                await self._evict(pod, eviction)
        except NotFound:
            return  # the pod has gone
        except (ApiError, OSError) as error:
            _log.info("status of %s/%s not written: %s", pod.namespace, pod.name, error)
        finally:
            self._written(key)

    async def _report(self, raw: Object, message: str, nominated: str) -> None:
        old = pod_rules.condition(raw, "PodScheduled") or {}
        same = (old.get("status"), old.get("reason"), old.get("message")) == ("False", "Unschedulable", message)
        if same and (raw.get("status") or {}).get("nominatedNodeName", "") == nominated:
            return
        since = old.get("lastTransitionTime") if old.get("status") == "False" else None
        condition = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
            "lastProbeTime": None,
            "lastTransitionTime": since or rfc3339(self._clock.now()),
            "observedGeneration": raw["metadata"].get("generation", 1),
        }
        status: dict[str, Any] = {"conditions": [condition]}
        if nominated:
            status["nominatedNodeName"] = nominated
        patch = {"metadata": {"uid": raw["metadata"]["uid"]}, "status": status}
        namespace, name = key_of(raw)
        await self._client.patch(PODS, namespace, name, patch, kind=PatchType.STRATEGIC, subresource="status")

    async def _evict(self, pod: Pod, eviction: Eviction) -> None:
        for victim in eviction.victims:
            raw = self._pods.get(victim.namespace, victim.name)
            if raw is None or raw["metadata"]["uid"] != victim.uid or victim.terminating:
                continue
            condition = {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "PreemptionByScheduler",
                "message": f"{self.component}: preempting to accommodate a higher priority pod",
                "lastTransitionTime": rfc3339(self._clock.now()),
            }
            patch = {"metadata": {"uid": victim.uid}, "status": {"conditions": [condition]}}
            try:
                await self._client.patch(
                    PODS, victim.namespace, victim.name, patch, kind=PatchType.STRATEGIC, subresource="status"
                )
                await self._client.delete(PODS, victim.namespace, victim.name, uid=victim.uid)
            except (NotFound, Conflict):
                continue  # it has gone by itself
            self._events.normal(raw, "Preempted", f"Preempted by pod {pod.uid} on node {eviction.node}")

    def _written(self, key: Key) -> None:
        """The writes for a pod are over; what happened to it meanwhile is looked at now."""
        task = self._writing.get(key)
        if task is asyncio.current_task():
            del self._writing[key]
        if key in self._again:
            self._again.discard(key)
            raw = self._pods.get(*key)
            if raw is not None:
                self._pod_seen(raw)

    def _spread_by_default(self, raw: Object, pod: Pod) -> Pod:
        if len(self._nodes.list()) < 2:
            return pod  # nothing to weigh
        owner = controller_of(raw)
        informer = self._owners.get((owner.group, owner.kind)) if owner else None
        found = informer.get(pod.namespace, owner.name) if informer is not None and owner is not None else None
        selector = found["spec"].get("selector") if found is not None else None
        return with_default_spread(pod, services_of(self._services, pod.namespace, pod.labels), selector)

    def _claim_view(self, pod: Pod) -> ClaimView:
        if not pod.claims:
            return ClaimView((), {}, {})
        raw_claims = [(name, self._claims.get(pod.namespace, name)) for name in pod.claims]
        claims = tuple((name, decode_claim(raw) if raw is not None else None) for name, raw in raw_claims)
        return ClaimView(
            claims,
            self._volume_index.for_claims(claim for _, claim in claims if claim is not None),
            {storage_class.name: storage_class for storage_class in map(decode_storage_class, self._classes.list())},
        )

    def _is_ours(self, raw: Object) -> bool:
        spec = raw.get("spec") or {}
        return (
            not spec.get("nodeName")
            and spec.get("schedulerName", self.component) == self.component
            and not spec.get("schedulingGates")
            and pod_rules.is_active(raw)
        )

    def _pod_seen(self, raw: Object) -> None:
        if pod_rules.is_terminal(raw):
            self._pod_gone(raw)
        elif (raw.get("spec") or {}).get("nodeName"):
            self._queue.forget(key_of(raw))
            self._cache.put_pod(decode_pod(raw))
        elif self._is_ours(raw):
            self._queue.add(key_of(raw), (raw.get("spec") or {}).get("priority") or 0)
        else:
            self._give_up(key_of(raw))
            if self._cache.drop_pod(raw["metadata"]["uid"]):
                self._queue.wake_all()

    def _pod_changed(self, old: Object, new: Object) -> None:
        """Look again when something that matters changed; most writes of a status do not."""
        if not same_facts(old, new) or pod_rules.is_terminal(new):
            self._pod_seen(new)

    def _give_up(self, key: Key) -> None:
        self._queue.forget(key)
        self._again.discard(key)
        task = self._writing.pop(key, None)
        if task is not None:
            task.cancel()

    def _pod_gone(self, raw: Object) -> None:
        self._give_up(key_of(raw))
        if self._cache.drop_pod(raw["metadata"]["uid"]):
            self._queue.wake_all()

    def _node_seen(self, raw: Object) -> None:
        self._cache.put_node(decode_node(raw))
        self._queue.wake_all()

    def _node_changed(self, old: Object, new: Object) -> None:
        node = decode_node(new)
        if node != decode_node(old):
            self._cache.put_node(node)
            self._queue.wake_all()

    def _node_gone(self, raw: Object) -> None:
        self._cache.drop_node(raw["metadata"]["name"])

    def _namespace_seen(self, raw: Mapping[str, Any]) -> None:
        self._cache.namespaces[raw["metadata"]["name"]] = raw["metadata"].get("labels") or {}

    def _volume_seen(self, raw: Object) -> None:
        self._volume_index.put(decode_volume(raw))

    def _volume_gone(self, raw: Object) -> None:
        self._volume_index.drop(raw["metadata"]["name"])

    def _claim_changed(self, claim: Object) -> None:
        for changed in self._claim_waiters.get(key_of(claim), ()):
            changed.set()

    def _storage_changed(self, _: Object) -> None:
        self._queue.wake_all()


class VolumeLost(Exception):
    """A claim the pod waits for will not be bound on the chosen node: choose again."""
