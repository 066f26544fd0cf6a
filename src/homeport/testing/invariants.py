"""What must hold in every history of a cluster, whatever goes wrong.

All the way:
    identity       never do containers of two pods of one name run at once, on whatever nodes
    order, availability, partition    what a StatefulSet's policies and strategy allow (`ordering`)
    claims         nobody's data is lost but by a retention policy; a pod uses its own claims (`retention`)
    ownership      never two controllers of one object, two volumes of one claim, or another volume for a bound claim
    surge, unavailable, recreate, pause    what a Deployment's strategy allows (`rollouts`)
    budget         an eviction leaves as many healthy pods as a disruption budget asks for (`budgets`)
    names          names and virtual addresses lead to the ready pods that bear them, and to all of those (`naming`)
    phases         a terminal phase is never left
    revisions      the store counts on, also over the death of the engine

At rest (`at_rest`):
    convergence    workloads have the pods they want, all ready and as up to date as they ask for
    names, claims  are exactly as they should be
    observers      who only watched knows exactly what a listing says
    durability     every write that was answered with success happened, and the store holds what was written last

None of this pauses when something goes wrong: who decides is then judged by all that it may have known (`knowledge`).

Source of the rules: workloads 2 to 9 and 13 of the specification; KEP-961, KEP-1847, KEP-3335.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import chain
from typing import Any, Final

import msgspec

from homeport.api.exchange import Request, Response
from homeport.api.resources import Resource, find
from homeport.client.informer import Informer
from homeport.node.runtime.contract import ContainerSpec
from homeport.store.contract import Event
from homeport.testing.budgets import Budgets
from homeport.testing.knowledge import STALE_SECONDS, Knowledge, Ledger, Past, Spells
from homeport.testing.naming import Naming
from homeport.testing.objects import first_ordinal, is_ready, ordinal_of
from homeport.testing.ordering import Ordering
from homeport.testing.retention import Retention
from homeport.testing.rollouts import Rollouts
from homeport.testing.simulation import CONTROL, DNS, MANAGER, PROXY, Simulation
from homeport.testing.steps import Step

__all__ = ["Invariants", "Violation"]

_DISTURBANCES: Final = frozenset(
    ("cut", "join", "drop_watches", "expire_watches", "restart_control", "stall", "go_on", "kill_engine",
     "start_engine", "freeze_names", "restore_names")
)  # fmt: skip
"""Steps that come between the cluster and its news. What some begin is seen as it lasts; others are over at once."""

SETS: Final = find("StatefulSet", "apps")
PODS: Final = find("Pod")
CLAIMS: Final = find("PersistentVolumeClaim")
SERVICES: Final = find("Service")
SLICES: Final = find("EndpointSlice", "discovery.k8s.io")

_TERMINAL: Final = ("Succeeded", "Failed")
_decode: Final = msgspec.json.Decoder().decode


class Violation(AssertionError):
    """A promise was broken. The text says which one and how."""


class Invariants:
    """Watches one simulation. What it finds is kept in `violations`; `check` raises the first.

    Connect `changed` and `started` when the simulation is made, then call `attach` once it runs.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self._failure: Exception | None = None
        self._simulation: Simulation | None = None
        self._observers: list[Informer] = []
        self._past: Past[tuple[str, str, str], Any] = Past()  # what workloads asked for
        self._ready: Spells[tuple[str, str], str] = Spells()  # pod → its uid, while it is ready
        self._left: Spells[tuple[str, str], str] = Spells()  # the same, until its controller takes it
        self._made: dict[str, float] = {}  # uid of a pod → since when it is there
        self._revisions: set[int] = set()
        self._held: dict[str, int] = {}  # key → revision of its last write
        self._last_revision = 0
        self._answered: list[tuple[str, int]] = []
        self._ledger, self._unsettled = Ledger(), asyncio.Event()
        self._control = self._knowledge(CONTROL, MANAGER)
        self._readers = (self._knowledge(DNS, DNS), self._knowledge(PROXY, PROXY))
        self._ordering, self._retention, self._naming = Ordering(self), Retention(self), Naming(self)
        self._rollouts, self._budgets = Rollouts(self), Budgets(self)

    def _knowledge(self, party: str, component: str) -> Knowledge:
        def hindered() -> bool:
            simulation = self._simulation
            if simulation is None or not simulation.serving or simulation.faults.is_cut(party):
                return True
            return party == CONTROL and simulation.store.stalled  # a pass under way waits, with what it knew

        return Knowledge(
            self._ledger,
            lambda: self.now,
            lambda: self.simulation.copies.get(party),
            hindered,
            lambda: self.simulation.faults.open_watches(component),
        )

    @property
    def simulation(self) -> Simulation:
        assert self._simulation is not None, "attach() comes first"
        return self._simulation

    @property
    def is_attached(self) -> bool:
        return self._simulation is not None

    @property
    def now(self) -> float:
        return self._simulation.now if self._simulation is not None else 0.0

    def attach(self, simulation: Simulation) -> None:
        """Follow a running simulation: the requests of its components, and the changes observers hear of."""
        self._simulation = simulation
        simulation.faults.on_request = self._ordering.requested
        simulation.faults.on_answer = self._answer
        factory = simulation.watching()
        self._observers = [factory.informer(resource) for resource in (SETS, PODS, CLAIMS, SERVICES, SLICES)]
        simulation.start(factory.run(), "observers")
        simulation.start(self._look_again(), "invariants")

    async def _look_again(self) -> None:
        """Look once a second while news is late, or what follows from it held up, or names have to show a change."""
        while True:
            await self._unsettled.wait()
            await asyncio.sleep(STALE_SECONDS)
            self._naming.look()
            self._budgets.since()
            if not (self.news_is_late() or self._naming.is_unsettled or self._budgets.is_held_up):
                self._unsettled.clear()

    def before(self, step: Step) -> None:
        """Hear what is about to be done."""
        self._naming.look()
        if step.kind in _DISTURBANCES and not step.what.startswith("node-"):
            self.disturbed()
        if step.kind == "refuse":
            self.look_again()

    def look_again(self) -> None:
        """Ask for another look in a second."""
        self._unsettled.set()

    def disturbed(self) -> None:
        """Say that something comes between the cluster and its news."""
        for knowledge in (self._control, *self._readers):
            knowledge.disturb()
        self.look_again()

    def check(self) -> None:
        """Raise Violation if a promise was broken, or what an invariant itself failed with."""
        if self._failure is not None:
            raise self._failure
        if self.violations:
            raise Violation(self.violations[0])

    def broken(self, rule: str, text: str) -> None:
        self.violations.append(f"{rule}: {text}")

    # What those who decide may know

    @property
    def since(self) -> float:
        """The moment from which on everything may be news to controllers."""
        return self._control.since

    def news_is_late(self) -> bool:
        """Whether controllers, or those who follow what they write, may be behind, or their writes are refused."""
        fresh = [knowledge.is_fresh for knowledge in (self._control, *self._readers)]
        return not all(fresh) or bool(self.simulation.faults.rules)

    def versions(self, resource: Resource, namespace: str, name: str, since: float | None = None) -> list[Any]:
        """Return an object as it is, and as controllers (or whoever knows what was at `since`) may take it to be."""
        now = self.simulation.find(resource, namespace, name)
        former = self._past.since((resource.plural, namespace, name), self.since if since is None else since)
        return [*([now] if now is not None else []), *former]

    def was_ready(self, pod: tuple[str, str], since: float | None = None) -> bool:
        """Whether a pod is ready, or was so lately that a controller may not know better."""
        return bool(self._left.had(pod, self.since) if since is None else self._ready.had(pod, since))

    def is_known(self, pod: Any) -> bool:
        """Whether controllers know of a pod. They always know what they did themselves, unless they began anew."""
        return self._control.is_fresh or self._made.get(pod["metadata"]["uid"], 0.0) <= self.since

    def taken(self, pod: tuple[str, str]) -> None:
        """A controller deletes a pod: who takes it knows that it is not ready any more."""
        if self._control.is_fresh:
            self._left.retract(pod, self.since - 1.0)

    # All the way

    def started(self, node: str, spec: ContainerSpec) -> None:
        """A container starts: no other pod of that name may have one running."""
        who = (spec.labels["pod-namespace"], spec.labels["pod-name"])
        for machine in self.simulation.machines.values():
            for other in machine.runtime.specs():
                labels = other.labels
                if (labels["pod-namespace"], labels["pod-name"]) != who or not machine.runtime.is_running(other.id):
                    continue
                if labels["pod-uid"] != spec.labels["pod-uid"]:
                    self.broken("identity", f"{who[1]} starts on {node} while an earlier one runs on {machine.name}")
                elif labels["container"] == spec.labels["container"]:
                    self.broken("identity", f"{labels['container']} of {who[1]} starts on {node} and runs already")

    def changed(self, event: Event) -> None:
        """A change is durable. Whatever comes of looking at it, the store goes on; `check` tells."""
        try:
            self._look_at(event)
        except Exception as error:
            self._failure = self._failure or error

    def _look_at(self, event: Event) -> None:
        if event.revision <= self._last_revision:
            self.broken("revisions", f"{event.key} has revision {event.revision} after {self._last_revision}")
        self._last_revision = event.revision
        self._revisions.add(event.revision)
        self._ledger.note(event.key, event.revision, self.now)
        if event.entry is not None:
            self._held[event.key] = event.revision
        else:
            self._held.pop(event.key, None)
        parts = event.key.removeprefix("/registry/").split("/")
        kind = parts[1] if parts[0] == "apps" else parts[0]
        if kind not in _LOOKED_AT:
            return
        new = _decode(event.entry.value) if event.entry is not None else None
        old = _decode(event.previous.value) if event.previous is not None else None
        if new is not None:
            self._look_at_owners(event.key, new)
        match kind:
            case "statefulsets" | "deployments":
                if old is not None and _wishes(old) != _wishes(new):
                    self._past.end((kind, parts[2], parts[3]), old, self.now)
                if kind == "statefulsets":
                    self._retention.set_changed(old, new)
            case "pods":
                self._look_at_pod((parts[1], parts[2]), old, new)
            case "persistentvolumeclaims":
                self._retention.claim_changed(old, new)
            case "persistentvolumes":
                self._retention.volume_changed(old, new)
            case "replicasets":
                self._rollouts.changed(old, new)

    def _look_at_owners(self, key: str, obj: Any) -> None:
        owners = [one for one in obj["metadata"].get("ownerReferences") or () if one.get("controller")]
        if len(owners) > 1:
            self.broken("ownership", f"{key} has {len(owners)} controllers")

    def _look_at_pod(self, name: tuple[str, str], old: Any, new: Any) -> None:
        if old is not None and new is not None:
            before, after = _phase(old), _phase(new)
            if before in _TERMINAL and before != after:
                self.broken("phases", f"pod {name[1]} went from {before} to {after}")
        if old is None:
            self._made[new["metadata"]["uid"]] = self.now
            self._retention.pod_created(new)
        ready = new is not None and is_ready(new)
        if ready != (old is not None and is_ready(old)):
            for spells in (self._ready, self._left):
                spells.note(name, new["metadata"]["uid"] if ready else None, self.now)
        self._budgets.pod_changed(old, new)
        self._naming.pod_changed(name, old, new)

    def _answer(self, request: Request, response: Response) -> None:
        if request.method not in ("POST", "PUT", "PATCH") or response.status >= 300:
            return
        answer = response.document if response.document is not None else _decode(response.body or b"{}")
        metadata = answer.get("metadata") or {}
        if metadata.get("resourceVersion") and "dryRun" not in dict(request.query):
            self._answered.append((f"{request.method} {request.path}", int(metadata["resourceVersion"])))

    # At rest

    async def at_rest(self) -> list[str]:
        """Return what does not hold although everything is well again and nothing moves. Raises Violation."""
        self.check()
        found = list(
            chain(
                self._convergence(),
                self._rollouts.at_rest(),
                self._naming.at_rest(),
                self._retention.at_rest(),
                self._durability(),
            )
        )
        return found + [text async for text in self._differences()]

    def _convergence(self) -> Iterator[str]:
        for tree in self.simulation.objects(SETS):
            spec, status, name = tree["spec"], tree.get("status") or {}, tree["metadata"]["name"]
            replicas, first = spec.get("replicas", 1), first_ordinal(tree)
            wanted = [f"{name}-{ordinal}" for ordinal in range(first, first + replicas)]
            pods = {
                pod["metadata"]["name"]: pod
                for pod in self.simulation.objects(PODS, tree["metadata"]["namespace"])
                if ordinal_of(name, pod["metadata"]["name"]) is not None
            }
            ready = [pod for pod, found in pods.items() if is_ready(found)]
            if sorted(wanted) != sorted(ready) or len(pods) != len(ready):
                yield f"convergence: {name} wants {wanted}; there are {list(pods)}, ready are {ready}"
                continue
            if status.get("observedGeneration") != tree["metadata"]["generation"]:
                yield f"convergence: {name} has not been looked at since its last change"
            if status.get("readyReplicas", 0) != replicas:
                yield f"convergence: {name} says readyReplicas={status.get('readyReplicas', 0)}"
            strategy = spec.get("updateStrategy") or {}
            if strategy.get("type") == "OnDelete":
                continue
            partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
            for pod in wanted[partition:]:
                if pods[pod]["metadata"]["labels"].get("controller-revision-hash") != status.get("updateRevision"):
                    yield f"convergence: {pod} is not of the revision {status.get('updateRevision')}"
            if not partition and status.get("currentRevision") != status.get("updateRevision"):
                yield f"convergence: {name} still has two revisions"

    def _durability(self) -> Iterator[str]:
        for what, revision in self._answered:
            if revision not in self._revisions:
                yield f"durability: {what} was answered with revision {revision}, which never happened"
        held = {entry.key: entry.revision for entry in self.simulation.store.entries()}
        for key in held.keys() | self._held.keys():
            if held.get(key) != self._held.get(key):
                yield f"durability: {key} is at {held.get(key)}, and was last written by {self._held.get(key)}"

    async def _differences(self) -> AsyncIterator[str]:
        client = self.simulation.client("invariants")
        for informer in self._observers:
            listed = {_key(obj): obj for obj in (await client.list(informer.resource)).items}
            known = {_key(obj): obj for obj in informer.list()}
            for key in listed.keys() | known.keys():
                if not _same(listed.get(key), known.get(key)):
                    yield f"observers: {informer.resource.plural} {'/'.join(key)} is not what the listing says"


_LOOKED_AT: Final = frozenset(
    ("statefulsets", "deployments", "replicasets", "pods", "persistentvolumeclaims", "persistentvolumes")
)


def _wishes(tree: Any) -> Any:
    """Return what is asked for of a workload, its end included."""
    return (tree["spec"], tree["metadata"]["uid"], bool(tree["metadata"].get("deletionTimestamp"))) if tree else None


def _key(obj: Mapping[str, Any]) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _same(left: Any, right: Any) -> bool:
    return left is not None and right is not None and {**left, "kind": "", "apiVersion": ""} == {
        **right, "kind": "", "apiVersion": "",
    }  # fmt: skip


def _phase(pod: Any) -> str:
    return str((pod.get("status") or {}).get("phase", ""))
