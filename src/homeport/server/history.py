"""`/homeport/history`: what has lately become of the objects `homeport why` explains things by, with times. Read only.

Watch events carry no times and a list at an old revision is not served; the caches' windows have both. No other
kinds are shown, so no Secret's content is. Access is that to a path which is no resource (api-machinery 20).
"""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Final

from homeport.api.exchange import Request, Response
from homeport.clock import Clock, milli_time, parse_time
from homeport.errors import BadRequest
from homeport.server.cache import Change, ResourceCache
from homeport.server.hub import Hub
from homeport.server.objects import encode_json

__all__ = ["PATH", "History"]

PATH: Final = "/homeport/history"
_CLOCK_WAS_SET_SECONDS: Final = 0.1
_SHOWN: Final = frozenset((
    "pods", "services", "endpointslices", "persistentvolumeclaims",
    "statefulsets", "deployments", "replicasets", "daemonsets", "replicationcontrollers", "jobs",
    "poddisruptionbudgets", "horizontalpodautoscalers",
))  # fmt: skip


class History:
    """Answers with the changes of one namespace since the server's start, oldest first: earlier ones have no time.

    `since=SECONDS` limits it to the last seconds, `after=TIME` (RFC 3339) to what happened after a moment; with
    `first=true` each object is told of once, by its first such change. `knownSince` says from which moment on changes
    of every kind are known without a gap.
    """

    def __init__(self, hub: Hub, clock: Clock) -> None:
        self._hub, self._clock = hub, clock
        self._ahead: float | None = None

    def answer(self, request: Request, query: Mapping[str, str]) -> Response | None:
        """Return what is asked for, None for any other path. Raises BadRequest."""
        if request.path != PATH:
            return None
        namespace = query.get("namespace") or "default"
        now = self._clock.now()
        ahead = self._wall_ahead(now)
        caches = [cache for cache in self._hub.caches if cache.codec.resource.plural in _SHOWN]
        found = [
            (change.revision, shown)
            for cache in caches
            for change, shown in _changes(cache, namespace, ahead, _begin(query, now), query.get("first") == "true")
        ]
        found.sort(key=lambda one: one[0])
        body = encode_json({
            "kind": "History",
            "now": milli_time(now),
            "knownSince": milli_time(ahead + max(cache.known_since for cache in caches)),
            "changes": [shown for _, shown in found],
        })  # fmt: skip
        return Response(200, [("content-type", "application/json")], body)

    def _wall_ahead(self, now: float) -> float:
        """Return by how much wall time is ahead of loop time: as ever, so that a moment always has the same time."""
        ahead = now - asyncio.get_running_loop().time()
        if self._ahead is None or abs(ahead - self._ahead) > _CLOCK_WAS_SET_SECONDS:
            self._ahead = ahead
        return self._ahead


def _begin(query: Mapping[str, str], now: float) -> int:
    """Return the moment after which changes count, in milliseconds since the epoch. Raises BadRequest."""
    try:
        begin = now - float(query["since"]) if query.get("since") else 0.0
    except ValueError:
        raise BadRequest(f"since: {query['since']!r} is no number of seconds") from None
    try:
        after = parse_time(query["after"]) if query.get("after") else 0.0
    except ValueError:
        raise BadRequest(f"after: {query['after']!r} is no time as RFC 3339 has it") from None
    return round(max(begin, after, 0.0) * 1000)


def _changes(
    cache: ResourceCache, namespace: str, ahead: float, begin: int, first: bool
) -> Iterator[tuple[Change, dict[str, Any]]]:
    """Yield the changes after a moment (milliseconds since the epoch); `ahead` makes wall time of loop time."""
    codec = cache.codec
    prefix = codec.scope(namespace)
    told: set[str] = set()
    for change in cache.since(cache.floor):
        at = ahead + change.at
        if change.recalled or round(at * 1000) <= begin or not change.key.startswith(prefix) or change.key in told:
            continue
        if first:
            told.add(change.key)
        old, new = (None if one is None else codec.tree(one) for one in (change.old, change.new))
        yield (
            change,
            {
                "kind": codec.resource.kind,
                "name": change.key.rpartition("/")[2],
                "revision": change.revision,
                "time": milli_time(at),
                "old": old,
                "new": new,
            },
        )
