"""What components lean on: one client over any transport. Objects are JSON trees, treated as frozen once received."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Any, Protocol, TypeAlias

from homeport.api.exchange import Collection, Feed, Follower, Request, Response
from homeport.api.resources import Resource

__all__ = ["Client", "Listing", "Object", "PatchType", "Source", "Transport", "WatchEvent"]

Object: TypeAlias = Mapping[str, Any]
"""A decoded object. Never changed in place: build a new one, or send a patch."""


class PatchType(Enum):
    """The media type of a patch body."""

    JSON = "application/json-patch+json"
    MERGE = "application/merge-patch+json"
    STRATEGIC = "application/strategic-merge-patch+json"
    APPLY = "application/apply-patch+yaml"


@dataclass(frozen=True, slots=True)
class Listing:
    """A list answer: items carry kind and apiVersion, whatever the wire left out."""

    items: Sequence[Object]
    resource_version: str
    continue_token: str = ""


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """`kind` is ADDED, MODIFIED, DELETED or BOOKMARK; an ERROR event is raised as the ApiError it carries."""

    kind: str
    object: Object


class Transport(Protocol):
    """The seam with two sides: in process (calls the server's handler) and HTTPS or unix socket (asyncio)."""

    async def send(self, request: Request) -> Response:
        """Return the response; `stream` is set for watches. Raises OSError when the server cannot be reached."""
        ...

    async def close(self) -> None: ...


class Source(Protocol):
    """Collections of a server in this process, followed without a request."""

    def follow(self, collection: Collection, follower: Follower, after: str = "") -> Feed | None:
        """Let the follower be told (`exchange.OpenFeed`) from now on; None where it must list and watch.

        Raises what a watch would: ApiError, OSError.
        """
        ...


class Client(Protocol):
    """Verbs over one transport, as one user agent. Every method raises the ApiError the server answered with."""

    async def get(self, resource: Resource, namespace: str | None, name: str, *, subresource: str = "") -> Object: ...

    async def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        limit: int = 0,
        continue_token: str = "",
        resource_version: str = "",
    ) -> Listing: ...

    def watch(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        initial_events: bool = False,
        timeout_seconds: int | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[WatchEvent]]: ...

    async def create(
        self, resource: Resource, body: Object, namespace: str | None = None, *, subresource: str = "", name: str = ""
    ) -> Object:
        """POST. `namespace` defaults to the body's; `name` is a subresource's parent (binding, eviction, token)."""
        ...

    async def update(self, resource: Resource, body: Object, *, subresource: str = "") -> Object:
        """PUT to the place the body's metadata names."""
        ...

    async def patch(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        patch: Any,
        *,
        kind: PatchType = PatchType.MERGE,
        subresource: str = "",
    ) -> Object: ...

    async def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str = "",
        resource_version: str = "",
        grace_seconds: int | None = None,
        propagation: str = "",
    ) -> Object: ...


Indexer: TypeAlias = Callable[[Object], Sequence[str]]
"""Names the index entries an object belongs under, such as its owner's uid."""
