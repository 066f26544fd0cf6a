"""What must hold in every history of a cluster, whatever goes wrong.

All the way:
    identity       never do containers of two pods of one name run at once, on whatever nodes
    order          OrderedReady: a pod is created once all before it are ready, removed once all after it are gone
    availability   a rolling update takes a ready pod only while all pods it has to wait for are ready
    partition      pods below the partition, and all pods under OnDelete, are left alone while they are ready
    ownership      never two controllers of one object, two volumes of one claim, or another volume for a bound claim
    claims         a claim goes only when its set's retention policy says so; a pod uses its own
    surge, unavailable, recreate, pause    what a Deployment's strategy allows (`rollouts`)
    budget         an eviction leaves as many healthy pods as a disruption budget asks for (`budgets`)
    phases         a terminal phase is never left
    revisions      the store counts on, also over the death of the engine

At rest (`at_rest`):
    convergence    workloads have the pods they want, all ready and as up to date as they ask for
    names          a ready pod's name leads to it; nobody else's does
    observers      who only watched knows exactly what a listing says
    durability     every write that was answered with success happened, and the store holds what was written last

Source of the rules: workloads 2 to 9 and 13 of the specification; KEP-961, KEP-1847, KEP-3335.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import chain
from typing import Any, Final

import msgspec

from homeport.api.exchange import Request, Response
from homeport.api.resources import find
from homeport.client.informer import Informer
from homeport.node.runtime.contract import ContainerSpec
from homeport.store.contract import Event
from homeport.testing.budgets import Budgets
from homeport.testing.objects import is_ready, ordinal_of
from homeport.testing.rollouts import Rollouts
from homeport.testing.simulation import CONTROL, Simulation
from homeport.testing.steps import Step

__all__ = ["Invariants", "Violation"]

STALE_SECONDS: Final = 1.0
"""How old what a controller acts upon may be, while nothing disturbs it."""

RECOVERY_SECONDS: Final = 120.0
"""How long after a disturbance informers may still be catching up."""

_DISTURBANCES: Final = frozenset(
    ("cut", "join", "refuse", "heal", "drop_watches", "expire_watches", "restart_control", "jump", "stall", "go_on",
     "kill_engine", "start_engine", "freeze_names", "restore_names")
)  # fmt: skip

SETS: Final = find("StatefulSet", "apps")
PODS: Final = find("Pod")
CLAIMS: Final = find("PersistentVolumeClaim")
SERVICES: Final = find("Service")
NAMESPACES: Final = find("Namespace")
SLICES: Final = find("EndpointSlice", "discovery.k8s.io")

_CONTROLLER: Final = "statefulset-controller"
_POD_PATH: Final = re.compile(r"^/api/v1/namespaces/([^/]+)/pods(?:/([^/]+))?$")
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
        self._simulation: Simulation | None = None
        self._observers: list[Informer] = []
        self._ready_until: dict[tuple[str, str], tuple[str, float]] = {}  # name → (uid, last seen ready)
        self._volumes: dict[str, str] = {}  # claim uid → its volume
        self._pods: set[tuple[str, str]] = set()
        self._expendable: set[tuple[str, str]] = set()  # claims whose set's policy gave them up, by namespace and name
        self._policies: dict[
            tuple[str, str], Any
        ] = {}  # retention policies a set has had: {"whenScaled", "whenDeleted"}
        self._former: dict[tuple[str, str], list[tuple[float, Any]]] = {}  # what sets asked for, and until when
        self._dropped: set[tuple[str, str]] = set()  # sets somebody asked to delete with all that is theirs
        self._orphaned: dict[str, float] = {}  # names of sets asked to be deleted alone, and when
        self._made: dict[str, float] = {}  # claim uid → when it was made
        self._revisions: set[int] = set()
        self._held: dict[str, int] = {}  # key → revision of its last write
        self._last_revision = 0
        self._answered: list[tuple[str, int]] = []
        self._disturbed_until = 0.0
        self._renewed_at = float("-inf")
        self._rollouts = Rollouts(self)
        self._budgets = Budgets(self)

    @property
    def simulation(self) -> Simulation:
        assert self._simulation is not None, "attach() comes first"
        return self._simulation

    def attach(self, simulation: Simulation) -> None:
        """Follow a running simulation: the requests of its components, and the changes observers hear of."""
        self._simulation = simulation
        simulation.faults.on_request = self._requested
        simulation.faults.on_answer = self._answer
        factory = simulation.watching()
        self._observers = [factory.informer(resource) for resource in (SETS, PODS, CLAIMS, SERVICES, SLICES)]
        simulation.start(factory.run(), "observers")

    def before(self, step: Step) -> None:
        """Hear what is about to be done."""
        if step.kind in _DISTURBANCES:
            self.disturbed()
        if step.kind == "delete" and step.value != "Orphan":
            self._dropped.update(name for name in self._policies if name[1] == step.what)
        elif step.kind == "delete":
            self._orphaned[step.what] = self.now

    def disturbed(self) -> None:
        """Say that for a while controllers may act upon old news, which no rule forbids."""
        self._disturbed_until = self.now + RECOVERY_SECONDS

    @property
    def calm(self) -> bool:
        """Whether controllers know of everything that is older than STALE_SECONDS."""
        faults, simulation = self.simulation.faults, self.simulation
        if faults.rules or faults.is_cut(CONTROL) or simulation.store.stalled or not simulation.serving:
            self.disturbed()
        return self.now >= self._disturbed_until

    @property
    def settled(self) -> bool:
        """Whether controllers also know everything that people ask for."""
        return self.calm and self.now >= self._renewed_at + STALE_SECONDS

    def check(self) -> None:
        """Raise Violation if a promise was broken."""
        if self.violations:
            raise Violation(self.violations[0])

    def broken(self, rule: str, text: str) -> None:
        self.violations.append(f"{rule}: {text}")

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
        """A change is durable."""
        if event.revision <= self._last_revision:
            self.broken("revisions", f"{event.key} has revision {event.revision} after {self._last_revision}")
        self._last_revision = event.revision
        self._revisions.add(event.revision)
        if event.entry is not None:
            self._held[event.key] = event.revision
        else:
            self._held.pop(event.key, None)
        parts = event.key.removeprefix("/registry/").split("/")
        kind = parts[1] if parts[0] in ("apps", "policy") else parts[0]
        if kind not in _LOOKED_AT:
            return
        new = _decode(event.entry.value) if event.entry is not None else None
        old = _decode(event.previous.value) if event.previous is not None else None
        if new is not None:
            self._look_at_owners(event.key, new)
            if kind in _DECIDED_UPON and (old is None or _wishes(old) != _wishes(new)):
                self._renewed_at = self.now  # who decides may not have heard of it yet
        match kind:
            case "statefulsets":
                if old is not None:
                    self._former.setdefault((parts[2], parts[3]), []).append((self.now, old))
                self._look_at_set(new or old)
            case "pods":
                self._look_at_pod((parts[1], parts[2]), old, new)
                self._budgets.pod_changed(old, new)
            case "persistentvolumeclaims":
                self._look_at_claim(old, new)
            case "persistentvolumes" if new is not None:
                self._look_at_volume(new)
            case "replicasets":
                self._rollouts.changed(old, new)

    def _look_at_owners(self, key: str, obj: Any) -> None:
        owners = [one for one in obj["metadata"].get("ownerReferences") or () if one.get("controller")]
        if len(owners) > 1:
            self.broken("ownership", f"{key} has {len(owners)} controllers")

    def _look_at_set(self, tree: Any) -> None:
        name, namespace = tree["metadata"]["name"], tree["metadata"]["namespace"]
        had = self._policies.setdefault((namespace, name), set())
        policy = tree["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
        had.update(field for field in ("whenScaled", "whenDeleted") if policy.get(field) == "Delete")
        if "whenScaled" in had:
            for claim in self.simulation.objects(CLAIMS, namespace):
                ordinal = _claim_ordinal(tree, claim["metadata"]["name"])
                if ordinal is not None and not _wants(tree, ordinal):
                    self._expendable.add((namespace, claim["metadata"]["name"]))

    def _look_at_pod(self, name: tuple[str, str], old: Any, new: Any) -> None:
        if old is None:
            self._pods.add(name)
            self._look_at_used_claims(name[1], new)
        elif new is None:
            self._pods.discard(name)
        if old is not None and new is not None:
            before, after = _phase(old), _phase(new)
            if before in _TERMINAL and before != after:
                self.broken("phases", f"pod {name[1]} went from {before} to {after}")
        now = self.now
        if new is not None and is_ready(new):
            self._ready_until[name] = (new["metadata"]["uid"], float("inf"))
        elif (known := self._ready_until.get(name)) is not None and known[1] == float("inf"):
            self._ready_until[name] = (known[0], now)

    @property
    def now(self) -> float:
        return self._simulation.now if self._simulation is not None else 0.0

    def _look_at_used_claims(self, name: str, pod: Any) -> None:
        for volume in pod["spec"].get("volumes") or ():
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
            if claim and claim != f"{volume['name']}-{name}":
                self.broken("claims", f"pod {name} uses claim {claim}")

    def _look_at_claim(self, old: Any, new: Any) -> None:
        if old is None and new is not None:
            self._expendable.discard((new["metadata"]["namespace"], new["metadata"]["name"]))
        if new is not None:
            self._made.setdefault(new["metadata"]["uid"], self.now)
            uid, volume = new["metadata"]["uid"], (new.get("spec") or {}).get("volumeName", "")
            if volume and self._volumes.setdefault(uid, volume) != volume:
                self.broken("ownership", f"claim {new['metadata']['name']} got another volume")
        if old is not None and _leaves(new) and not _leaves(old):
            self._look_at_lost_claim(old["metadata"])

    def _look_at_lost_claim(self, metadata: Any) -> None:
        """A claim begins to go: some set's policy must have wanted that, or its namespace goes."""
        namespace, name = metadata["namespace"], metadata["name"]
        if _leaves(self.simulation.find(NAMESPACES, None, namespace)):
            return
        for tree in self.simulation.objects(SETS, namespace):
            self._look_at_set(tree)  # a pod may have been condemned before its claim was made
        gone_with = [
            owner
            for (place, owner), had in self._policies.items()
            if place == namespace and "whenDeleted" in had and (place, owner) in self._dropped
        ]
        made = self._made.get(metadata["uid"], 0.0)
        # a pass under way may make a claim when its set is told to go alone: nobody takes that claim from the set
        gone_with += [owner for owner, at in self._orphaned.items() if made >= at]
        if (namespace, name) in self._expendable or any(f"-{owner}-" in name for owner in gone_with):
            return
        self.broken("claims", f"claim {name} goes, and no retention policy says so")

    def _look_at_volume(self, volume: Any) -> None:
        claim = (volume["spec"].get("claimRef") or {}).get("uid")
        name = volume["metadata"]["name"]
        if claim and self._volumes.setdefault(claim, name) != name:
            self.broken("ownership", f"volumes {self._volumes[claim]} and {name} are of one claim")

    # What the StatefulSet controller decides

    def _requested(self, request: Request) -> None:
        if request.method not in ("POST", "DELETE") or not request.headers.get("user-agent", "").startswith(
            _CONTROLLER
        ):
            return
        found = _POD_PATH.match(request.path)
        if found is None or not self.calm:
            return
        namespace, name = found.group(1), found.group(2) or _decode(request.body)["metadata"]["name"]
        tree = self.simulation.find(SETS, namespace, name.rpartition("-")[0])
        if tree is None:
            return
        since = self.now - STALE_SECONDS
        former = [old for until, old in self._former.get((namespace, tree["metadata"]["name"]), ()) if until >= since]
        judged = [list(self._judge(request.method, one, name)) for one in (tree, *former)]
        if all(judged):  # it may have acted upon any of them
            self.broken(*judged[0][0])
        if request.method == "DELETE":
            self._ready_until.pop((namespace, name), None)  # who takes a pod knows that it is not ready any more

    def _judge(self, method: str, tree: Any, name: str) -> Iterator[tuple[str, str]]:
        """Yield what is wrong with creating or deleting a pod for a set that asks for this."""
        ordinal, first = int(name.rpartition("-")[2]), _start(tree)
        ordered = tree["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        if method == "DELETE" and _wants(tree, ordinal):
            yield from self._judge_replacement(tree, name, ordinal, first if ordered else ordinal)
        elif method == "DELETE" and ordered:
            for pod in self.simulation.objects(PODS, tree["metadata"]["namespace"]):
                other = ordinal_of(tree["metadata"]["name"], pod["metadata"]["name"])
                if other is not None and other > ordinal and not _wants(tree, other):
                    yield "order", f"pod {ordinal} is removed while pod {other} exists"
        elif method == "POST" and ordered:
            for lower in range(first, ordinal):
                if not self._was_ready(tree, lower):
                    yield "order", f"pod {ordinal} is created while pod {lower} is not ready"

    def _judge_replacement(self, tree: Any, name: str, ordinal: int, first: int) -> Iterator[tuple[str, str]]:
        strategy = tree["spec"].get("updateStrategy") or {}
        pod = self.simulation.find(PODS, tree["metadata"]["namespace"], name)
        if pod is None or not is_ready(pod):
            return  # taking it makes nothing worse
        partition = (strategy.get("rollingUpdate") or {}).get("partition") or 0
        if strategy.get("type") == "OnDelete" or ordinal < _start(tree) + partition:
            yield "partition", f"ready pod {ordinal} is taken, which is not to be updated"
        for other in range(first, _start(tree) + tree["spec"].get("replicas", 1)):
            if other != ordinal and not self._was_ready(tree, other):
                yield "availability", f"ready pod {ordinal} is taken while pod {other} is not ready"

    def _was_ready(self, tree: Any, ordinal: int) -> bool:
        return self.was_ready((tree["metadata"]["namespace"], f"{tree['metadata']['name']}-{ordinal}"))

    def was_ready(self, pod: tuple[str, str]) -> bool:
        """Whether a pod is ready, or was until so lately that a controller may not know better."""
        known = self._ready_until.get(pod)
        return known is not None and self.now - known[1] <= STALE_SECONDS

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
        found = list(chain(self._convergence(), self._rollouts.at_rest(), self._names(), self._durability()))
        return found + [text async for text in self._differences()]

    def _convergence(self) -> Iterator[str]:
        for tree in self.simulation.objects(SETS):
            spec, status, name = tree["spec"], tree.get("status") or {}, tree["metadata"]["name"]
            replicas, first = spec.get("replicas", 1), _start(tree)
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

    def _names(self) -> Iterator[str]:
        names = self.simulation.names
        for tree in self.simulation.objects(SETS):
            service, namespace = tree["spec"]["serviceName"], tree["metadata"]["namespace"]
            wanted = tree["spec"]["selector"]["matchLabels"].items()
            addresses = []
            for pod in self.simulation.objects(PODS, namespace):
                if not wanted <= (pod["metadata"].get("labels") or {}).items():
                    continue
                address, name = (pod.get("status") or {}).get("podIP", ""), pod["metadata"]["name"]
                addresses.append(address)
                if ordinal_of(tree["metadata"]["name"], name) is None:
                    continue
                found = names.resolve(f"{name}.{service}", namespace=namespace)
                if found != (address,):
                    yield f"names: {name} has {address} and resolves to {found}"
            found = names.resolve(service, namespace=namespace)
            if sorted(found) != sorted(addresses):
                yield f"names: {service} resolves to {found}, pods have {addresses}"

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
    ("statefulsets", "deployments", "replicasets", "pods", "persistentvolumeclaims", "persistentvolumes",
     "poddisruptionbudgets")
)  # fmt: skip


