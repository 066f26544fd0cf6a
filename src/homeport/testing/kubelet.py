"""A kubelet without processes: pods run, turn ready and end because a switch or a test says so."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from homeport.api import pods as pod_rules
from homeport.api.resources import find
from homeport.client.contract import Client, Object, PatchType
from homeport.client.informer import InformerFactory, Key, key_of
from homeport.client.queue import WorkQueue
from homeport.clock import Clock, rfc3339
from homeport.controllers.daemonset.placement import target_of
from homeport.errors import ApiError, Conflict, NotFound

__all__ = ["FakeKubelet", "Switches"]

PODS: Final = find("Pod")


@dataclass(frozen=True, slots=True)
class Switches:
    """What happens by itself.

    bind           a new pod without a node is bound
    run            a bound pending pod runs
    ready          and is ready from the start
    finish         a terminating pod is gone at once
    complete       a new pod succeeds at once
    broken_images  images that never turn ready by themselves
    """

    bind: bool = True
    run: bool = True
    ready: bool = True
    finish: bool = True
    complete: bool = False
    broken_images: frozenset[str] = frozenset()


class FakeKubelet:
    """Stands in for scheduler and kubelets: pods go to the first node unless told otherwise.

    pause_seconds  between two pods, so that controllers act in between as they would beside a real kubelet
    """

    def __init__(
        self,
        client: Client,
        clock: Clock,
        informers: InformerFactory,
        nodes: Sequence[str] = ("node-1", "node-2", "node-3"),
        switches: Switches | None = None,
        pause_seconds: float = 0.002,
    ) -> None:
        self.switches = switches or Switches()
        self._pause_seconds = pause_seconds
        self._client, self._clock = client, clock
        self._pods = informers.informer(PODS)
        self._node = nodes[0] if nodes else ""
        self._addresses = itertools.count(2)
        self._given: dict[str, str] = {}
        self._queue: WorkQueue[Key] = WorkQueue("fake-kubelet")
        self._pods.add_handler(add=self._changed, update=self._updated)

    def set(self, changes: Mapping[str, Any]) -> None:
        """Change switches; existing pods are left as they are until something happens to them."""
        self.switches = replace(self.switches, **changes)

    def apply(self) -> None:
        """Treat every existing pod by the present switches."""
        for pod in self._pods.list():
            self._queue.add(key_of(pod))

    async def run(self) -> None:
        """Work until cancelled."""
        await self._pods.synced.wait()
        await self._queue.process(self._treat)

    async def bind(self, namespace: str, name: str, node: str | None = None) -> None:
        """Give a pod a node, if it has none."""
        pod = await self._client.get(PODS, namespace, name)
        if not pod["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": node or target_of(pod["spec"]) or self._node}
            body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target}
            await self._client.create(PODS, body, namespace, subresource="binding", name=name)

    async def report(self, namespace: str, name: str, phase: str, *, ready: bool = False, restarts: int = 0) -> None:
        """Bind a pod if needed and report its phase and readiness; a pod that has ended stays so."""
        await self.bind(namespace, name)
        pod = await self._client.get(PODS, namespace, name)
        if pod_rules.is_terminal(pod):
            return
        patch = {"status": self._status(pod, phase, ready, restarts)}
        await self._client.patch(PODS, namespace, name, patch, kind=PatchType.STRATEGIC, subresource="status")

    async def finish(self, namespace: str, name: str) -> None:
        """Say the last word on a terminating pod: it is gone."""
        await self._client.delete(PODS, namespace, name, grace_seconds=0)

    def _changed(self, pod: Object) -> None:
        self._queue.add(key_of(pod))

    def _updated(self, old: Object, new: Object) -> None:
        bound = old["spec"].get("nodeName") != new["spec"].get("nodeName")
        terminating = pod_rules.is_terminating(old) != pod_rules.is_terminating(new)
        if bound or terminating:
            self._queue.add(key_of(new))

    async def _treat(self, key: Key) -> None:
        pod = self._pods.get(*key)
        if pod is None:
            return
        try:
            await self._act(pod, *key)
        except (NotFound, Conflict):
            return  # it changed or went while it was looked at: its event brings it back
        except ApiError as error:
            raise AssertionError(f"the fake kubelet was refused: {error}") from error
        await asyncio.sleep(self._pause_seconds)

    async def _act(self, pod: Object, namespace: str, name: str) -> None:
        switches = self.switches
        if pod_rules.is_terminating(pod):
            if switches.finish:
                await self.finish(namespace, name)
            return
        if pod_rules.phase(pod) != pod_rules.PENDING:
            return
        if not pod["spec"].get("nodeName"):
            if not switches.bind:
                return
            await self.bind(namespace, name)
        if switches.complete:
            await self.report(namespace, name, pod_rules.SUCCEEDED)
        elif switches.run:
            images = {container["image"] for container in pod["spec"]["containers"]}
            ready = switches.ready and not images & switches.broken_images
            await self.report(namespace, name, pod_rules.RUNNING, ready=ready)

    def _address(self, uid: str) -> str:
        """Return a pod's address, the same however often and by whom it is asked for."""
        if uid not in self._given:
            number = next(self._addresses)
            self._given[uid] = f"10.244.{number // 256}.{number % 256}"
        return self._given[uid]

    def _status(self, pod: Object, phase: str, ready: bool, restarts: int) -> dict[str, Any]:
        wanted = "True" if ready else "False"
        present = pod_rules.condition(pod, "Ready")
        unchanged = present is not None and present.get("status") == wanted
        since = present.get("lastTransitionTime") if present is not None and unchanged else None
        status: dict[str, Any] = {
            "phase": phase,
            "conditions": [
                {"type": "Ready", "status": wanted, "lastTransitionTime": since or rfc3339(self._clock.now())}
            ],
            "containerStatuses": [
                {
                    "name": container["name"],
                    "image": container["image"],
                    "imageID": "",
                    "ready": ready,
                    "restartCount": restarts,
                    "state": _state(phase, rfc3339(self._clock.now())),
                }
                for container in pod["spec"]["containers"]
            ],
        }
        if not (pod.get("status") or {}).get("podIP"):
            status["podIP"] = self._address(pod["metadata"]["uid"])
            status["podIPs"] = [{"ip": status["podIP"]}]
        return status


def _state(phase: str, now: str) -> dict[str, Any]:
    match phase:
        case pod_rules.RUNNING:
            return {"running": {"startedAt": now}}
        case pod_rules.FAILED:
            return {"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": now}}
        case pod_rules.SUCCEEDED:
            return {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": now}}
        case _:
            return {"waiting": {"reason": "ContainerCreating"}}
