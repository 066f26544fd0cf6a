"""SPDY over a pipe: streams as they are opened, each with its own end-to-end order."""

import asyncio
from collections.abc import AsyncIterator, Mapping

from homeport.node.streams import spdy
from homeport.node.streams.pipe import Pipe

__all__ = ["SpdySession", "SpdyStream"]

BACKLOG = 1024


class SpdyStream:
    """A stream the client opened."""

    def __init__(self, session: "SpdySession", id: int, headers: Mapping[str, str]) -> None:
        self._session = session
        self.id, self.headers = id, headers
        self._received: asyncio.Queue[bytes] = asyncio.Queue(maxsize=BACKLOG)
        self._closed = False

    async def read(self) -> bytes:
        """Return the next data; empty at the end."""
        data = await self._received.get()
        if not data:
            self._received.put_nowait(b"")
        return data

    async def write(self, data: bytes) -> None:
        """Send data. Raises ConnectionError once our half, or the connection, is closed."""
        if self._closed:
            raise ConnectionResetError(f"stream {self.id} is closed")
        await self._session.write(spdy.SpdyConnection.send(self.id, data))

    async def close(self) -> None:
        """Close our half."""
        if not self._closed:
            self._closed = True
            await self._session.write(spdy.SpdyConnection.send(self.id, b"", finished=True))

    async def reset(self) -> None:
        """Drop the stream, both halves."""
        self._closed = True
        await self._session.write(spdy.SpdyConnection.reset(self.id))

    async def arrived(self, data: bytes) -> None:
        await self._received.put(data)

    def over(self) -> None:
        """The peer's half has ended; never waits, so the last data of a stream that is full gives way."""
        if self._received.full():
            self._received.get_nowait()
        self._received.put_nowait(b"")


class SpdySession:
    """The server's end of one connection. `run` reads until the peer is gone; `streams` yields what it opens."""

    def __init__(self, pipe: Pipe) -> None:
        self._pipe = pipe
        self._connection = spdy.SpdyConnection()
        self._streams: dict[int, SpdyStream] = {}
        self._opened: asyncio.Queue[SpdyStream | None] = asyncio.Queue()
        self._writing = asyncio.Lock()

    async def streams(self) -> AsyncIterator[SpdyStream]:
        """Yield streams as they are opened, until the connection ends."""
        while (stream := await self._opened.get()) is not None:
            yield stream

    async def write(self, data: bytes) -> None:
        async with self._writing:
            await self._pipe.write(data)

    async def run(self) -> None:
        """Serve the connection until its end."""
        try:
            while data := await self._pipe.read():
                for event in self._connection.receive(data):
                    await self._handle(event)
        except (spdy.SpdyError, ConnectionError):
            pass
        finally:
            self._opened.put_nowait(None)
            for stream in self._streams.values():
                stream.over()

    async def _handle(self, event: spdy.Event) -> None:
        match event:
            case spdy.Opened(id, headers, finished):
                stream = self._streams[id] = SpdyStream(self, id, headers)
                await self.write(self._connection.reply(id))
                if finished:
                    stream.over()
                self._opened.put_nowait(stream)
            case spdy.Data(id, data):
                if (known := self._streams.get(id)) is not None:
                    await known.arrived(data)
            case spdy.Finished(id):
                if (known := self._streams.get(id)) is not None:
                    await known.arrived(b"")
            case spdy.Reset(id):
                if (known := self._streams.pop(id, None)) is not None:
                    known.over()
            case spdy.Ping(id):
                await self.write(self._connection.ping(id))
            case _:
                pass

    def forget(self, *streams: SpdyStream) -> None:
        """Both halves of these are closed: nothing will come on them any more."""
        for stream in streams:
            self._streams.pop(stream.id, None)

    async def close(self) -> None:
        await self._pipe.close()
