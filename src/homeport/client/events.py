"""Events as `kubectl describe` shows them: sent in the background, equal ones counted instead of repeated.

`Correlator` decides and touches nothing; `EventRecorder` queues and sends. Source: client-go's event recorder and
correlator; `api-machinery` 23.
"""

import asyncio
import logging
import zlib
from collections import OrderedDict, deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from homeport.api.resources import find
from homeport.client.contract import Client, Object, PatchType
from homeport.clock import Clock, rfc3339
from homeport.errors import ApiError, NotFound

__all__ = ["Correlator", "EventRecorder", "Send"]

CACHE_ENTRIES: Final = 4096
SPAM_BURST: Final = 25.0
SPAM_RATE: Final = 1 / 300
SIMILAR_LIMIT: Final = 10
SIMILAR_SECONDS: Final = 600.0
SIMILAR_PREFIX: Final = "(combined from similar events): "
QUEUE_LIMIT: Final = 1000
REST: Final = 4.0
REST_LIMIT_SECONDS: Final = 0.05
ATTEMPTS: Final = 12
RETRY_SECONDS: Final = 10.0
NAME_SPREAD: Final = 1_000_000  # nanoseconds
EVENTS: Final = find("Event")

_log = logging.getLogger(__name__)

V = TypeVar("V")


