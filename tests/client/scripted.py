"""A handler in memory that behaves as told: enough of an API server to test clients against."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

from homeport.api.exchange import Request, Response
from homeport.errors import ApiError, Expired, NotFound


def config_map(name: str, version: int, **data: str) -> dict[str, Any]:
    return {
        "kind": "ConfigMap",
        "apiVersion": "v1",
        "metadata": {"name": name, "namespace": "default", "resourceVersion": str(version)},
        "data": data,
    }


class ScriptedServer:
    """One collection of ConfigMaps. `fail_next` makes requests fail; `drop` ends all watches."""

    def __init__(self) -> None:
        self.version = 1
        self.oldest = 0
        self.objects: dict[str, dict[str, Any]] = {}
        self.log: list[tuple[int, str, dict[str, Any]]] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[Any] = []
        self.failures: deque[Exception] = deque()
        self.watches: set[asyncio.Queue[tuple[str, dict[str, Any]] | None]] = set()
        self.closed_watches = 0
        self.watch_closed = asyncio.Event()

    def fail_next(self, error: Exception, times: int = 1) -> None:
        self.failures.extend([error] * times)

    def put(self, name: str, **data: str) -> None:
        self.version += 1
        obj = config_map(name, self.version, **data)
        kind = "MODIFIED" if name in self.objects else "ADDED"
        self.objects[name] = obj
        self._publish(kind, obj)

    def remove(self, name: str) -> None:
        self.version += 1
        last = self.objects.pop(name)
        self._publish("DELETED", {**last, "metadata": {**last["metadata"], "resourceVersion": str(self.version)}})

    def bookmark(self) -> None:
        self._publish("BOOKMARK", config_map("", self.version))

    def compact(self) -> None:
        self.oldest = self.version

    def drop(self) -> None:
        for watch in self.watches:
            watch.put_nowait(None)

    def _publish(self, kind: str, obj: dict[str, Any]) -> None:
        self.log.append((self.version, kind, obj))
        for watch in self.watches:
            watch.put_nowait((kind, obj))

    async def handle(self, request: Request) -> Response:
        query = dict(request.query)
        self.requests.append((request.method, request.path, query))
        if request.body:
            self.bodies.append(json.loads(request.body))
        if self.failures:
            error = self.failures.popleft()
            if not isinstance(error, ApiError):
                raise error
            return Response(error.status_code, body=json.dumps(error.as_status()).encode())
        if query.get("watch"):
            return Response(200, stream=self._watch(query))
        if request.method != "GET":
            return Response(200, body=request.body or b"{}")
        name = request.path.rpartition("/")[2]
        if name == "configmaps":
            items = [{k: v for k, v in obj.items() if k not in ("kind", "apiVersion")} for obj in self.objects.values()]
            return self._json({"metadata": {"resourceVersion": str(self.version)}, "items": items})
        if name not in self.objects:
            error = NotFound(f'configmaps "{name}" not found')
            return Response(404, body=json.dumps(error.as_status()).encode())
        return self._json(self.objects[name])

    @staticmethod
    def _json(document: Any) -> Response:
        return Response(200, [("content-type", "application/json")], json.dumps(document).encode())

    async def _watch(self, query: dict[str, str]) -> AsyncIterator[bytes]:
        watch: asyncio.Queue[tuple[str, dict[str, Any]] | None] = asyncio.Queue()
        self.watches.add(watch)
        try:
            if query.get("sendInitialEvents"):
                for obj in self.objects.values():
                    watch.put_nowait(("ADDED", obj))
                end = config_map("", self.version)
                end["metadata"]["annotations"] = {"k8s.io/initial-events-end": "true"}
                watch.put_nowait(("BOOKMARK", end))
            elif int(query["resourceVersion"]) < self.oldest:
                watch.put_nowait(("ERROR", Expired("too old resource version").as_status()))
                watch.put_nowait(None)
            else:
                for version, kind, obj in self.log:
                    if version > int(query["resourceVersion"]):
                        watch.put_nowait((kind, obj))
            while (event := await watch.get()) is not None:
                yield json.dumps({"type": event[0], "object": event[1]}).encode() + b"\n"
        finally:
            self.watches.discard(watch)
            self.closed_watches += 1
            self.watch_closed.set()
