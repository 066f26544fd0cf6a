"""The door to a server that may be killed: what is under way then meets a broken connection, as over a wire."""

import asyncio

from homeport.api.exchange import Collection, Feed, Follower, Handler, OpenFeed, Request, Response, User

__all__ = ["Gate"]


class Gate:
    """A client's transport to whoever serves now. Raises OSError while nobody does, and when the server dies.

    shared  see `client.inprocess`
    """

    def __init__(self, user: User, *, shared: bool = False) -> None:
        self._user, self._shared = user, shared
        self._handler: Handler | None = None
        self._open_feed: OpenFeed | None = None
        self._waiting: dict[asyncio.Task[object], None] = {}
        self._broken: set[asyncio.Task[object]] = set()

    def open(self, handler: Handler, open_feed: OpenFeed) -> None:
        """Let requests through to a server, and followers."""
        self._handler, self._open_feed = handler, open_feed

    def shut(self) -> None:
        """Refuse connections from now on, and break those whose request is being answered."""
        self._handler = self._open_feed = None
        for task in self._waiting:
            self._broken.add(task)
            task.cancel()

    async def send(self, request: Request) -> Response:
        if self._handler is None:
            raise ConnectionRefusedError("nobody serves the API")
        task = asyncio.current_task()
        assert task is not None
        self._waiting[task] = None
        try:
            method, path, query = request.method, request.path, request.query
            return await self._handler(
                Request(method, path, query, request.headers, request.body, self._user, self._shared)
            )
        except asyncio.CancelledError:
            if task in self._broken and task.uncancel() == 0:
                raise ConnectionResetError("the server died before it answered") from None
            raise
        finally:
            del self._waiting[task]
            self._broken.discard(task)

    def feed(self, collection: Collection, follower: Follower, after: str) -> Feed:
        """Open a feed of whoever serves now (`exchange.OpenFeed`)."""
        if self._open_feed is None:
            raise ConnectionRefusedError("nobody serves the API")
        return self._open_feed(collection, follower, after)

    async def close(self) -> None:
        """Nothing is held."""
