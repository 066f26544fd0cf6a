"""The transport without a wire: a request is handed to the server's handler as it is, a collection is told."""

from homeport.api.exchange import Collection, Feed, Follower, Handler, OpenFeed, Request, Response, User

__all__ = ["InProcessSource", "InProcessTransport"]


class InProcessTransport:
    """Calls `handler` as `user`, who counts as authenticated.

    shared  decoded answers are the server's own trees, which nobody may change: for components, not for people
    """

    def __init__(self, handler: Handler, user: User, *, shared: bool = False) -> None:
        self._handler, self._user, self._shared = handler, user, shared

    async def send(self, request: Request) -> Response:
        method, path, query = request.method, request.path, request.query
        return await self._handler(
            Request(method, path, query, request.headers, request.body, self._user, self._shared)
        )

    async def close(self) -> None:
        """Nothing is held."""


class InProcessSource:
    """`contract.Source` for components that may read everything: nobody asks who follows."""

    def __init__(self, open_feed: OpenFeed) -> None:
        self._open = open_feed

    def follow(self, collection: Collection, follower: Follower, after: str = "") -> Feed | None:
        return self._open(collection, follower, after)
