"""What goes wrong between a client and the server: refusals by rule, lost answers, partitions, broken watches.

`FaultyTransport` stands between one party (the control plane, a node) and the server, and `FaultySource` beside it:
while nothing can happen to a watch, collections are told without one. `Faults` is the state all of them share; nothing
in it is random unless a rule says so, and then from the generator it was given.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol

import msgspec

from homeport.api.exchange import Collection, Feed, Follower, OpenFeed, Request, Response
from homeport.client.contract import Transport
from homeport.errors import ApiError, Conflict, Details, Expired, InternalError, TooManyRequests

__all__ = ["TROUBLES", "Faults", "FaultySource", "FaultyTransport", "Rule", "SavedFaults", "refusal"]

WRITES: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_encode: Final = msgspec.json.Encoder().encode

TROUBLES: Final = ("conflict", "too-many-requests", "error", "time-out", "lost-answer")
"""What a rule can do to a request. After a `time-out` nothing happened; a `lost-answer` was done all the same.

Only updates and patches meet a `conflict`: a deletion does so when it asks for another object than the one there is.
"""


@dataclass(slots=True)
class Rule:
    """Which requests fail, and how. Empty fields match everything.

    trouble    one of `TROUBLES`
    component  beginning of the client's user agent, such as `statefulset-controller`
    method     HTTP method; empty: every write
    path       text the request's path contains, such as `/pods`
    chance     how likely each matching request fails
    left       how many more will; None: no limit
    """

    trouble: str
    component: str = ""
    method: str = ""
    path: str = ""
    chance: float = 1.0
    left: int | None = None

    def matches(self, request: Request) -> bool:
        """Whether the rule is about this request."""
        if self.left == 0 or (request.method != self.method if self.method else request.method not in WRITES):
            return False
        if self.trouble == "conflict" and request.method not in ("PUT", "PATCH"):
            return False
        return self.path in request.path and request.headers.get("user-agent", "").startswith(self.component)


@dataclass(frozen=True, slots=True)
class SavedFaults:
    """The rules and partitions in force at one moment."""

    rules: tuple[Rule, ...]
    cut: tuple[str, ...]


class Line(Protocol):
    """What a party hears of a collection's changes by, until it breaks."""

    @property
    def party(self) -> str: ...

    @property
    def component(self) -> str:
        """The user agent of whoever listens."""
        ...

    def end(self, error: OSError | ApiError | None) -> None:
        """Let what was sent before arrive, then the bad news."""
        ...


class Faults:
    """Rules, partitions and open watches of one simulated cluster.

    on_request       called with what reaches the server, as it leaves
    on_answer        called with what the server answered, whether or not that arrives
    """

    def __init__(self, rng: random.Random) -> None:
        self.rules: list[Rule] = []
        self._latency_seconds = 0.0
        self.on_request: Callable[[Request], None] | None = None
        self.on_answer: Callable[[Request, Response], None] | None = None
        self._rng = rng
        self._cut: dict[str, None] = {}
        self._lines: dict[Line, None] = {}  # in order: a history repeats itself

    @property
    def latency_seconds(self) -> float:
        """How long a request, an answer or an event is under way at most; how long is random."""
        return self._latency_seconds

    @latency_seconds.setter
    def latency_seconds(self, seconds: float) -> None:
        self._latency_seconds = seconds
        if seconds:  # whoever is told at once shall watch
            self._end([line for line in self._lines if isinstance(line, _Told)], None)

    def touches(self, party: str) -> bool:
        """Whether a list or a watch of a party would not simply succeed, and at once."""
        return bool(self.rules or self._latency_seconds or party in self._cut)

    def add(self, rule: Rule) -> None:
        """Let requests fail by one more rule. Raises ValueError for a trouble that is not known."""
        if rule.trouble not in TROUBLES:
            raise ValueError(f"trouble {rule.trouble!r} is not known; one of: {', '.join(TROUBLES)}")
        self.rules.append(rule)

    def cut(self, party: str) -> None:
        """Part a party from the server: its requests fail, and its watches break."""
        self._cut[party] = None
        self._end([line for line in self._lines if line.party == party], ConnectionResetError(f"{party} is cut off"))

    def join(self, party: str) -> None:
        """Let a party reach the server again."""
        self._cut.pop(party, None)

    def is_cut(self, party: str) -> bool:
        return party in self._cut

    def drop_watches(self, component: str = "") -> int:
        """Break the open watches of a component (all of them without a name); returns how many."""
        lines = self._of(component)
        self._end(lines, ConnectionResetError("the connection broke"))
        return len(lines)

    def expire_watches(self, component: str = "") -> int:
        """Tell the open watches of a component that their revision is too old (410); returns how many."""
        lines = self._of(component)
        self._end(lines, Expired("too old resource version: the history was compacted"))
        return len(lines)

    def open_watches(self, component: str) -> int:
        """Return how many watches of a component are open."""
        return len(self._of(component))

    def clear(self) -> None:
        """Lift every rule and every partition."""
        self.rules.clear()
        self._cut.clear()

    def save(self) -> SavedFaults:
        """Return what is in force now."""
        return SavedFaults(tuple(map(replace, self.rules)), tuple(self._cut))

    def resume(self, saved: SavedFaults) -> None:
        """Put in force what was saved."""
        self.rules = list(map(replace, saved.rules))
        self._cut.clear()
        for party in saved.cut:
            self.cut(party)

    def trouble_for(self, request: Request) -> str:
        """Return what happens to a request; empty for nothing."""
        for rule in self.rules:
            if rule.matches(request) and (rule.chance >= 1.0 or self._rng.random() < rule.chance):
                if rule.left is not None:
                    rule.left -= 1
                return rule.trouble
        return ""

    async def travel(self) -> None:
        """Wait as long as a message is under way."""
        if self.latency_seconds:
            await asyncio.sleep(self._rng.uniform(0.0, self.latency_seconds))

    def opened(self, line: Line) -> None:
        self._lines[line] = None

    def closed(self, line: Line) -> None:
        self._lines.pop(line, None)

    def _of(self, component: str) -> list[Line]:
        return [line for line in self._lines if line.component.startswith(component)]

    @staticmethod
    def _end(lines: Sequence[Line], error: OSError | ApiError | None) -> None:
        for line in lines:
            line.end(error)


