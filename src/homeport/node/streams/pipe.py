"""Bytes both ways: what an upgraded connection is to the protocols that run on it."""

import asyncio
from typing import Protocol

__all__ = ["Pipe", "StreamPipe"]

CHUNK_BYTES = 64 * 1024


class Pipe(Protocol):
    """An open connection. A peer that is gone reads as the end; writing to it raises ConnectionError."""

    async def read(self) -> bytes:
        """Return what has come, at least one byte; empty at the end."""
        ...

    async def write(self, data: bytes) -> None:
        """Send, waiting while the peer does not take it."""
        ...

    async def close(self) -> None: ...


class StreamPipe:
    """A pipe over asyncio streams; `rest` was read before it began."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rest: bytes = b"") -> None:
        self._reader, self._writer, self._rest = reader, writer, rest

    async def read(self) -> bytes:
        if self._rest:
            data, self._rest = self._rest, b""
            return data
        try:
            return await self._reader.read(CHUNK_BYTES)
        except ConnectionError:
            return b""

    async def write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def close(self) -> None:
        self._writer.close()
