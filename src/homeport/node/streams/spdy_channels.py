"""Remote command channels over SPDY: one stream each, named by its `streamtype`. Source: `api-machinery` 17.9."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from homeport.node.streams.multiplex import SpdySession, SpdyStream
from homeport.node.streams.remotecommand import Wanted, parse_sizes

__all__ = ["PROTOCOLS", "SpdyChannels", "expected_streams", "negotiate"]

PROTOCOLS: Final = ("v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io")
STREAMS_WITHIN_SECONDS: Final = 30.0


def negotiate(offered: str) -> str | None:
    """Return the first protocol of an `X-Stream-Protocol-Version` header that is spoken here."""
    names = [name.strip() for name in offered.split(",")]
    return next((name for name in names if name in PROTOCOLS), None)


def expected_streams(wanted: Wanted, protocol: str) -> set[str]:
    """Return the stream types a client will open, in any order."""
    types = {"error"}
    types |= {"stdin"} if wanted.stdin else set()
    types |= {"stdout"} if wanted.stdout else set()
    types |= {"stderr"} if wanted.stderr and not wanted.tty else set()
    types |= {"resize"} if wanted.tty and protocol.startswith(("v3", "v4")) else set()
    return types


class SpdyChannels:
    """`remotecommand.Channels` of a SPDY session."""

    def __init__(self, session: SpdySession, protocol: str, wanted: Wanted) -> None:
        self._session, self._wanted, self._protocol = session, wanted, protocol
        self._streams: dict[str, SpdyStream] = {}
        self._left = asyncio.Event()

    async def gather(self) -> bool:
        """Wait until the client has opened its streams; returns whether it did."""
        missing = expected_streams(self._wanted, self._protocol)
        try:
            async with asyncio.timeout(STREAMS_WITHIN_SECONDS):
                async for stream in self._session.streams():
                    kind = stream.headers.get("streamtype", "")
                    self._streams[kind] = stream
                    missing.discard(kind)
                    if not missing:
                        return True
        except TimeoutError:
            return False
        return False

    async def run(self) -> None:
        """Serve the connection; returns when the client has left."""
        await self._session.run()
        self._left.set()

    async def stdin(self) -> bytes:
        return await self._streams["stdin"].read()

    async def sizes(self) -> AsyncIterator[tuple[int, int]]:
        stream = self._streams.get("resize")
        rest = ""
        while stream is not None and (data := await stream.read()):
            sizes, rest = parse_sizes(rest + data.decode("utf-8", "replace"))
            for size in sizes:
                yield size

    async def stdout(self, data: bytes) -> None:
        await self._streams["stdout"].write(data)

    async def stderr(self, data: bytes) -> None:
        await self._streams["stderr"].write(data)

    async def finish(self, status: Mapping[str, Any]) -> None:
        error = self._streams["error"]
        if self._protocol.startswith("v4"):
            await error.write(json.dumps(status, separators=(",", ":")).encode())
        elif status["status"] != "Success":
            await error.write(status["message"].encode())
        for stream in self._streams.values():
            await stream.close()
        await self._session.close()

    async def gone(self) -> None:
        await self._left.wait()