_DECIDED_UPON: Final = frozenset(("statefulsets", "deployments", "poddisruptionbudgets"))


def _wishes(tree: Any) -> Any:
    """Return what is asked for of a workload, whatever runs in its pods."""
    return {key: value for key, value in tree["spec"].items() if key != "template"}


def _key(obj: Mapping[str, Any]) -> tuple[str, str]:
    return obj["metadata"].get("namespace", ""), obj["metadata"]["name"]


def _same(left: Any, right: Any) -> bool:
    return left is not None and right is not None and {**left, "kind": "", "apiVersion": ""} == {
        **right, "kind": "", "apiVersion": "",
    }  # fmt: skip


def _start(tree: Any) -> int:
    return int((tree["spec"].get("ordinals") or {}).get("start", 0))


def _phase(pod: Any) -> str:
    return str((pod.get("status") or {}).get("phase", ""))


def _wants(tree: Any, ordinal: int) -> bool:
    return bool(0 <= ordinal - _start(tree) < tree["spec"].get("replicas", 1))


def _leaves(obj: Any) -> bool:
    """Whether an object is gone or on its way out."""
    return obj is None or bool(obj["metadata"].get("deletionTimestamp"))


def _claim_ordinal(tree: Any, claim: str) -> int | None:
    for template in tree["spec"].get("volumeClaimTemplates") or ():
        ordinal = ordinal_of(f"{template['metadata']['name']}-{tree['metadata']['name']}", claim)
        if ordinal is not None:
            return ordinal
    return None
