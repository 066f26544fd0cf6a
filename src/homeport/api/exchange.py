"""One request and its response as values: what crosses the seam between a client and a server.

Both transports speak these: in process they are handed over as they are, over HTTPS they are written out and read
back. So the server's handler is one function, `Handler`, and a test calls it like any client does.

A client in the server's own process may follow a collection without requests: `OpenFeed` is the second function.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from homeport.api.resources import Resource

__all__ = ["Collection", "Feed", "Follower", "Handler", "OpenFeed", "Request", "Response", "User"]


@dataclass(frozen=True, slots=True)
class User:
    """Who asks, once that is known. Groups include `system:authenticated` for everyone but the anonymous."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class Request:
    """An HTTP request, read whole.

    path     percent-decoded segments still joined by `/`, without the query
    query    decoded pairs in the order sent; names may repeat
    headers  lower-case names; repeated headers joined with `, `
    user     set by a transport that has already authenticated the caller (in-process, unix socket,
             client certificate); None leaves it to the `authorization` header
    shared   the caller lives in this process and changes no object it is handed: where the answer can be given
             decoded (`Response.document`, `documents`), its bytes may be left out
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    user: User | None = None
    shared: bool = False


@dataclass(slots=True)
class Response:
    """An HTTP response: either `body`, or `stream` for answers that have no end yet (watch, logs -f).

    A stream yields whole frames (for a watch: one JSON document and its newline, or several) and is closed with
    `aclose()` when the client goes.

    To a request that shares memory a handler may answer decoded: `document` stands for the `body`, `documents`, in
    batches, for the `stream`. Such trees are the server's own. Both are optional and never required of a handler.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    document: Any = None
    documents: AsyncIterator[Sequence[Any]] | None = None


Handler: TypeAlias = Callable[[Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Collection:
    """What a list or a watch is about. Without a namespace: all of them."""

    resource: Resource
    namespace: str | None = None
    label_selector: str = ""
    field_selector: str = ""


class Follower(Protocol):
    """Is told a collection by a server in its own process. The objects are the server's: nobody changes them."""

    def replaced(self, objects: Sequence[Any], resource_version: str) -> None:
        """The collection is this, whatever it was before."""
        ...

    def changed(self, kind: str, obj: Any) -> None:
        """What a watch would tell: `kind` is ADDED, MODIFIED, DELETED or BOOKMARK."""
        ...


class Feed(Protocol):
    """What a follower is told, until somebody ends it."""

    def end(self, error: Exception | None = None) -> None:
        """Tell what is pending and nothing after it. Ending again changes nothing."""
        ...

    def close(self) -> None:
        """Tell nothing more: the follower has gone."""
        ...

    def on_end(self, call: Callable[[Exception | None], None]) -> None:
        """Call once when it ended or was closed, with the error it ended with."""
        ...


OpenFeed: TypeAlias = Callable[[Collection, Follower, str], Feed]
"""Tells the follower the whole collection at once, or, with a version it knows, what changed since; then every change,
in the turn of the loop after the one it became durable in. Raises ApiError as a watch would, OSError."""
