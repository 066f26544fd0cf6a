"""`/homeport/history`: what has lately become of pods, Services and EndpointSlices, with times. Read only.

Watch events carry no times and a list at an old revision is not served; the caches' windows have both. No other
kinds are shown, so no Secret's content is. Access is that to a path which is no resource (api-machinery 20).
"""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from homeport.api.exchange import Request, Response
from homeport.errors import BadRequest
from homeport.server.cache import Change, ResourceCache
from homeport.server.hub import Hub
from homeport.server.objects import encode_json

__all__ = ["PATH", "History"]

PATH: Final = "/homeport/history"
_SHOWN: Final = ("pods", "services", "endpointslices")


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


class History:
    """Answers with the changes of one namespace since the server's start, oldest first: earlier ones have no time.

    now  the clock the hub stamps changes with, in seconds
    """

    def __init__(self, hub: Hub, now: Callable[[], float] = _loop_time) -> None:
        self._hub, self._now = hub, now

    def answer(self, request: Request, query: Mapping[str, str]) -> Response | None:
        """Return the changes of `namespace` in the last `since` seconds, None for any other path. Raises BadRequest."""
        if request.path != PATH:
            return None
        namespace = query.get("namespace") or "default"
        try:
            seconds = float(query.get("since") or "inf")
        except ValueError:
            raise BadRequest(f"since: {query['since']!r} is no number of seconds") from None
        now = self._now()
        found = [
            (change.revision, shown)
            for cache in self._hub.caches
            if cache.codec.resource.plural in _SHOWN
            for change, shown in self._changes(cache, namespace, now, seconds)
        ]
        found.sort(key=lambda one: one[0])
        body = encode_json({"kind": "History", "changes": [shown for _, shown in found]})
        return Response(200, [("content-type", "application/json")], body)

    def _changes(
        self, cache: ResourceCache, namespace: str, now: float, seconds: float
    ) -> Iterator[tuple[Change, dict[str, Any]]]:
        codec = cache.codec
        prefix = codec.scope(namespace)
        for change in cache.since(cache.floor):
            age = now - change.at
            if change.recalled or age > seconds or not change.key.startswith(prefix):
                continue
            old, new = (None if one is None else codec.tree(one) for one in (change.old, change.new))
            yield (
                change,
                {
                    "kind": codec.resource.kind,
                    "name": change.key.rpartition("/")[2],
                    "revision": change.revision,
                    "ageSeconds": round(max(age, 0.0), 3),
                    "old": old,
                    "new": new,
                },
            )
