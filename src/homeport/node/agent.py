"""The node agent: one worker per pod bound to this node, fed by one informer, adopting what already runs.

Source: `node` sections 5 (6, 10) and 15.4.
"""

import asyncio
import logging
import os
import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final, TypeVar

from homeport.client.contract import Object
from homeport.client.informer import Informer
from homeport.node.admission import Occupancy, admit
from homeport.node.adoption import Adopted, adopt
from homeport.node.context import NodeContext
from homeport.node.lifecycle import Waiting
from homeport.node.network.contract import NetworkFailure
from homeport.node.pod import Pod, parse_pod
from homeport.node.runtime.contract import Container, Exit, Sandbox
from homeport.node.sandboxes import PodSandbox
from homeport.node.status import TERMINAL
from homeport.node.volumes.pod_volumes import remove_pod_directory
from homeport.node.worker import PodWorker

__all__ = ["Agent"]

RESTART_SECONDS: Final = 10.0
RELIST_SECONDS: Final = 60.0
LOST_CODE: Final = 137
SETTLE_SECONDS: Final = 10.0
"""How long reports on adopted pods may take before the node is called ready all the same."""

_log = logging.getLogger(__name__)

T = TypeVar("T", Container, Sandbox)


class Agent:
    """`pods` holds this node's pods (field selector `spec.nodeName`), `nodes` its own object; others run them."""

    def __init__(self, context: NodeContext, pods: Informer, services: Informer, nodes: Informer) -> None:
        self.context = context
        self._pods, self._services, self._nodes = pods, services, nodes
        self.workers: dict[str, PodWorker] = {}
        self._taken = Occupancy()
        self._leaving: dict[tuple[str, str], asyncio.Event] = {}
        self._group: asyncio.TaskGroup | None = None
        self.settled = asyncio.Event()
        """Set once the API knows how every pod is that was here when the agent started."""

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """Return the worker of the pod that has this name now."""
        tree = self._pods.get(namespace, name)
        return self.workers.get(tree["metadata"]["uid"]) if tree is not None else None

    async def run(self) -> None:
        """Serve the node's pods; ends by cancellation only, and leaves what runs running."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            exits = self.context.runtime.exits()  # before looking: an end is either seen or heard of
            await self._pods.synced.wait()
            await self._services.synced.wait()
            await self._adopt()
            group.create_task(self._hear(exits))
            group.create_task(self._relist())
            self._pods.add_handler(add=self._added, update=self._updated, delete=self._deleted)
            try:
                await self._settle()
                await asyncio.get_running_loop().create_future()
            finally:
                self._group = None  # who stops takes nobody in, though the cache may still tell of pods

    async def _hear(self, exits: AsyncIterator[Exit]) -> None:
        async for exit in exits:
            for worker in self.workers.values():
                if exit.container_id in worker.records.live:
                    worker.exited(exit)
                    break

    async def _relist(self) -> None:
        """Compare what is thought to run with what the runtime has, now and then: an end nobody heard of is found."""
        while True:
            await asyncio.sleep(RELIST_SECONDS)
            thought = {
                live.container_id: worker for worker in self.workers.values() for live in worker.ending.running()
            }
            there = {one.id: one for one in await self.context.runtime.containers()}
            for container_id, worker in thought.items():
                found = there.get(container_id)
                if found is None:
                    worker.exited(Exit(container_id, LOST_CODE, self.context.clock.now(), known=False))
                elif found.exit is not None:
                    worker.exited(found.exit)

    # Adoption

    async def _adopt(self) -> None:
        """Match what the runtime has with the pods of the API; end what belongs to none."""
        runtime, network = self.context.runtime, self.context.network
        sandboxes = await runtime.sandboxes()
        containers = await runtime.containers()
        pods = {tree["metadata"]["uid"]: parse_pod(tree) for tree in self._pods.list()}
        kept: dict[str, int] = {}
        for sandbox in sandboxes:
            pod = pods.get(sandbox.labels.get("pod-uid", ""))
            if pod is not None and sandbox.running and not pod.host_network:
                kept[sandbox.id] = sandbox.pid
        await network.adopt(kept)
        for sandbox in sandboxes:
            if sandbox.labels.get("pod-uid") not in pods or not sandbox.running:
                await self._discard(sandbox)
        for container in containers:
            if container.labels.get("pod-uid") not in pods:
                await runtime.remove_container(container.id)
        self._sweep(pods)
        own_containers, own_sandboxes = _by_pod(containers), _by_pod(sandboxes)
        for uid, pod in pods.items():
            self._begin(pod, await self._adopted(pod, own_containers.get(uid, ()), own_sandboxes.get(uid, ())))

    async def _settle(self) -> None:
        reports = [asyncio.ensure_future(worker.reporter.flush()) for worker in self.workers.values()]
        try:
            if reports:
                await asyncio.wait(reports, timeout=SETTLE_SECONDS)
        finally:
            for report in reports:
                report.cancel()
        self.settled.set()

    async def _discard(self, sandbox: Sandbox) -> None:
        _log.info("removing sandbox %s of pod %s: dead, or nobody's", sandbox.id, sandbox.labels.get("pod-name"))
        await self.context.runtime.remove_sandbox(sandbox.id)
        await self.context.network.detach(sandbox.id)

    def _sweep(self, pods: dict[str, Pod]) -> None:
        """Remove the checkpoints, directories and logs of pods that are gone, once nothing is mounted there."""
        self.context.checkpoints.keep_only(pods)
        settings = self.context.settings
        for root in (settings.pod_directory("any").parent, settings.pods):
            for entry in os.scandir(root) if root.is_dir() else ():
                if entry.name not in pods and entry.is_dir(follow_symlinks=False):
                    try:
                        remove_pod_directory(root / entry.name, self.context.mounts)
                    except OSError as error:
                        _log.warning("directory of pod %s stays: %s", entry.name, error)
        logs = self.context.settings.logs
        for entry in os.scandir(logs) if logs.is_dir() else ():
            namespace, _, rest = entry.name.partition("_")
            uid = rest.rpartition("_")[2]
            if namespace and uid and uid not in pods and entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)

    async def _adopted(self, pod: Pod, containers: Sequence[Container], sandboxes: Sequence[Sandbox]) -> Adopted:
        """Return what there is of a pod, whose own containers and sandboxes these are."""
        attempts = 1 + max((int(one.labels.get("attempt", "0")) for one in sandboxes), default=-1)
        newest = next((one for one in sandboxes if one.running), None)
        sandbox = None
        if newest is not None:
            try:
                sandbox = await self._adopted_sandbox(pod, newest, attempts - 1)
            except NetworkFailure as failure:
                _log.warning("sandbox %s of pod %s has lost its place in the network: %s", newest.id, pod, failure)
                await self._discard(newest)
        saved = self.context.checkpoints.load(pod.uid)
        return adopt(pod, containers, sandbox, attempts, saved, self.context.clock.now())

    async def _adopted_sandbox(self, pod: Pod, sandbox: Sandbox, attempt: int) -> PodSandbox:
        if pod.host_network:
            return PodSandbox(sandbox.id, sandbox.pid, attempt, self.context.host_ips)
        attachment = await self.context.network.attach(sandbox.id, sandbox.pid)
        return PodSandbox(sandbox.id, sandbox.pid, attempt, attachment.addresses)

    # Pods as they come and go

    def _added(self, tree: Object) -> None:
        if tree["metadata"]["uid"] not in self.workers:
            self._begin(parse_pod(tree), Adopted())

    def _updated(self, old: Object, new: Object) -> None:
        uid = new["metadata"]["uid"]
        if old["metadata"]["uid"] != uid:
            self._deleted(old)
        worker = self.workers.get(uid)
        if worker is None:
            self._begin(parse_pod(new), Adopted())
        else:
            worker.update(new)
            self._taken.put(worker.pod)

    def _deleted(self, tree: Object) -> None:
        worker = self.workers.get(tree["metadata"]["uid"])
        if worker is not None:
            worker.removed()

    def _begin(self, pod: Pod, adopted: Adopted) -> None:
        if self._group is None:
            return
        worker = self.workers[pod.uid] = PodWorker(self.context, pod, adopted, self._refusal(pod, adopted))
        self._taken.put(worker.pod)
        self._group.create_task(self._serve(worker), name=f"pod-{pod.namespace}-{pod.name}")

    def _refusal(self, pod: Pod, adopted: Adopted) -> Waiting | None:
        """Ask admission about a pod that is new here; one that has run already was admitted."""
        if adopted.live or pod.status.get("startTime") or pod.deleting or pod.status.get("phase") in TERMINAL:
            return None
        node = self._nodes.get(None, self.context.settings.name)
        labels = node["metadata"].get("labels") or {} if node is not None else None
        refusal = admit(pod, self._taken, self.context.capacity.allocatable, labels)
        if refusal is None:
            return None
        self.context.recorder.warning(pod.tree, refusal.reason, refusal.message)
        return Waiting(refusal.reason, f"Pod was rejected: {refusal.message}")

    async def _serve(self, worker: PodWorker) -> None:
        """Run a worker after any earlier pod of that name has left the node."""
        key = (worker.pod.namespace, worker.pod.name)
        before, done = self._leaving.get(key), asyncio.Event()
        self._leaving[key] = done
        try:
            if before is not None:
                await before.wait()
            while not await self._served(worker):
                worker = await self._replacement(worker)
        finally:
            done.set()
            if self._leaving.get(key) is done:
                del self._leaving[key]
            self.workers.pop(worker.pod.uid, None)
            self._taken.drop(worker.pod.uid)

    @staticmethod
    async def _served(worker: PodWorker) -> bool:
        """Run a worker to its end; returns False when a fault ended it. One pod's fault must not be another's."""
        try:
            await worker.run()
        except Exception as error:
            _log.exception("the worker of pod %s failed", worker.pod)
            worker.events.warning("FailedSync", f"error syncing pod, retrying: {type(error).__name__}")
            return False
        return True

    async def _replacement(self, failed: PodWorker) -> PodWorker:
        """Return a new worker that adopts what a failed one left, after a pause."""
        await asyncio.sleep(RESTART_SECONDS)
        pod = failed.pod
        runtime, label = self.context.runtime, ("pod-uid", pod.uid)
        adopted = await self._adopted(pod, await runtime.containers(label), await runtime.sandboxes(label))
        worker = self.workers[pod.uid] = PodWorker(self.context, failed.pod, adopted)
        if failed.gone.is_set():
            worker.removed()
        return worker


def _by_pod(found: Sequence[T]) -> Mapping[str, Sequence[T]]:
    """Return what the runtime has by the uids of the pods it belongs to."""
    out: dict[str, list[T]] = {}
    for one in found:
        out.setdefault(one.labels.get("pod-uid", ""), []).append(one)
    return out
