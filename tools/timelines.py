"""Render the timelines of `docs/statefulsets.md`: each is played by the real controllers in virtual time.

    python tools/timelines.py [--check] [NAME...]

Without names the page is written anew; with names these timelines are printed. Scenarios are data, `timelines.yaml`:
what is changed in the manifest, and what is done when. The block after `<!-- timeline: NAME -->` is replaced.

Pods are played too: one runs `runs` seconds after it was made, is ready `ready` seconds after that and is gone `stops`
seconds after it was told to end (`slow` says otherwise for single pods; `broken` names images that never get ready).
Everything else, who is made and ended when, is what the API server, the controllers and the DNS server do.
"""

import argparse
import asyncio
import contextlib
import json
import random
import re
import string
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import dns.message
import dns.rcode
import yaml

from homeport.api.resources import find
from homeport.client.contract import Client, Object, PatchType
from homeport.client.informer import InformerFactory
from homeport.clock import Clock, rfc3339
from homeport.controllers.roster import Controller, Settings, controllers
from homeport.dns.feed import Feed
from homeport.dns.records import Answer, Question
from homeport.dns.server import DnsServer
from homeport.dns.settings import DnsSettings
from homeport.errors import NotFound
from homeport.testing.loop import run_virtual
from homeport.testing.world import World

ROOT: Final = Path(__file__).parents[1]
PAGE: Final = ROOT / "docs" / "statefulsets.md"
SCENARIOS: Final = Path(__file__).with_suffix(".yaml")
BLOCK: Final = re.compile(r"(<!-- timeline: ([\w-]+) -->\n)```\w*\n.*?```\n", re.DOTALL)

NAMESPACE: Final = "default"
SETS, PODS, NODES, SERVICES = find("StatefulSet", "apps"), find("Pod"), find("Node"), find("Service")
CLAIMS, REVISIONS, EVENTS = find("PersistentVolumeClaim"), find("ControllerRevision", "apps"), find("Event")
ACCOUNTS: Final = find("ServiceAccount")
HEARTBEAT_SECONDS: Final = 10.0
SETTLING_SECONDS: Final = 120.0

Tree = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scenario:
    """One timeline.

    spec     merged into the set's spec; `service` into the Service's
    steady   the set is up before the timeline begins; `False` shows how it comes up
    show     what is told beside pods: claims, revisions, nodes, running, events (warnings about the set)
    chance   the order within one instant is chance, as where the garbage collector works: it is not shown
    status   fields of the set's status to tell when they change
    steps    what is done, in order: `{at: SECONDS, WORD: ARGUMENT}`
    until    where the timeline ends, seconds
    """

    steps: Sequence[Mapping[str, Any]]
    until: float
    spec: Mapping[str, Any] = field(default_factory=dict)
    service: Mapping[str, Any] = field(default_factory=dict)
    steady: bool = True
    show: frozenset[str] = frozenset()
    chance: bool = False
    status: tuple[str, ...] = ()
    runs: float = 1
    ready: float = 1
    stops: float = 2
    slow: Mapping[str, float] = field(default_factory=dict)
    broken: frozenset[str] = frozenset()


def read(path: Path = SCENARIOS) -> tuple[Tree, Tree, dict[str, Scenario]]:
    """Return the Service, the set and the scenarios by name."""
    raw = yaml.safe_load(path.read_text())
    scenarios = {
        name: Scenario(
            **{
                **body,
                "show": frozenset(body.get("show", ())),
                "broken": frozenset(body.get("broken", ())),
                "status": tuple(body.get("status", ())),
            }
        )
        for name, body in raw["timelines"].items()
    }
    return raw["service"], raw["set"], scenarios


