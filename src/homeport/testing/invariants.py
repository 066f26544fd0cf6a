"""What must hold in every history of a cluster, whatever goes wrong.

All the way:
    identity       never do containers of two pods of one name run at once, on whatever nodes
    order          OrderedReady: a pod is created once all before it are ready, removed once all after it are gone
    availability   a rolling update takes a ready pod only while all pods it has to wait for are ready
    ownership      never two controllers of one object, two volumes of one claim, or another volume for a bound claim
    claims         a claim goes only when its set's retention policy says so
    phases         a terminal phase is never left

At rest (`at_rest`):
    convergence    the set has the pods it wants, all ready and up to date
    names          a ready pod's name leads to it; nobody else's does
    observers      who only watched knows exactly what a listing says
    durability     every write that was answered with success happened

Source of the rules: workloads 2 to 7 of the specification; KEP-961, KEP-1847, KEP-3335.
"""

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

import msgspec

from homeport.api.exchange import Request, Response
from homeport.api.resources import find
from homeport.client.informer import Informer
from homeport.node.runtime.contract import ContainerSpec
from homeport.store.contract import Event
from homeport.testing.simulation import Simulation

__all__ = ["Invariants", "Violation"]

STALE_SECONDS: Final = 1.0
"""How old what a controller acts upon may be, while nothing disturbs it."""

