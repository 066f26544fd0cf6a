"""Listeners travel between processes, and again when either side starts anew."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from homeport.node.sockets import listen, offer, receive


class Receiver:
    """Keeps what arrives."""

    def __init__(self) -> None:
        self.arrived: asyncio.Queue[tuple[str, socket.socket]] = asyncio.Queue()

    async def accept(self, name: str, listener: socket.socket) -> None:
        await self.arrived.put((name, listener))


@asynccontextmanager
async def running(*coroutines: object) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]  # type: ignore[call-overload]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def greet(listener: socket.socket, word: bytes) -> bytes:
    """Connect to where `listener` listens and be greeted by it."""
    loop = asyncio.get_running_loop()
    with socket.create_connection(listener.getsockname()) as client:
        connection, _ = await loop.sock_accept(listener)
        with connection:
            connection.sendall(word)
            return client.recv(100)


async def test_a_listener_arrives_and_works(tmp_path: Path) -> None:
    path, receiver = tmp_path / "listener.sock", Receiver()
    with listen("127.0.0.1", 0) as api, listen("127.0.0.1", 0) as other:
        async with running(offer(path, {"api": api, "other": other}), receive(path, receiver.accept)):
            for expected, original in (("api", api), ("other", other)):
                name, listener = await receiver.arrived.get()
                with listener:
                    assert name == expected
                    assert listener.getsockname() == original.getsockname()
                    assert await greet(listener, b"hello") == b"hello"


async def test_a_new_receiver_gets_the_same_listener(tmp_path: Path) -> None:
    path, receiver = tmp_path / "listener.sock", Receiver()
    with listen("127.0.0.1", 0) as api:
        async with running(offer(path, {"api": api})):
            for _ in range(3):
                async with running(receive(path, receiver.accept)):
                    _, listener = await receiver.arrived.get()
                    with listener:
                        assert await greet(listener, b"again") == b"again"


async def test_a_new_node_replaces_the_listener(tmp_path: Path) -> None:
    path, receiver = tmp_path / "listener.sock", Receiver()
    async with running(receive(path, receiver.accept)):
        with listen("127.0.0.1", 0) as first:
            port = first.getsockname()[1]
            async with running(offer(path, {"api": first})):
                _, kept = await receiver.arrived.get()
        with kept, listen("127.0.0.1", port) as second:
            async with running(offer(path, {"api": second})):
                _, fresh = await receiver.arrived.get()
                kept.close()
                with fresh:
                    assert await greet(fresh, b"new") == b"new"


async def test_a_deep_directory_is_no_obstacle(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["a-rather-long-directory-name"] * 6)
    deep.mkdir(parents=True)
    receiver = Receiver()
    with listen("127.0.0.1", 0) as api:
        async with running(receive(deep / "s", receiver.accept), offer(deep / "s", {"api": api})):
            name, listener = await receiver.arrived.get()
            listener.close()
            assert name == "api"
