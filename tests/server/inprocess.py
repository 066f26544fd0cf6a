"""A server over the memory store, asked directly: what most tests of the server stand on."""

import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from homeport.api.exchange import Request, Response, User
from homeport.server import Server, Settings
from homeport.store.memory import MemoryStore
from homeport.testing.loop import VirtualClock

ADMIN = User("admin", groups=("system:masters", "system:authenticated"))
WITHOUT_ACCOUNTS = replace(Settings(), disabled_admission=frozenset({"ServiceAccount", "TaintNodesByCondition"}))


@dataclass(slots=True)
class Answer:
    """A response, decoded."""

    status: int
    headers: Mapping[str, str]
    body: Any
    raw: Response

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])


class Asker:
    """Sends requests as one user, admin by default."""

    def __init__(self, server: Server, store: MemoryStore, user: User | None = ADMIN) -> None:
        self.server, self.store, self._user = server, store, user

    def as_user(self, user: User | None) -> "Asker":
        return Asker(self.server, self.store, user)

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        path, _, query = path.partition("?")
        pairs = tuple(tuple(each.partition("=")[::2]) for each in query.split("&")) if query else ()
        sent = {
            "content-type": "application/json",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        raw = await self.server.handle(Request(method, path, pairs, sent, content, self._user))  # type: ignore[arg-type]
        decoded: Any = raw.body
        if raw.body[:1] == b"{":
            decoded = json.loads(raw.body)
        return Answer(raw.status, dict(raw.headers), decoded, raw)

    async def create(self, path: str, body: Any) -> Any:
        """Create, and return the object."""
        answer = await self("POST", path, body)
        assert answer.status == 201, answer.body
        return answer.body

    async def get(self, path: str) -> Any:
        answer = await self("GET", path)
        assert answer.status == 200, answer.body
        return answer.body

    async def watch(self, path: str) -> "Events":
        answer = await self("GET", path)
        assert answer.status == 200, answer.body
        assert answer.raw.stream is not None
        return Events(answer.raw.stream)


class Events:
    """A watch, event by event."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self._stream, self._waiting = stream, list[Any]()

    async def next(self) -> Any:
        """Return the next event, None once the stream has ended."""
        while not self._waiting:
            try:
                frames = await anext(self._stream)
            except StopAsyncIteration:
                return None
            self._waiting = [json.loads(line) for line in frames.splitlines()]
        return self._waiting.pop(0)

    async def take(self, count: int) -> list[tuple[str, str]]:
        """Return the next events as pairs of type and name."""
        events = [await self.next() for _ in range(count)]
        return [(event["type"], event["object"]["metadata"].get("name", "")) for event in events]


@asynccontextmanager
async def running(settings: Settings = WITHOUT_ACCOUNTS, store: MemoryStore | None = None) -> AsyncIterator[Asker]:
    """Run a server in the current loop; virtual loops give it virtual time."""
    kept = store or MemoryStore()
    async with Server(kept, VirtualClock(), random.Random(7), settings) as server:
        yield Asker(server, kept)
    if store is None:
        await kept.close()


def pod(name: str, **spec: Any) -> Any:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "nginx:1"}], **spec}}


def config_map(name: str, **data: str) -> Any:
    return {"metadata": {"name": name}, "data": data}


MERGE = "application/merge-patch+json"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