class _Recent(Generic[V]):
    """A dictionary that forgets the entry unused for longest beyond `CACHE_ENTRIES`."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, V] = OrderedDict()

    def get(self, key: Hashable) -> V | None:
        if key not in self._entries:
            return None
        self._entries.move_to_end(key)
        return self._entries[key]

    def put(self, key: Hashable, value: V) -> None:
        self._entries[key] = value
        self._entries.move_to_end(key)
        if len(self._entries) > CACHE_ENTRIES:
            self._entries.popitem(last=False)


@dataclass(slots=True)
class _Spam:
    tokens: float
    at: float


@dataclass(slots=True)
class _Similar:
    messages: dict[str, None] = field(default_factory=dict)
    at: float = 0.0


@dataclass(slots=True)
class _Sent:
    name: str
    first: str
    count: int


@dataclass(frozen=True, slots=True)
class Send:
    """An event to send. `patch` is what to change in the one already there; None when it is new."""

    event: dict[str, Any]
    patch: dict[str, Any] | None


class Correlator:
    """Which events are dropped as spam, combined as similar, or counted as equal.

    - an object's events from one source: 25 at once, then one per 5 minutes; the rest is dropped;
    - from the tenth of messages that differ in text only, each within 10 minutes of the last: combined into one event;
    - equal events: one object whose count and last time grow.
    """

    def __init__(self) -> None:
        self._spam: _Recent[_Spam] = _Recent()
        self._similar: _Recent[_Similar] = _Recent()
        self._sent: _Recent[_Sent] = _Recent()

    def correlate(self, event: dict[str, Any], now: float) -> Send | None:
        """Return what to send for a freshly made event at epoch second `now`; None drops it."""
        involved, source = event["involvedObject"], event["source"]
        origin = (source.get("component", ""), source.get("host", ""))
        whole = tuple(involved.get(name, "") for name in ("kind", "namespace", "name", "uid", "apiVersion"))
        if not self._admits((origin, whole), now):
            return None
        kindred = (origin, whole, involved.get("fieldPath", ""), event["type"], event["reason"])
        if self._is_similar(kindred, event["message"], now):
            event = {**event, "message": SIMILAR_PREFIX + event["message"]}
            identity: Hashable = kindred
        else:
            identity = (kindred, event["message"])
        sent = self._sent.get(identity)
        if sent is None:
            self._sent.put(identity, _Sent(event["metadata"]["name"], event["firstTimestamp"], 1))
            return Send(event, None)
        sent.count += 1
        changes = {"count": sent.count, "lastTimestamp": event["lastTimestamp"], "message": event["message"]}
        metadata = {**event["metadata"], "name": sent.name}
        return Send({**event, **changes, "metadata": metadata, "firstTimestamp": sent.first}, changes)

    def _admits(self, key: Hashable, now: float) -> bool:
        bucket = self._spam.get(key)
        if bucket is None:
            bucket = _Spam(SPAM_BURST, now)
            self._spam.put(key, bucket)
        bucket.tokens = min(SPAM_BURST, bucket.tokens + max(0.0, now - bucket.at) * SPAM_RATE)
        bucket.at = now
        if bucket.tokens < 1.0:
            return False
        bucket.tokens -= 1.0
        return True

    def _is_similar(self, kindred: Hashable, message: str, now: float) -> bool:
        group = self._similar.get(kindred)
        if group is None or now - group.at > SIMILAR_SECONDS:
            group = _Similar()
            self._similar.put(kindred, group)
        group.at = now
        group.messages[message] = None
        if len(group.messages) < SIMILAR_LIMIT:
            return False
        del group.messages[next(iter(group.messages))]  # no need to remember more than the limit
        return True


class EventRecorder:
    """Records events of one component. Recording never waits and never fails; `begin` or `run` sends.

    Beyond 1,000 unsent events the oldest are dropped: events are a courtesy, not a record.
    """

    def __init__(self, client: Client, clock: Clock, component: str, host: str = "") -> None:
        self._client, self._clock = client, clock
        self._source = {"component": component, "host": host} if host else {"component": component}
        self._correlator = Correlator()
        self._pending: deque[dict[str, Any]] = deque(maxlen=QUEUE_LIMIT)
        self._group: asyncio.TaskGroup | None = None
        self._sending = False
        self._offset = zlib.crc32(f"{component}/{host}".encode()) % NAME_SPREAD
        self._last_stamp = 0

    def normal(self, about: Object, reason: str, message: str, *, field_path: str = "") -> None:
        """Record that something went as it should. `field_path` such as `spec.containers{web}` narrows `about`."""
        self._record(about, "Normal", reason, message, field_path)

    def warning(self, about: Object, reason: str, message: str, *, field_path: str = "") -> None:
        """Record that something did not go as it should."""
        self._record(about, "Warning", reason, message, field_path)

    def _record(self, about: Object, kind: str, reason: str, message: str, field_path: str) -> None:
        now = self._clock.now()
        metadata = about["metadata"]
        involved = {
            "kind": about["kind"],
            "namespace": metadata.get("namespace", ""),
            "name": metadata["name"],
            "uid": metadata.get("uid", ""),
            "apiVersion": about["apiVersion"],
            "resourceVersion": metadata.get("resourceVersion", ""),
            "fieldPath": field_path,
        }
        stamp = rfc3339(now)
        # nanoseconds, never twice, and apart from those of other components at the same moment: it is in the name
        self._last_stamp = max(self._last_stamp + 1, int(now * 1e9) + self._offset)
        self._pending.append(
            {
                "kind": "Event",
                "apiVersion": "v1",
                "metadata": {
                    "name": f"{metadata['name']}.{self._last_stamp:x}",
                    "namespace": metadata.get("namespace") or "default",
                },
                "involvedObject": {name: value for name, value in involved.items() if value},
                "reason": reason,
                "message": message,
                "source": self._source,
                "firstTimestamp": stamp,
                "lastTimestamp": stamp,
                "count": 1,
                "type": kind,
                "reportingComponent": self._source["component"],
                "reportingInstance": self._source.get("host", ""),
            }
        )
        self._send_soon()

    async def run(self) -> None:
        """Send what is recorded; ends by cancellation only."""
        async with asyncio.TaskGroup() as group:
            self.begin(group)
            await asyncio.get_running_loop().create_future()

    def begin(self, group: asyncio.TaskGroup) -> None:
        """Send what is recorded, in order, in a task of the group; there is none while there is nothing to send.

        Events are told beside the work they are about, not before it: of a crowd of them no more are sent than take a
        fifth of the time, unless so many wait that some would be dropped.
        """
        self._group = group
        self._send_soon()

    def _send_soon(self) -> None:
        if self._group is None or self._sending or not self._pending:
            return
        sending = self._send_all()
        try:
            self._group.create_task(sending, name=f"{self._source['component']}-events")
            self._sending = True
        except RuntimeError:  # the component has ended, and its group: this is told to nobody
            sending.close()
            self._group = None

    async def _send_all(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending:
                event = self._pending.popleft()
                send = self._correlator.correlate(event, self._clock.now())
                if send is None:
                    continue
                began = loop.time()
                await self._send(send)
                took = loop.time() - began
                if took and 0 < len(self._pending) < QUEUE_LIMIT // 2:
                    await asyncio.sleep(min(REST_LIMIT_SECONDS, REST * took))
        finally:
            self._sending = False

    async def _send(self, send: Send) -> None:
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(RETRY_SECONDS)
            try:
                await self._write(send)
            except ApiError as error:  # the server understood and refused: sending again would not help
                _log.info("event %s not recorded: %s", send.event["metadata"]["name"], error)
                return
            except OSError as error:
                _log.debug("event %s waits: %s", send.event["metadata"]["name"], error)
            else:
                return
        _log.warning("event %s given up after %d attempts", send.event["metadata"]["name"], ATTEMPTS)

    async def _write(self, send: Send) -> None:
        metadata = send.event["metadata"]
        if send.patch is not None:
            try:
                await self._client.patch(
                    EVENTS, metadata["namespace"], metadata["name"], send.patch, kind=PatchType.STRATEGIC
                )
            except NotFound:
                pass  # it aged out: record it anew
            else:
                return
        await self._client.create(EVENTS, send.event)
