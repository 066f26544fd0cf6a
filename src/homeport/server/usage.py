"""`metrics.k8s.io`: what nodes and pods use right now, made of counters the nodes are asked for, never stored.

Usage is a difference between two looks. A look is taken when somebody asks and the last one is old; if nobody has
asked for a while, two are taken shortly after one another. Source: workloads 21; metrics-server's API.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

from homeport.api.exchange import Response
from homeport.api.quantity import Format, Quantity
from homeport.api.resources import find
from homeport.clock import parse_time, rfc3339
from homeport.durations import format_duration
from homeport.errors import NotFound
from homeport.server import answers, failures
from homeport.server.negotiation import Form
from homeport.server.nodeproxy import fetch
from homeport.server.objects import Codec, Tree
from homeport.server.options import list_options
from homeport.server.representation import finish, partial, table
from homeport.server.selection import parse
from homeport.server.services import Call, Services

__all__ = ["MetricsApi", "Summaries", "node_summaries"]

Summaries: TypeAlias = Callable[[], Awaitable[Sequence[Tree]]]
"""Asks every node that can be reached for its summary."""

FRESH_SECONDS: Final = 10.0
"""A look this young is not taken again."""
STALE_SECONDS: Final = 60.0
"""A look this old is nothing to compare with."""
MEASURE_SECONDS: Final = 1.0
"""How long is measured when there is nothing to compare with."""

_log = logging.getLogger(__name__)


def node_summaries(socket: str) -> Summaries:
    """Ask the one node behind a unix socket; "" knows of none."""

    async def ask() -> Sequence[Tree]:
        if not socket:
            return ()
        try:
            return (json.loads(await fetch(Path(socket), "/stats/summary")),)
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            _log.info("the node tells no figures: %s", error)
            return ()

    return ask


@dataclass(frozen=True, slots=True)
class _Counter:
    """What one container or node had used at a moment; `since` is when it began to count, None where unknown."""

    at: float
    cpu: int
    memory: int
    since: float | None = None


_Key: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Look:
    """All counters at once: nodes by name, containers by (namespace, pod, uid, container)."""

    at: float = float("-inf")
    nodes: Mapping[_Key, _Counter] = field(default_factory=dict)
    containers: Mapping[_Key, _Counter] = field(default_factory=dict)


class MetricsApi:
    """Answers reads of NodeMetrics and PodMetrics."""

    def __init__(self, services: Services, summaries: Summaries) -> None:
        self._services, self._ask = services, summaries
        self._before, self._last = _Look(), _Look()
        self._looking = asyncio.Lock()

    async def answer(self, call: Call) -> Response:
        """Answer a get or list. Raises NotFound, BadRequest."""
        await self._look()
        target, now = call.target, self._services.clock.now()
        make = self._pods if call.codec.resource.kind == "PodMetrics" else self._nodes
        if target.name is not None:
            found = [tree for tree in make(target.namespace) if tree["metadata"]["name"] == target.name]
            if not found:
                name = f"{target.namespace}/{target.name}" if target.namespace else target.name
                kind = call.codec.resource.kind.lower()
                raise NotFound(f'{kind}.metrics.k8s.io "{name}" not found', failures.about(call.codec.resource, name))
            return answers.tree(found[0], call.gvk, call.representation, now)
        options = list_options(call.query, watch=False)
        selection = parse(call.codec.resource, options.label_selector, options.field_selector)
        return self._listed(call, [tree for tree in make(target.namespace) if selection.matches(tree)], now)

    def _listed(self, call: Call, trees: list[Tree], now: float) -> Response:
        resource, shape = call.codec.resource, call.representation
        document: Tree = {
            "kind": resource.list_kind,
            "apiVersion": resource.api_version,
            "metadata": {},
            "items": trees,
        }
        match shape.form:
            case Form.TABLE:
                document = table(trees, resource.gvk, shape, now, {})
            case Form.PARTIAL_LIST:
                items = [partial(tree, shape) for tree in trees]
                version = f"meta.k8s.io/{shape.version}"
                document = {"kind": "PartialObjectMetadataList", "apiVersion": version, "metadata": {}, "items": items}
        if shape.shared:
            return Response(200, [("content-type", "application/json")], document=document)
        return answers.body(finish(document, shape), shape)

    # Looks

    async def _look(self) -> None:
        async with self._looking:
            now = self._services.clock.now()
            if 0 <= now - self._last.at < FRESH_SECONDS:
                return
            if not 0 <= now - self._last.at <= STALE_SECONDS:
                self._last = await self._take()
                await asyncio.sleep(MEASURE_SECONDS)
            self._before, self._last = self._last, await self._take()

    async def _take(self) -> _Look:
        nodes: dict[_Key, _Counter] = {}
        containers: dict[_Key, _Counter] = {}
        for summary in await self._ask():
            node = summary.get("node") or {}
            if "cpu" in node:
                nodes[node["nodeName"],] = _counter(node)
            for pod in summary.get("pods") or ():
                reference = pod["podRef"]
                for each in pod["containers"]:
                    key = (reference["namespace"], reference["name"], reference["uid"], each["name"])
                    containers[key] = _counter(each)
        return _Look(self._services.clock.now(), nodes, containers)

    # Objects

    def _nodes(self, _: str | None) -> list[Tree]:
        found = []
        for stored in self._stored("Node", None):
            name = stored["metadata"]["name"]
            measured = _measured((name,), self._before.nodes, self._last.nodes)
            if measured is not None:
                found.append({"kind": "NodeMetrics", **self._head(stored, measured), "usage": measured.usage})
        return found

    def _pods(self, namespace: str | None) -> list[Tree]:
        by_pod: dict[_Key, dict[str, _Measured]] = {}
        for key in self._last.containers:
            measured = _measured(key, self._before.containers, self._last.containers)
            if measured is not None:
                by_pod.setdefault(key[:3], {})[key[3]] = measured
        found = []
        for stored in self._stored("Pod", namespace):
            metadata = stored["metadata"]
            containers = by_pod.get((metadata["namespace"], metadata["name"], metadata["uid"]))
            if not containers or (stored.get("status") or {}).get("phase") != "Running":
                continue
            oldest = min(containers.values(), key=lambda each: each.at)
            items = [{"name": name, "usage": each.usage} for name, each in sorted(containers.items())]
            found.append({"kind": "PodMetrics", **self._head(stored, oldest), "containers": items})
        return found

    def _stored(self, kind: str, namespace: str | None) -> list[Tree]:
        codec: Codec = self._services.codec(find(kind))
        return [stored.tree for stored in self._services.hub.cache(codec).scan(codec.scope(namespace))]

    def _head(self, stored: Tree, measured: "_Measured") -> Tree:
        metadata = {name: stored["metadata"][name] for name in ("name", "namespace") if name in stored["metadata"]}
        metadata["creationTimestamp"] = rfc3339(self._services.clock.now())
        if labels := stored["metadata"].get("labels"):
            metadata["labels"] = labels
        return {
            "apiVersion": "metrics.k8s.io/v1beta1",
            "metadata": metadata,
            "timestamp": rfc3339(measured.at),
            "window": format_duration(measured.window),
        }


@dataclass(frozen=True, slots=True)
class _Measured:
    at: float
    window: float
    usage: Tree


def _measured(key: _Key, before: Mapping[_Key, _Counter], last: Mapping[_Key, _Counter]) -> _Measured | None:
    """Return the usage between two looks, or since the start of what started in between; None when that is no time."""
    now, then = last.get(key), before.get(key)
    if now is None:
        return None
    if then is None or then.since != now.since or then.cpu > now.cpu:
        if now.since is None:
            return None
        then = _Counter(now.since, 0, 0)
    window = now.at - then.at
    if window <= 0:
        return None
    cpu = Quantity(round((now.cpu - then.cpu) / window))
    return _Measured(now.at, window, {"cpu": str(cpu), "memory": str(Quantity.of(now.memory, Format.BINARY))})


def _counter(tree: Mapping[str, Any]) -> _Counter:
    started = tree.get("startTime")
    return _Counter(
        parse_time(tree["cpu"]["time"]),
        tree["cpu"]["usageCoreNanoSeconds"],
        tree["memory"]["workingSetBytes"],
        parse_time(started) if started else None,
    )