def merged(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> Tree:
    """Return the tree with changes laid over it, mapping by mapping; null takes away."""
    out = dict(tree)
    for key, value in changes.items():
        inner = out.get(key)
        out[key] = merged(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return {key: value for key, value in out.items() if value is not None}


# -- the cast ----------------------------------------------------------------------------------------------------------


class Cast:
    """Plays the pods of a scenario, and the nodes' signs of life."""

    def __init__(self, world: World, scenario: Scenario, informers: InformerFactory) -> None:
        self._world, self._scenario = world, scenario
        self._client = world.client("cast")
        self._group: asyncio.TaskGroup | None = None
        self._lost: set[str] = set()
        informers.informer(PODS).add_handler(add=self._added, update=self._updated)

    async def run(self) -> None:
        async with asyncio.TaskGroup() as self._group:
            while True:
                for node in self._world.nodes:
                    if node not in self._lost:
                        await self._heartbeat(node)
                await asyncio.sleep(HEARTBEAT_SECONDS)

    def lose(self, node: str) -> None:
        """From now on nobody hears of this node, and it of nobody."""
        self._lost.add(node)

    async def _heartbeat(self, node: str) -> None:
        now = rfc3339(self._world.clock.now())
        condition = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastHeartbeatTime": now}
        try:
            await self._client.patch(
                NODES,
                None,
                node,
                {"status": {"conditions": [condition]}},
                kind=PatchType.STRATEGIC,
                subresource="status",
            )
        except NotFound:
            self._lost.add(node)  # it was deleted

    def _added(self, pod: Object) -> None:
        assert self._group is not None
        self._group.create_task(self._live(pod))

    def _updated(self, old: Object, new: Object) -> None:
        assert self._group is not None
        if terminating(new) and not terminating(old):
            self._group.create_task(self._end(new))

    async def _live(self, pod: Object) -> None:
        with contextlib.suppress(NotFound):
            await self._start(pod, pod["metadata"]["name"])

    async def _start(self, pod: Object, name: str) -> None:
        ordinal = int(name.rpartition("-")[2])
        alive = [node for node in self._world.nodes if node not in self._lost]
        usual = self._world.nodes[ordinal % len(self._world.nodes)]
        await self._world.kubelet.bind(NAMESPACE, name, usual if usual in alive else alive[ordinal % len(alive)])
        await asyncio.sleep(self._scenario.runs)
        if await self._is_there(pod):
            await self._world.kubelet.report(NAMESPACE, name, "Running")
        images = {container["image"] for container in pod["spec"]["containers"]}
        if images & self._scenario.broken:
            return
        await asyncio.sleep(self._scenario.slow.get(name, self._scenario.ready))
        if await self._is_there(pod):
            await self._world.kubelet.report(NAMESPACE, name, "Running", ready=True)

    async def _end(self, pod: Object) -> None:
        await asyncio.sleep(min(self._scenario.stops, pod["metadata"].get("deletionGracePeriodSeconds", 0)))
        if await self._is_there(pod, ending=True):
            await self._world.kubelet.finish(NAMESPACE, pod["metadata"]["name"])

    async def _is_there(self, pod: Object, *, ending: bool = False) -> bool:
        try:
            present = await self._client.get(PODS, NAMESPACE, pod["metadata"]["name"])
        except NotFound:
            return False
        same = present["metadata"]["uid"] == pod["metadata"]["uid"]
        return same and present["spec"].get("nodeName") not in self._lost and (ending or not terminating(present))


def terminating(obj: Object) -> bool:
    return "deletionTimestamp" in obj["metadata"]


# -- the chronicle -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """`version` orders what happens in one instant; rows of one instant that say the same of others become one."""

    at: float
    version: int
    subject: str
    text: str


class Chronicle:
    """Writes down what becomes of a set's objects, as a watch tells it."""

    def __init__(self, scenario: Scenario, informers: InformerFactory, clock: Clock) -> None:
        self._scenario, self._clock = scenario, clock
        self._letters: dict[str, str] = {}
        self._told: set[str] = set()
        self.pods: dict[str, Object] = {}
        self.rows: list[Row] = []
        self.version = 0
        informers.informer(PODS).add_handler(add=self._pod_added, update=self._pod_changed, delete=self._pod_gone)
        informers.informer(SETS).add_handler(update=self._set_changed, delete=self._gone)
        if "events" in scenario.show:
            informers.informer(EVENTS).add_handler(add=self._event)
        if "claims" in scenario.show:
            informers.informer(CLAIMS).add_handler(add=self._claim, update=self._claim_changed, delete=self._gone)
        informers.informer(REVISIONS).add_handler(
            add=self._revision, update=self._renumbered, delete=self._gone if "revisions" in scenario.show else None
        )
        informers.informer(NODES).add_handler(update=self._node_changed)

    def note(self, obj: Object, text: str, subject: str = "") -> None:
        self.version = max(self.version, int(obj["metadata"]["resourceVersion"]))
        subject = subject or obj["metadata"]["name"]
        self.rows.append(Row(self._clock.now(), int(obj["metadata"]["resourceVersion"]), subject, text))

    def letter(self, revision: str) -> str:
        return self._letters.get(revision, revision)

    def _pod_added(self, pod: Object) -> None:
        self.pods[pod["metadata"]["name"]] = pod
        revision = self.letter(pod["metadata"]["labels"].get("controller-revision-hash", ""))
        self.note(pod, f"created (revision {revision})" if "revisions" in self._scenario.show else "created")

    def _pod_changed(self, old: Object, new: Object) -> None:
        if old["metadata"]["uid"] != new["metadata"]["uid"]:
            self._pod_gone(old)
            self._pod_added(new)
            return
        self.pods[new["metadata"]["name"]] = new
        if "nodes" in self._scenario.show and old["spec"].get("nodeName") != new["spec"].get("nodeName"):
            self.note(new, f"placed on {new['spec']['nodeName']}")
        before, after = condition(old), condition(new)
        phase = new["status"].get("phase")
        if phase != old["status"].get("phase") and phase in ("Failed", "Succeeded"):
            self.note(new, phase.lower())
        elif after != before and (before or after):
            self.note(new, "ready" if after else "not ready")
        elif phase != old["status"].get("phase") and "running" in self._scenario.show:
            self.note(new, "running, not ready")
        if terminating(new) and not terminating(old):
            self.note(new, "terminating")
        if owners(old) != owners(new):
            self.note(new, f"owned by {owners(new) or 'nobody'}")

    def _pod_gone(self, pod: Object) -> None:
        self.pods.pop(pod["metadata"]["name"], None)
        self.note(pod, "gone")

    def _gone(self, obj: Object) -> None:
        self.note(obj, "gone", self._name(obj))

    def _name(self, obj: Object) -> str:
        name = obj["metadata"]["name"]
        known = {"PersistentVolumeClaim": f"claim {name}", "StatefulSet": f"set {name}"}
        return known.get(obj["kind"], f"revision {self.letter(name)}")

    def _set_changed(self, old: Object, new: Object) -> None:
        for name in self._scenario.status:
            before, after = (obj.get("status", {}).get(name, 0) for obj in (old, new))
            if before != after:
                shown = self.letter(after) if isinstance(after, str) else after
                self.note(new, f"status.{name} is {shown}", f"set {new['metadata']['name']}:")

    def _claim(self, claim: Object) -> None:
        owner = owners(claim)
        self.note(claim, "created" + (f", owned by {owner}" if owner else ""), self._name(claim))

    def _claim_changed(self, old: Object, new: Object) -> None:
        if owners(old) != owners(new):
            self.note(new, f"owned by {owners(new) or 'nobody'}", self._name(new))
        if terminating(new) and not terminating(old):
            self.note(new, "terminating", self._name(new))

    def _revision(self, revision: Object) -> None:
        name = revision["metadata"]["name"]
        self._letters.setdefault(name, string.ascii_uppercase[len(self._letters)])
        if "revisions" in self._scenario.show:
            (container,) = revision["data"]["spec"]["template"]["spec"]["containers"]
            text = f"recorded as number {revision['revision']}: {container['image']}"
            self.note(revision, text, self._name(revision))

    def _renumbered(self, old: Object, new: Object) -> None:
        if old["revision"] != new["revision"]:
            self.note(new, f"becomes number {new['revision']}", self._name(new))
        if owners(old) != owners(new):
            self.note(new, f"owned by {owners(new) or 'nobody'}", self._name(new))

    def _node_changed(self, old: Object, new: Object) -> None:
        before, after = (condition(obj, "Unknown") for obj in (old, new))
        if after and not before:
            self.note(new, "counts as lost: its Ready is Unknown")
        known = old["spec"].get("taints", ())
        added = [taint for taint in new["spec"].get("taints", ()) if taint not in known]
        if added:
            effects = ", ".join(sorted(taint["effect"] for taint in added))
            self.note(new, f"tainted {added[0]['key']} ({effects})")

    def _event(self, event: Object) -> None:
        text = f"{event['reason']}: {event['message']}"
        if event["type"] == "Warning" and event["involvedObject"]["kind"] == "StatefulSet" and text not in self._told:
            self._told.add(text)
            self.note(event, text, "event")


def condition(obj: Object, status: str = "True") -> bool:
    conditions = obj.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == status for each in conditions)


def owners(obj: Object) -> str:
    references = obj["metadata"].get("ownerReferences", ())
    return ", ".join(f"{reference['kind']} {reference['name']}" for reference in references)


# -- the play ----------------------------------------------------------------------------------------------------------


class Play:
    """One scenario in a world of its own."""

    def __init__(self, service: Tree, set_: Tree, scenario: Scenario) -> None:
        self.scenario = scenario
        self.service = merged(service, {"spec": scenario.service})
        self.set = merged(set_, {"spec": scenario.spec})
        self.name = set_["metadata"]["name"]
        self.world = World(seed=1, roster=roster)
        self.world.kubelet.set({"bind": False, "run": False, "finish": False})
        self.client = self.world.client("kubectl")
        self.addresses: dict[str, str] = {}

    async def run(self) -> str:
        async with self.world as world:
            self.informers = world.watching()
            self.cast = Cast(world, self.scenario, self.informers)
            self.chronicle = Chronicle(self.scenario, self.informers, world.clock)
            self.dns = DnsServer(DnsSettings(shuffle=False), world.clock, random.Random(1), nobody)
            feed = Feed(self.informers, self.dns)
            for runner in (self.cast, self.informers, feed):
                world.start(runner)
            await self.informers.synced()
            await self.client.create(SERVICES, self.service, NAMESPACE)
            if self.scenario.steady:
                await self.client.create(SETS, self.set, NAMESPACE)
                await world.pass_time(SETTLING_SECONDS)
            return await self._play()

    async def _play(self) -> str:
        start, rows = self.world.clock.now(), self.chronicle.rows
        head = self._steady(rows)
        rows.clear()
        for step in self.scenario.steps:
            await self.world.pass_time(start + step["at"] - self.world.clock.now())
            ((word, argument),) = ((key, value) for key, value in step.items() if key != "at")
            await self._do(word, argument)
        await self.world.pass_time(start + self.scenario.until - self.world.clock.now())
        return "\n".join([*head, *lines(rows, start, chance=self.scenario.chance)])

    def _steady(self, before: Sequence[Row]) -> list[str]:
        if not self.scenario.steady:
            return []
        difference = flow(self.scenario.spec)
        made = [f"{row.subject} {row.text}" for row in before if row.text.startswith("recorded")]
        pods = ", ".join(sorted(pod for pod, tree in self.chronicle.pods.items() if condition(tree)))
        head = f"{'':7}{pods} ready" + (f"   # {difference}" if difference else "")
        return [head, *(f"{'':7}{text}" for text in made)]

    def say(self, text: str) -> None:
        """Write down what is done, after all that has happened so far."""
        self.chronicle.rows.append(Row(self.world.clock.now(), self.chronicle.version, "", text))

    async def _do(self, word: str, argument: Any) -> None:
        kubelet, where, name = self.world.kubelet, f"statefulset/{self.name}", self.name
        match word:
            case "apply":
                self.say(f"$ kubectl apply -f {name}.yaml" + comment(argument))
                await self.client.create(SETS, merged(self.set, {"spec": argument or {}}), NAMESPACE)
            case "scale":
                self.say(f"$ kubectl scale {where} --replicas={argument}")
                await self.client.patch(SETS, NAMESPACE, name, {"spec": {"replicas": argument}}, subresource="scale")
            case "image":
                self.say(f"$ kubectl set image {where} app={argument}")
                containers = [{"name": "app", "image": argument}]
                await self._patch({"spec": {"template": {"spec": {"containers": containers}}}})
            case "patch":
                self.say(f"$ kubectl patch {where} -p '{json.dumps(argument)}'")
                await self._patch(argument)
            case "undo":
                self.say(f"$ kubectl rollout undo {where}")
                revisions = (await self.client.list(REVISIONS, NAMESPACE)).items
                *_, earlier, _last = sorted(revisions, key=lambda revision: revision["revision"])
                await self._patch(earlier["data"])
            case "delete-pod" | "force-delete-pod":
                grace = 0 if word.startswith("force") else None
                self.say(f"$ kubectl delete pod {argument}" + (" --force --grace-period=0" if grace == 0 else ""))
                await self.client.delete(PODS, NAMESPACE, argument, grace_seconds=grace)
            case "delete-claim":
                self.say(f"$ kubectl delete pvc {argument} --wait=false")
                await self.client.delete(CLAIMS, NAMESPACE, argument)
            case "delete-set":
                self.say(f"$ kubectl delete {where}" + (" --cascade=orphan" if argument == "Orphan" else ""))
                await self.client.delete(SETS, NAMESPACE, name, propagation=argument)
            case "delete-node":
                self.say(f"$ kubectl delete node {argument}")
                await self.client.delete(NODES, None, argument)
            case "lose-node":
                self.say(f"({argument} loses its power)")
                self.cast.lose(argument)
            case "fail":
                self.say(f"(the node evicts {argument})")
                await kubelet.report(NAMESPACE, argument, "Failed")
            case "crash":
                self.say(f"(the process of {argument} ends and is started again in place)")
                await kubelet.report(NAMESPACE, argument, "Running", restarts=1)
            case "unready":
                self.say(f"(the readiness probe of {argument} fails)")
                await kubelet.report(NAMESPACE, argument, "Running")
            case "ready":
                self.say(f"(the readiness probe of {argument} succeeds)")
                await kubelet.report(NAMESPACE, argument, "Running", ready=True)
            case "create-account":
                self.say(f"$ kubectl create serviceaccount {argument}")
                await self.client.create(ACCOUNTS, {"metadata": {"name": argument}}, NAMESPACE)
            case "get":
                self.say(f"$ kubectl get {where}")
                present = await self.client.get(SETS, NAMESPACE, name)
                self.say(f"-> READY {present['status'].get('readyReplicas', 0)}/{present['spec']['replicas']}")
            case "dig":
                self.say(f"$ homeport dig {argument}")
                await self._dig(argument)
            case _:
                raise ValueError(f"no such step: {word}")

    async def _patch(self, body: Mapping[str, Any]) -> None:
        await self.client.patch(SETS, NAMESPACE, self.name, body, kind=PatchType.STRATEGIC)

    async def _dig(self, name: str) -> None:
        wire = await self.dns.respond(dns.message.make_query(f"{name}.", "A").to_wire(), False)
        assert wire is not None
        reply = dns.message.from_wire(wire)
        pods = {pod["status"].get("podIP"): pod["metadata"]["name"] for pod in self.chronicle.pods.values()}
        found = sorted((pods[str(rdata)], str(rdata)) for rrset in reply.answer for rdata in rrset)
        answers = ", ".join(f"{pod} ({self._shown(address)})" for pod, address in found)
        self.say("-> " + (answers or dns.rcode.to_text(reply.rcode())))

    def _shown(self, address: str) -> str:
        """Return an address as it is shown: which pod got which is chance, so they are counted as they are seen."""
        return self.addresses.setdefault(address, f"10.244.0.{len(self.addresses) + 2}")


async def nobody(_: Question) -> Answer | None:
    return None


def roster(client_for: Callable[[str], Client], clock: Clock, informers: InformerFactory) -> Sequence[Controller]:
    """Return every controller, those that watch over nodes among them."""
    return controllers(client_for, clock, informers, Settings("ca\n"))


@dataclass(slots=True)
class Line:
    """What is said of several subjects of one kind in one instant."""

    at: float
    kind: str
    names: list[str]
    text: str

    def __str__(self) -> str:
        kind = f"{self.kind}s" if len(self.names) > 1 and self.kind else self.kind
        return " ".join(filter(None, (kind, ", ".join(sorted(self.names)), self.text)))


def lines(rows: Sequence[Row], start: float, *, chance: bool = False) -> list[str]:
    """Return rows as text: the second where it changes, and what happened."""
    out: list[str] = []
    last = None
    for line in gathered(rows, chance=chance):
        second = f"{round(line.at - start, 1):g}s"
        out.append(f"{second if second != last else '':>5}  {line}")
        last = second
    return out


def gathered(rows: Sequence[Row], *, chance: bool) -> list[Line]:
    """Join what is said of several in one instant; which of them was first is nobody's promise."""
    out: list[Line] = []
    for row in sorted(rows, key=lambda row: (round(row.at, 1), row.version)):
        kind, _, name = row.subject.rpartition(" ")
        line = _joinable(out, row, kind, name) if name else None
        if line is None:
            out.append(Line(round(row.at, 1), kind, [name] if name else [], row.text))
        else:
            line.names.append(name)
    if chance:
        out.sort(key=lambda line: (line.at, str(line) if line.names else ""))
    return out


def _joinable(out: Sequence[Line], row: Row, kind: str, name: str) -> Line | None:
    """Return the line of this instant that says the same, unless something was done or befell the same one since."""
    for line in reversed(out):
        if line.at != round(row.at, 1) or not line.names or name in line.names:
            return None
        if (line.kind, line.text) == (kind, row.text):
            return line
    return None


def comment(changes: Mapping[str, Any] | None) -> str:
    return f"   # {flow(changes)}" if changes else ""


def flow(changes: Mapping[str, Any]) -> str:
    """Return changes to a spec on one line: `replicas: 3, ordinals.start: 2`."""
    parts = []
    for key, value in changes.items():
        if isinstance(value, Mapping):
            parts += [f"{key}.{inner}" for inner in flow(value).split(", ")]
        else:
            parts.append(f"{key}: {'null' if value is None else value}")
    return ", ".join(parts)


# -- the page ----------------------------------------------------------------------------------------------------------


def manifest() -> str:
    """Return the manifest all timelines start from."""
    service, set_, _ = read()
    return yaml.safe_dump_all([service, set_], sort_keys=False, default_flow_style=None, width=110).rstrip()


def timeline(name: str) -> str:
    """Play one scenario. Raises KeyError when there is none of the name."""
    service, set_, scenarios = read()
    return run_virtual(lambda: Play(service, set_, scenarios[name]).run())


def rendered(page: str) -> str:
    """Return the page with every block made anew. Raises KeyError for a block without a scenario."""

    def block(found: re.Match[str]) -> str:
        head, name = found.groups()
        kind, text = ("yaml", manifest()) if name == "manifest" else ("text", timeline(name))
        return f"{head}```{kind}\n{text}\n```\n"

    return BLOCK.sub(block, page)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when the page is out of date")
    options = parser.parse_args(arguments)
    for name in options.names:
        print(f"-- {name}\n{timeline(name)}")
    if options.names:
        return 0
    page = PAGE.read_text()
    new = rendered(page)
    if options.check:
        return int(new != page)
    PAGE.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