class _Line:
    """A watch that can break: what was sent before still arrives, then the bad news."""

    def __init__(self, faults: Faults, party: str, component: str, source: Any, *, decoded: bool) -> None:
        self.party, self.component, self._decoded = party, component, decoded
        self._faults, self._source = faults, source
        self._error: OSError | ApiError | None = None

    def end(self, error: OSError | ApiError | None) -> None:
        if self._error is None:
            self._error = error
            self._faults.closed(self)
            self._source.end()

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        try:
            frames = await anext(self._source)
            await self._faults.travel()
            return frames
        except StopAsyncIteration:
            self._faults.closed(self)
            error, self._error = self._error, None
            if isinstance(error, ApiError):
                return self._told({"type": "ERROR", "object": error.as_status()})
            if error is not None:
                raise error from None
            raise

    def _told(self, event: Any) -> Any:
        return [event] if self._decoded else _encode(event) + b"\n"

    async def aclose(self) -> None:
        self._faults.closed(self)
        await self._source.aclose()


class FaultyTransport:
    """The way of one party to the server. Raises OSError where a connection would break."""

    def __init__(self, inner: Transport, faults: Faults, party: str) -> None:
        self._inner, self._faults, self._party = inner, faults, party

    async def send(self, request: Request) -> Response:
        self._check()
        match self._faults.trouble_for(request) if self._faults.rules else "":
            case "conflict":
                return refusal(
                    Conflict("the object has been modified; please apply your changes to the latest version")
                )
            case "too-many-requests":
                return refusal(
                    TooManyRequests("too many requests, please try again later", Details(retry_after_seconds=1))
                )
            case "error":
                return refusal(InternalError("an error on the server has prevented the request from succeeding"))
            case "time-out":
                raise TimeoutError("the server did not answer in time")
            case "lost-answer":
                await self._served(request)
                raise ConnectionResetError("the connection broke before the answer came")
        await self._faults.travel()
        response = await self._served(request)
        await self._faults.travel()
        self._check()  # the answer too has to get through
        agent = request.headers.get("user-agent", "")
        if response.documents is not None:
            line = _Line(self._faults, self._party, agent, response.documents, decoded=True)
            self._faults.opened(line)
            response.documents = line
        elif response.stream is not None and hasattr(response.stream, "end"):
            line = _Line(self._faults, self._party, agent, response.stream, decoded=False)
            self._faults.opened(line)
            response.stream = line
        return response

    async def _served(self, request: Request) -> Response:
        faults = self._faults
        if faults.on_request is not None:
            faults.on_request(request)
        response = await self._inner.send(request)
        if faults.on_answer is not None:
            faults.on_answer(request, response)
        return response

    async def close(self) -> None:
        await self._inner.close()

    def _check(self) -> None:
        if self._faults.is_cut(self._party):
            raise ConnectionResetError(f"{self._party} cannot reach the server")


@dataclass(frozen=True, slots=True, eq=False)
class _Told:
    """A feed that can break as a watch does."""

    party: str
    component: str
    feed: Feed

    def end(self, error: OSError | ApiError | None) -> None:
        self.feed.end(error)


class FaultySource:
    """`contract.Source` of one party. Whatever can befall a watch befalls a feed, or makes the party watch instead."""

    def __init__(self, open_feed: OpenFeed, faults: Faults, party: str, component: str) -> None:
        self._open, self._faults, self._party, self._component = open_feed, faults, party, component

    def follow(self, collection: Collection, follower: Follower, after: str = "") -> Feed | None:
        faults = self._faults
        if faults.touches(self._party):
            return None
        feed = self._open(collection, follower, after)
        line = _Told(self._party, self._component, feed)
        faults.opened(line)
        feed.on_end(lambda _: faults.closed(line))
        return feed


def refusal(error: ApiError) -> Response:
    """Return the answer that carries an error."""
    status = error.as_status()
    return Response(error.status_code, [("content-type", "application/json")], _encode(status), document=status)