SETS: Final = find("StatefulSet", "apps")
PODS: Final = find("Pod")
CLAIMS: Final = find("PersistentVolumeClaim")
SERVICES: Final = find("Service")
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
        self._condemned: set[tuple[str, str]] = set()  # pods that were one too many since they were created
        self._revisions: set[int] = set()
        self._answered: list[tuple[str, int]] = []
        self._disturbed_until = 0.0
        self._renewed_at = float("-inf")

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

    def disturbed(self, seconds: float) -> None:
        """Say that for so long controllers may act upon old news, which no rule forbids."""
        self._disturbed_until = max(self._disturbed_until, self.simulation.now + seconds)

    def check(self) -> None:
        """Raise Violation if a promise was broken."""
        if self.violations:
            raise Violation(self.violations[0])

    def _broken(self, rule: str, text: str) -> None:
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
                    self._broken("identity", f"{who[1]} starts on {node} while an earlier one runs on {machine.name}")
                elif labels["container"] == spec.labels["container"]:
                    self._broken("identity", f"{labels['container']} of {who[1]} starts on {node} and runs already")

    def changed(self, event: Event) -> None:
        """A change is durable."""
        self._revisions.add(event.revision)
        parts = event.key.removeprefix("/registry/").split("/")
        new = _decode(event.entry.value) if event.entry is not None else None
        old = _decode(event.previous.value) if event.previous is not None and parts[0] in _LOOKED_BACK else None
        if new is not None:
            self._look_at_owners(event.key, new)
        if parts[:2] == ["apps", "statefulsets"] and new is not None:
            self._look_at_set(new)
            if new["metadata"]["generation"] != new.get("status", {}).get("observedGeneration"):
                self._renewed_at = self._now  # who decides may not have heard of it yet
        elif parts[0] == "pods":
            self._look_at_pod((parts[1], parts[2]), old, new)
        elif parts[0] == "persistentvolumeclaims":
            self._look_at_claim(old, new)
        elif parts[0] == "persistentvolumes" and new is not None:
            self._look_at_volume(new)

    def _look_at_owners(self, key: str, obj: Any) -> None:
        owners = [one for one in obj["metadata"].get("ownerReferences") or () if one.get("controller")]
        if len(owners) > 1:
            self._broken("ownership", f"{key} has {len(owners)} controllers")

    def _look_at_set(self, tree: Any) -> None:
        name, namespace = tree["metadata"]["name"], tree["metadata"]["namespace"]
        for pod in self._pods:
            ordinal = _ordinal(name, pod[1]) if pod[0] == namespace else None
            if ordinal is not None and ordinal >= _start(tree) + tree["spec"].get("replicas", 1):
                self._condemned.add(pod)

    def _look_at_pod(self, name: tuple[str, str], old: Any, new: Any) -> None:
        if old is None:
            self._pods.add(name)
            self._condemned.discard(name)
        elif new is None:
            self._pods.discard(name)
        if old is not None and new is not None:
            before, after = _phase(old), _phase(new)
            if before in _TERMINAL and before != after:
                self._broken("phases", f"pod {name[1]} went from {before} to {after}")
        now = self._now
        if new is not None and _is_ready(new):
            self._ready_until[name] = (new["metadata"]["uid"], float("inf"))
        elif (known := self._ready_until.get(name)) is not None and known[1] == float("inf"):
            self._ready_until[name] = (known[0], now)

    @property
    def _now(self) -> float:
        return self._simulation.now if self._simulation is not None else 0.0

    def _look_at_claim(self, old: Any, new: Any) -> None:
        if new is not None:
            uid, volume = new["metadata"]["uid"], (new.get("spec") or {}).get("volumeName", "")
            if volume and self._volumes.setdefault(uid, volume) != volume:
                self._broken("ownership", f"claim {new['metadata']['name']} got another volume")
        leaves = new is None or bool(new["metadata"].get("deletionTimestamp"))
        left = old is not None and bool(old["metadata"].get("deletionTimestamp"))
        if leaves and not left and old is not None:
            self._look_at_lost_claim(old)

    def _look_at_lost_claim(self, claim: Any) -> None:
        """A claim begins to go: some set's policy must have wanted that."""
        metadata = claim["metadata"]
        for tree in self.simulation.objects(SETS, metadata["namespace"]):
            ordinal = _claim_ordinal(tree, metadata["name"])
            if ordinal is None:
                continue
            policy = (tree["spec"].get("persistentVolumeClaimRetentionPolicy") or {}).get("whenScaled", "Retain")
            wanted = ordinal < _start(tree) + tree["spec"].get("replicas", 1)
            pod = (metadata["namespace"], f"{tree['metadata']['name']}-{ordinal}")
            if policy != "Delete" or (wanted and pod not in self._condemned):
                self._broken("claims", f"claim {metadata['name']} goes, and whenScaled is {policy}")

    def _look_at_volume(self, volume: Any) -> None:
        claim = (volume["spec"].get("claimRef") or {}).get("uid")
        name = volume["metadata"]["name"]
        if claim and self._volumes.setdefault(claim, name) != name:
            self._broken("ownership", f"volumes {self._volumes[claim]} and {name} are of one claim")

    # What the StatefulSet controller decides

    def _requested(self, request: Request) -> None:
        if request.method not in ("POST", "DELETE") or not request.headers.get("user-agent", "").startswith(
            _CONTROLLER
        ):
            return
        found = _POD_PATH.match(request.path)
        if found is None or self._now < max(self._disturbed_until, self._renewed_at + STALE_SECONDS):
            return
        namespace, name = found.group(1), found.group(2) or _decode(request.body)["metadata"]["name"]
        tree = self.simulation.find(SETS, namespace, name.rpartition("-")[0])
        if tree is None:
            return
        ordinal, first = int(name.rpartition("-")[2]), (tree["spec"].get("ordinals") or {}).get("start", 0)
        ordered = tree["spec"].get("podManagementPolicy", "OrderedReady") == "OrderedReady"
        if request.method == "POST":
            if ordered:
                self._look_at_creation(namespace, tree, ordinal, first)
        elif ordinal >= first + tree["spec"].get("replicas", 1):
            if ordered:
                self._look_at_removal(namespace, tree, ordinal)
        else:
            self._look_at_replacement(namespace, tree, ordinal, first if ordered else ordinal)

    def _look_at_creation(self, namespace: str, tree: Any, ordinal: int, first: int) -> None:
        for lower in range(first, ordinal):
            if not self._was_ready(namespace, f"{tree['metadata']['name']}-{lower}"):
                self._broken("order", f"pod {ordinal} is created while pod {lower} is not ready")

    def _look_at_removal(self, namespace: str, tree: Any, ordinal: int) -> None:
        name = tree["metadata"]["name"]
        for pod in self.simulation.objects(PODS, namespace):
            other = _ordinal(name, pod["metadata"]["name"])
            if other is not None and other > ordinal:
                self._broken("order", f"pod {ordinal} is removed while pod {other} exists")

    def _look_at_replacement(self, namespace: str, tree: Any, ordinal: int, first: int) -> None:
        name = tree["metadata"]["name"]
        pod = self.simulation.find(PODS, namespace, f"{name}-{ordinal}")
        if pod is None or not _is_ready(pod):
            return  # taking it makes nothing worse
        for other in range(first, first + tree["spec"].get("replicas", 1) - (first - _start(tree))):
            if other != ordinal and not self._was_ready(namespace, f"{name}-{other}"):
                self._broken("availability", f"ready pod {ordinal} is taken while pod {other} is not ready")

    def _was_ready(self, namespace: str, name: str) -> bool:
        """Whether a pod is ready, or was until so lately that a controller may not know better."""
        known = self._ready_until.get((namespace, name))
        return known is not None and self._now - known[1] <= STALE_SECONDS

    def _answer(self, request: Request, response: Response) -> None:
        if request.method not in ("POST", "PUT", "PATCH") or response.status >= 300:
            return
        answer = response.document if response.document is not None else _decode(response.body or b"{}")
        metadata = answer.get("metadata") or {}
        if metadata.get("resourceVersion") and "dryRun" not in dict(request.query):
            self._answered.append((f"{request.method} {request.path}", int(metadata["resourceVersion"])))

    # At rest

    async def at_rest(self) -> None:
        """Check what must hold once everything is well again and nothing moves. Raises Violation."""
        self.check()
        for look in (self._convergence, self._names, self._durability):
            self.violations += look()
        self.violations += [text async for text in self._differences()]
        self.check()

    def _convergence(self) -> Iterator[str]:
        for tree in self.simulation.objects(SETS):
            spec, status, name = tree["spec"], tree.get("status") or {}, tree["metadata"]["name"]
            wanted = [f"{name}-{ordinal}" for ordinal in range(_start(tree), _start(tree) + spec.get("replicas", 1))]
            pods = [pod for pod in self.simulation.objects(PODS) if _ordinal(name, pod["metadata"]["name"]) is not None]
            ready = sorted(pod["metadata"]["name"] for pod in pods if _is_ready(pod))
            if sorted(wanted) != ready or len(pods) != len(ready):
                yield f"convergence: {name} wants {wanted}; there are {len(pods)} pods, ready are {ready}"
            if status.get("observedGeneration") != tree["metadata"]["generation"]:
                yield f"convergence: {name} has not been looked at since its last change"
            if status.get("readyReplicas", 0) != spec.get("replicas", 1):
                yield f"convergence: {name} says readyReplicas={status.get('readyReplicas', 0)}"
            if status.get("currentRevision") != status.get("updateRevision"):
                yield f"convergence: {name} still has two revisions"

    def _names(self) -> Iterator[str]:
        names = self.simulation.names
        for tree in self.simulation.objects(SETS):
            service, namespace = tree["spec"]["serviceName"], tree["metadata"]["namespace"]
            addresses = []
            for pod in self.simulation.objects(PODS, namespace):
                if _ordinal(tree["metadata"]["name"], pod["metadata"]["name"]) is None:
                    continue
                address = pod["status"].get("podIP", "")
                addresses.append(address)
                found = names.resolve(f"{pod['metadata']['name']}.{service}", namespace=namespace)
                if found != (address,):
                    yield f"names: {pod['metadata']['name']} has {address} and resolves to {found}"
            found = names.resolve(service, namespace=namespace)
            if sorted(found) != sorted(addresses):
                yield f"names: {service} resolves to {found}, pods have {addresses}"

    def _durability(self) -> Iterator[str]:
        for what, revision in self._answered:
            if revision not in self._revisions:
                yield f"durability: {what} was answered with revision {revision}, which never happened"

    async def _differences(self) -> AsyncIterator[str]:
        client = self.simulation.client("invariants")
        for informer in self._observers:
            listed = {_key(obj): obj for obj in (await client.list(informer.resource)).items}
            known = {_key(obj): obj for obj in informer.list()}
            for key in listed.keys() | known.keys():
                if not _same(listed.get(key), known.get(key)):
                    yield f"observers: {informer.resource.plural} {'/'.join(key)} is not what the listing says"


_LOOKED_BACK: Final = frozenset({"pods", "persistentvolumeclaims"})


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


def _is_ready(pod: Any) -> bool:
    if pod["metadata"].get("deletionTimestamp"):
        return False
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def _ordinal(owner: str, pod: str) -> int | None:
    found = re.fullmatch(rf"{re.escape(owner)}-(\d+)", pod)
    return int(found.group(1)) if found else None


def _claim_ordinal(tree: Any, claim: str) -> int | None:
    for template in tree["spec"].get("volumeClaimTemplates") or ():
        ordinal = _ordinal(f"{template['metadata']['name']}-{tree['metadata']['name']}", claim)
        if ordinal is not None:
            return ordinal
    return None
