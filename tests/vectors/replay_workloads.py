"""Replay the recorded workload scenarios in virtual time and compare what came of every step.

    python tests/vectors/replay_workloads.py [--topic T] [--name N] [-v] [--write]

Each scenario runs in a world of its own: memory store, API server, the real controllers, a fake kubelet.
"""

import argparse
import json
import logging
import re
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from homeport.api.exchange import Request
from homeport.api.resources import RESOURCES, Resource
from homeport.client.informer import InformerFactory
from homeport.controllers.roster import Settings as ControllerSettings
from homeport.controllers.roster import controllers
from homeport.server.settings import Settings
from homeport.testing.loop import run_virtual
from homeport.testing.world import World, everything
from tests.vectors.load import load, topics
from tests.vectors.workload_facts import NAMESPACE, STATE, Names, alike, clean, facts, localise, normalise

SLOW = {"cronjob", "endpoints", "job"}
KINDS: Mapping[str, Resource] = {
    resource.kind: resource for resource in reversed(RESOURCES) if resource.group != "events.k8s.io"
}
EVENTS_KEPT = 20
"""About one object; what comes later depends on the client's own limit."""
PAUSE_SECONDS = 0
"""Between two pods a step treats: controllers act in between."""
FURNITURE = {("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")}
RECORDED = [kind for kind in (*STATE, "Service", "Namespace", "Node") if kind in KINDS]
COLLECTED = {"ControllerRevision", "PersistentVolumeClaim"}

Row = dict[str, Any]


