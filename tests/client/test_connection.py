"""Responses are understood however the wire cuts them."""

import asyncio
import random
from typing import Any

import pytest

from homeport.client.connection import Connection

CHUNKED = (
    b"HTTP/1.1 100 Continue\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\n\r\n"
)
SIZED = b"HTTP/1.1 404 Not Found\r\nX-A: 1\r\nContent-Length: 4\r\n\r\ngone"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.0 200 OK\r\n\r\nall of it"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok"


class FakeTransport(asyncio.Transport):
    """Swallows what is written; records pauses."""

    def __init__(self) -> None:
        super().__init__()
        self.aborted = False
        self.pauses = 0

    def write(self, data: Any) -> None: ...

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None:
        self.pauses += 1

    def resume_reading(self) -> None: ...


async def exchange(
    connection: Connection, data: bytes, rng: random.Random, *, close: bool = False
) -> tuple[int, bytes]:
    pending = asyncio.create_task(_read(connection))
    await asyncio.sleep(0)
    while data:
        cut = rng.randint(1, len(data))
        connection.data_received(data[:cut])
        data = data[cut:]
        if rng.random() < 0.5:
            await asyncio.sleep(0)
    if close:
        connection.connection_lost(None)
    return await pending


async def _read(connection: Connection) -> tuple[int, bytes]:
    status = await connection.exchange(b"GET / HTTP/1.1\r\n\r\n", b"")
    parts = []
    while part := await connection.read():
        parts.append(part)
    return status, b"".join(parts)


@pytest.mark.virtual
@pytest.mark.parametrize("seed", range(50))
async def test_however_it_is_cut(seed: int) -> None:
    rng = random.Random(seed)
    connection = Connection()
    connection.connection_made(FakeTransport())
    for _ in range(3):
        assert await exchange(connection, CHUNKED, rng) == (200, b"hello world")
        assert ("content-type", "application/json") in connection.headers
        assert connection.finish()
        assert await exchange(connection, SIZED, rng) == (404, b"gone")
        assert connection.headers == [("x-a", "1"), ("content-length", "4")]
        assert connection.finish()
        assert await exchange(connection, EMPTY, rng) == (204, b"")
        assert connection.finish()
    assert await exchange(connection, CLOSING, rng) == (200, b"ok")
    assert not connection.finish()


@pytest.mark.virtual
async def test_a_body_without_length_ends_with_the_connection() -> None:
    connection = Connection()
    connection.connection_made(FakeTransport())
    assert await exchange(connection, UNTIL_CLOSE, random.Random(1), close=True) == (200, b"all of it")
    assert not connection.finish()


@pytest.mark.virtual
@pytest.mark.parametrize("data", [b"", SIZED[:20], SIZED[:-1], CHUNKED[:-5], b"SSH-2.0-x\r\n"])
async def test_an_answer_that_breaks_off_is_an_oserror(data: bytes) -> None:
    connection = Connection()
    connection.connection_made(FakeTransport())
    with pytest.raises(OSError):
        await exchange(connection, data, random.Random(1), close=True)


@pytest.mark.virtual
async def test_an_unread_body_pauses_the_wire() -> None:
    connection, transport = Connection(), FakeTransport()
    connection.connection_made(transport)
    reading = asyncio.create_task(connection.exchange(b"", b""))
    await asyncio.sleep(0)
    connection.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n")
    assert await reading == 200
    for _ in range(6):
        connection.data_received(b"x" * 1_000_000)
    assert transport.pauses == 1
    assert len(await connection.read()) == 6_000_000