class Recorder:
    """Follows every object of the scenario and tells changes, status writes, events and state as recordings do."""

    def __init__(self, informers: InformerFactory, *, tracked: bool, furniture: bool, nodes_shown: bool) -> None:
        self.names = Names(tracked=tracked, nodes_shown=nodes_shown)
        self.furniture = furniture
        self.objects: dict[tuple[str, str], Mapping[str, Any]] = {}
        self.raw: list[tuple[int, list[Row]]] = []
        self.statuses: list[tuple[int, Row]] = []
        self.emitted: list[tuple[Row, int]] = []
        for kind in RECORDED:
            informers.informer(KINDS[kind]).add_handler(add=self._add, update=self._update, delete=self._delete)
        informers.informer(KINDS["Event"]).add_handler(add=self._event, update=self._event_again)

    def begin(self, topic: str) -> None:
        """Forget what the namespace's own creation showed, except where that is the topic."""
        hidden = {"accounts": {"Namespace"}, "namespace": set()}.get(topic)
        kept = [] if hidden is None else [(n, rows) for n, rows in self.raw if rows[0]["kind"] not in hidden]
        self.clear()
        self.raw = kept

    def clear(self) -> None:
        self.raw, self.statuses, self.emitted = [], [], []

    def concerns(self, obj: Mapping[str, Any]) -> bool:
        metadata = obj["metadata"]
        where = metadata.get("namespace")
        return where == NAMESPACE if where else NAMESPACE in metadata["name"]

    def _note(self, obj: Mapping[str, Any], rows: list[Row]) -> None:
        shown = (obj["kind"], obj["metadata"]["name"]) not in FURNITURE or self.furniture
        if rows and shown:
            self.raw.append((int(obj["metadata"]["resourceVersion"]), rows))

    def _add(self, obj: Mapping[str, Any]) -> None:
        if not self.concerns(obj):
            return
        self.names.see(obj)
        self.objects[obj["kind"], obj["metadata"]["name"]] = obj
        known = facts(obj, self.names)
        self._note(obj, [{"op": "create", "kind": obj["kind"], "name": normalise(self.names.of(obj)), **known}])
        if "deletionTimestamp" in obj["metadata"]:
            self._note(obj, [self._row("terminating", obj)])

    def _update(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        if not self.concerns(new):
            return
        if old["metadata"]["uid"] != new["metadata"]["uid"]:
            self._delete(old)
            self._add(new)
            return
        self.objects[new["kind"], new["metadata"]["name"]] = new
        rows = []
        if "deletionTimestamp" in new["metadata"] and "deletionTimestamp" not in old["metadata"]:
            rows.append(self._row("terminating", new))
        before, after = facts(old, self.names), facts(new, self.names)
        changed = {
            name: after.get(name) for name in before.keys() | after.keys() if before.get(name) != after.get(name)
        }
        if changed:
            rows.append({**self._row("modify", new), **changed})
        self._note(new, rows)
        if new["kind"] == "StatefulSet" and old.get("status") != new.get("status"):
            self.statuses.append((int(new["metadata"]["resourceVersion"]), dict(new.get("status") or {})))

    def _delete(self, obj: Mapping[str, Any]) -> None:
        if self.concerns(obj):
            self.objects.pop((obj["kind"], obj["metadata"]["name"]), None)
            self._note(obj, [self._row("gone", obj)])

    def _row(self, op: str, obj: Mapping[str, Any]) -> Row:
        return {"op": op, "kind": obj["kind"], "name": normalise(self.names.of(obj))}

    def _event(self, event: Mapping[str, Any]) -> None:
        self.emitted.append((event, event.get("count", 1)))

    def _event_again(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
        self.emitted.append((new, new.get("count", 1) - old.get("count", 1)))

    def changes(self) -> list[Row]:
        return [row for _, rows in sorted(self.raw, key=lambda entry: entry[0]) for row in rows]

    def events(self, *, claims: bool) -> list[Row]:
        out = []
        for event, count in self.emitted:
            about = event["involvedObject"]
            if about.get("namespace") != NAMESPACE or (about["kind"] == "PersistentVolumeClaim" and not claims):
                continue
            name = self.names.numbers.get(about["name"], about["name"])
            row = {
                "about": normalise(f"{about['kind']}/{name}"),
                "message": normalise(self.names.inside(event["message"])),
                "reason": event["reason"],
                "type": event["type"],
            }
            out += [row] * count
        return out

    def state(self) -> dict[str, list[Row]]:
        out: dict[str, list[Row]] = {}
        for (kind, _), obj in self.objects.items():
            if kind in STATE:
                name, row_of = STATE[kind]
                out.setdefault(name, []).append(normalise(row_of(obj, self.names)))
        if not self.names.tracked:
            out["pods"] = fold(out.get("pods", []))
        return out


def fold(rows: Sequence[Row]) -> list[Row]:
    """Count interchangeable pods instead of listing them."""
    counts = Counter(json.dumps(row, sort_keys=True) for row in rows)
    return [
        json.loads(text) | ({} if "incarnation" in json.loads(text) else {"count": n}) for text, n in counts.items()
    ]


def merge(rows: Sequence[Row]) -> list[Row]:
    """Add up the counts of rows that are alike now."""
    counts: Counter[str] = Counter()
    for row in rows:
        counts[canon({name: value for name, value in row.items() if name != "count"})] += row.get("count", 1)
    return [{**json.loads(text), "count": count} for text, count in counts.items()]


def with_nodes_watched(client_for: Any, clock: Any, informers: InformerFactory) -> Sequence[Any]:
    """Return every controller, that of nodes as well: such scenarios are over before a node is missed."""
    return controllers(client_for, clock, informers, ControllerSettings("ca\n", claim_retell_seconds=5.0))


class Scenario:
    """One scenario in a world of its own."""

    def __init__(self, topic: str, scenario: Row, roster: Any, *, nodes_alike: bool = False) -> None:
        self.topic, self.scenario, self.nodes_alike = topic, scenario, nodes_alike
        self.step_seconds = 1.8 if topic in SLOW else 0.6
        roster = roster or (with_nodes_watched if scenario.get("nodes") else everything)
        nodes = () if scenario.get("nodes") else ("node-1", "node-2", "node-3")
        self.world = World(seed=1, settings=SETTINGS, roster=roster, nodes=nodes)
        self.kubelet = self.world.kubelet
        self.kubelet.set(switches(scenario.get("kubelet", {})))
        self.furniture = topic in ("accounts", "namespace")
        self.watching = InformerFactory(self.world.client("recorder"), self.world.rng)
        self.recorder = Recorder(
            self.watching,
            tracked=scenario.get("names") == "tracked",
            furniture=self.furniture,
            nodes_shown=topic == "daemonset",
        )
        self.differences: list[str] = []
        self.last_state: Any = None
        self.told: Counter[str] = Counter()
        self.tells_events = any("events" in step["then"] for step in scenario["steps"])

    async def run(self) -> list[str]:
        async with self.world as world:
            task = world.start(self.watching)
            await self.watching.synced()
            await self.call("POST", KINDS["Namespace"], None, body={"metadata": {"name": NAMESPACE}})
            await world.pass_time(1.0)
            for node in self.scenario.get("nodes", ()):
                await self.make_node(localise(node))
            await world.pass_time(0.5)
            self.recorder.begin(self.topic)
            for number, step in enumerate(self.scenario["steps"]):
                before = len(self.differences)
                answer = await self.perform(localise(step))
                await world.pass_time(self.step_seconds + step.get("quiet", 0))
                self.compare(number, step, answer)
                self.recorder.clear()
                if len(self.differences) > before:
                    break  # what follows would only repeat it
            task.cancel()
        return self.differences

    async def make_node(self, node: Row) -> None:
        metadata = node["metadata"]
        own = {"scenario": NAMESPACE, "kubernetes.io/hostname": metadata["name"]}
        labelled = {**metadata, "labels": {**metadata.get("labels", {}), **own}}
        await self.call("POST", KINDS["Node"], None, body={**node, "metadata": labelled})
        ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        await self.call("PATCH", KINDS["Node"], metadata["name"], body=ready, sub="status")
        await self.call("PATCH", KINDS["Node"], metadata["name"], body={"spec": {"taints": None}})

    async def perform(self, step: Row) -> Row | None:
        match step["do"]:
            case "create":
                obj = step["object"]
                return await self.call("POST", KINDS[obj["kind"]], None, body=obj)
            case "patch":
                path = (KINDS[step["kind"]], step["name"])
                return await self.call("PATCH", *path, body=step["body"], sub=step.get("sub"), kind=step.get("type"))
            case "put":
                resource = KINDS[step["kind"]]
                return await self.call("PUT", resource, step["name"], body=step["body"], sub=step.get("sub"))
            case "get":
                return await self.call("GET", KINDS[step["kind"]], step["name"], sub=step.get("sub"))
            case "delete":
                return await self.delete(step)
            case "patch-pods":
                for name in self.choose(step["pods"]):
                    await self.call("PATCH", KINDS["Pod"], name, body=step["body"])
            case "evict":
                return await self.evict(step)
            case "wait":
                await self.world.pass_time(step["seconds"])
            case "align":
                await self.world.pass_time((step["second"] - self.world.clock.now()) % 60)
            case "kubelet":
                self.kubelet.set(switches(step["set"]))
                if step.get("apply"):
                    self.kubelet.apply()
            case word:
                for name in self.choose(step["pods"]):
                    await self.treat(word, name, step)
                    await self.world.pass_time(PAUSE_SECONDS)
        return None

    async def treat(self, word: str, name: str, step: Row) -> None:
        match word:
            case "bind":
                await self.kubelet.bind(NAMESPACE, name, step.get("node", "node-1"))
            case "run" | "unready":
                await self.kubelet.report(NAMESPACE, name, "Running", restarts=step.get("restarts", 0))
            case "ready":
                await self.kubelet.report(NAMESPACE, name, "Running", ready=True, restarts=step.get("restarts", 0))
            case "pend":
                await self.kubelet.report(NAMESPACE, name, "Pending")
            case "fail":
                await self.kubelet.report(NAMESPACE, name, "Failed")
            case "succeed":
                await self.kubelet.report(NAMESPACE, name, "Succeeded")
            case "finish":
                await self.kubelet.finish(NAMESPACE, name)

    async def delete(self, step: Row) -> Row:
        name = step["name"]
        name = self.choose(name if isinstance(name, Mapping) else [name])[0]
        body: Row = {"kind": "DeleteOptions", "apiVersion": "v1"}
        if step.get("policy"):
            body["propagationPolicy"] = step["policy"]
        if step.get("grace") is not None:
            body["gracePeriodSeconds"] = step["grace"]
        return await self.call("DELETE", KINDS[step["kind"]], name, body=body)

    async def evict(self, step: Row) -> Row:
        name = self.choose(step["pods"])[0]
        body: Row = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
        if step.get("grace") is not None:
            body["deleteOptions"] = {"gracePeriodSeconds": step["grace"]}
        return await self.call("POST", KINDS["Pod"], name, body=body, sub="eviction")

    def choose(self, pods: Any) -> list[str]:
        """Return the names a step means: listed, or the first `n` that fit."""
        if isinstance(pods, list):
            by_shown = {shown: name for name, shown in self.recorder.names.numbers.items()}
            return [by_shown.get(name, name) for name in pods]
        found = []
        for (kind, name), obj in self.recorder.objects.items():
            if kind == "Pod" and fits(obj, pods):
                labels = obj["metadata"].get("labels") or {}
                index = labels.get("apps.kubernetes.io/pod-index")
                created = list(self.recorder.names.incarnations).index((kind, name))
                found.append((0, int(index), name) if index is not None else (1, created, name))
        names = [name for *_, name in sorted(found, reverse=bool(pods.get("newest")))]
        return names[: pods.get("n", len(names))]

    async def call(
        self,
        method: str,
        resource: Resource,
        name: str | None,
        *,
        body: Any = None,
        sub: str | None = None,
        kind: str | None = None,
    ) -> Row:
        path = resource.path(NAMESPACE if resource.namespaced else None, name, sub)
        media = {
            "json": "application/json-patch+json",
            "strategic": "application/strategic-merge-patch+json",
        }.get(kind or "", "application/merge-patch+json")
        headers = {
            "accept": "application/json",
            "content-type": media if method == "PATCH" else "application/json",
            "user-agent": "replay",
        }
        data = b"" if body is None else json.dumps(body).encode()
        response = await self.world.transport.send(Request(method, path, (), headers, data))
        document = json.loads(response.body) if response.body else response.document
        return {"code": response.status, "body": document}

    def compare(self, number: int, step: Row, answer: Row | None) -> None:
        then = step["then"]
        where = f"step {number} ({step['do']})"
        if "answer" in then and answer is not None:
            self.check(where, "answer", then["answer"], shown_answer(answer, then["answer"]))
        self.compare_changes(where, then)
        if isinstance(then.get("status_writes"), list):
            writes = [clean(row) for _, row in sorted(self.recorder.statuses, key=lambda entry: entry[0])]
            self.check(where, "status_writes", then["status_writes"], writes)
        self.compare_events(where, then)
        self.compare_state(where, then)

    def compare_changes(self, where: str, then: Row) -> None:
        expected = then.get("changes", [])
        if expected == "varies":
            return
        actual: list[Any] = self.recorder.changes()
        if self.topic != "namespace":
            actual = [row for row in actual if row["kind"] != "Namespace"]
        if self.topic.startswith("sts-histories"):
            short = [f"{row['op']} {row['kind']} {row['name']}" for row in actual if row["op"] != "modify"]
            self.check(where, "changes", sorted(expected), sorted(short))
            return
        if then.get("order") == "pods":
            self.check(where, "order of pods", of_kind(expected, "Pod"), of_kind(actual, "Pod"))
        elif self.scenario.get("ordered") and then.get("order") != "any":
            self.check(where, "order of changes", in_order(expected), in_order(actual))
        self.check(where, "changes", by_object(expected), by_object(actual))

    def compare_events(self, where: str, then: Row) -> None:
        expected = then.get("events", [])
        if expected == "varies" or self.topic.startswith("sts-histories"):
            return
        actual = []
        for row in self.recorder.events(claims=bool(self.scenario.get("claim_events"))):
            self.told[row["about"]] += 1
            if self.told[row["about"]] <= EVENTS_KEPT and not row["message"].startswith("(combined"):
                actual.append(row)
        wanted, got = Counter(map(canon, expected)), Counter(map(canon, actual))
        for counts in (wanted, got):
            counts.update({row: 1 - counts[row] for row in list(counts) if json.loads(row)["type"] == "Warning"})
        if then.get("event_counts") == "vary":
            wanted, got = Counter(set(wanted)), Counter(set(got))
        if self.tells_events:
            self.check(where, "events", sorted(wanted.elements()), sorted(got.elements()))

    def compare_state(self, where: str, then: Row) -> None:
        expected = then.get("state")
        if expected == "varies" or expected is None:
            return
        if expected == "same":
            expected = self.last_state
        self.last_state = expected
        if expected is None:
            return
        actual = self.recorder.state()
        for name in sorted(expected.keys() | actual.keys()):
            if name in ("configmaps", "serviceaccounts") and name not in expected:
                continue
            if name == "namespace":
                continue
            wanted, got = expected.get(name, []), actual.get(name, [])
            if self.nodes_alike and name == "pods":
                wanted, got = merge(alike(wanted)), merge(alike(got))
            self.check(where, f"state.{name}", sorted(map(canon, wanted)), sorted(map(canon, got)))

    def check(self, where: str, what: str, expected: Any, actual: Any) -> None:
        if self.nodes_alike:
            expected, actual = alike(expected), alike(actual)
        if expected != actual:
            self.differences.append(f"{where}: {what}\n{explain(expected, actual)}")


SETTINGS = Settings(disabled_admission=frozenset({"ServiceAccount"}))


def switches(raw: Row) -> Row:
    return {name: frozenset(value) if name == "broken_images" else value for name, value in raw.items()}


def fits(pod: Mapping[str, Any], choice: Row) -> bool:
    metadata, status = pod["metadata"], pod.get("status") or {}
    ready = any(each["type"] == "Ready" and each["status"] == "True" for each in status.get("conditions") or ())
    actual = {
        "image": pod["spec"]["containers"][0]["image"],
        "phase": status.get("phase"),
        "ready": ready,
        "terminating": "deletionTimestamp" in metadata,
        "index": (metadata.get("annotations") or {}).get("batch.kubernetes.io/job-completion-index"),
        "node": pod["spec"].get("nodeName"),
    }
    return all(actual[name] == wanted for name, wanted in choice.items() if name in actual)


def shown_answer(answer: Row, expected: Row) -> Row:
    body = answer["body"] or {}
    out: Row = {"code": answer["code"]}
    if "reason" in expected:
        out |= {"reason": body.get("reason"), "message": normalise(body.get("message"))}
    if "causes" in expected:
        causes = (body.get("details") or {}).get("causes") or []
        out["causes"] = normalise(causes)
    if "body" in expected:
        metadata = {
            name: value
            for name, value in body.get("metadata", {}).items()
            if name not in ("uid", "resourceVersion", "creationTimestamp", "managedFields")
        }
        out["body"] = normalise({**body, "metadata": metadata})
    return out


def canon(row: Any) -> str:
    return json.dumps(row, sort_keys=True)


def of_kind(rows: Sequence[Row], kind: str) -> list[str]:
    return [canon(row) for row in rows if row["kind"] == kind]


def in_order(rows: Sequence[Row]) -> list[str]:
    """Keep the rows whose order the set's controller decides: not those the garbage collector causes beside it."""
    deleted = any(row["op"] in ("gone", "terminating") and row["kind"] == "StatefulSet" for row in rows)
    if deleted:
        return []
    return [
        canon(row)
        for row in rows
        if not (row["kind"] in COLLECTED and row["op"] in ("terminating", "gone"))
        and not (row["kind"] == "PersistentVolumeClaim" and row["op"] == "modify")
        and not is_adoption(row)
        and row["kind"] not in ("Endpoints", "EndpointSlice")
    ]


def is_adoption(row: Row) -> bool:
    """Whether a pod changed hands: a controller goes through its cache in no order to speak of."""
    return row["kind"] == "Pod" and row["op"] == "modify" and row.keys() == {"op", "kind", "name", "owners"}


def by_object(rows: Sequence[Row]) -> list[tuple[str, list[str]]]:
    """Group rows by object, in order where an object has a name of its own."""
    groups: dict[str, list[str]] = {}
    for row in rows:
        groups.setdefault(f"{row['kind']}/{row['name']}", []).append(canon(row))
    return sorted((name, sorted(group) if name.endswith("*") else group) for name, group in groups.items())


def explain(expected: Any, actual: Any) -> str:
    if isinstance(expected, list) and isinstance(actual, list):
        wanted, got = Counter(map(canon, expected)), Counter(map(canon, actual))
        lines = [f"  - {text}" for text in (wanted - got).elements()] + [
            f"  + {text}" for text in (got - wanted).elements()
        ]
        if lines:
            return "\n".join(lines)
        return (
            "  order differs\n"
            + "\n".join(f"  - {each}" for each in expected)
            + "\n"
            + "\n".join(f"  + {each}" for each in actual)
        )
    return f"  - {canon(expected)}\n  + {canon(actual)}"


def replay(topic: str, scenario: Row, roster: Any = None) -> list[str]:
    """Return the differences of one scenario."""
    try:
        differences = run_virtual(lambda: Scenario(topic, scenario, roster).run())
        if differences and scenario.get("nodes"):  # which of them comes first is chance
            return run_virtual(lambda: Scenario(topic, scenario, roster, nodes_alike=True).run())
        return differences
    except BaseException as error:  # a failing scenario must not end the others
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise
        return ["raised\n" + "".join(traceback.format_exception(error)[-12:])]


def served(scenario: Row) -> bool:
    """Whether every kind the scenario touches is served here."""
    steps = scenario["steps"]
    kinds = {step["object"]["kind"] for step in steps if "object" in step} | {step.get("kind", "Pod") for step in steps}
    return kinds <= KINDS.keys()


def family(topic: str) -> str:
    """Return what the files of a long topic have in common: `sts-rolling-part2` belongs to `sts-rolling`."""
    return re.sub(r"(-part)?\d+$|-\d+$", "", topic)


def main(arguments: Sequence[str] | None = None, report: Callable[[str], None] = print) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topic", default="")
    parser.add_argument("--name", default="")
    parser.add_argument("-v", action="count", default=0)
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL if options.v < 2 else logging.DEBUG)
    if options.v >= 2:
        logging.basicConfig(level=logging.INFO)
    for name in families():
        if not name.startswith(options.topic):
            continue
        passed, total = replay_family(name, options.name, report if options.v else None)
        if total:
            report(f"{name:16} {passed:4} / {total}")
    return 0


def families() -> list[str]:
    """Return the families of topics that are served here."""
    return sorted({family(topic) for topic in topics("workloads")})


def replay_family(name: str, only: str = "", report: Callable[[str], None] | None = None) -> tuple[int, int]:
    """Replay a family's scenarios; return how many were equal, and how many there are."""
    passed = total = 0
    for topic in topics("workloads"):
        if family(topic) != name:
            continue
        for scenario in load("workloads", topic):
            if only not in scenario["name"] or not served(scenario):
                continue
            differences = replay(topic, scenario)
            total += 1
            passed += not differences
            if differences and report is not None:
                report(f"\n=== {topic} {scenario['name']}: {scenario['about']}")
                report("\n".join(differences))
    return passed, total


if __name__ == "__main__":
    sys.exit(main())
