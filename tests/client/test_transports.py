"""What a client sees is the same over every transport."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from homeport.api.exchange import Handler, Request, Response, User
from homeport.api.resources import find
from homeport.client.contract import PatchType, Transport
from homeport.client.http import HttpTransport
from homeport.client.inprocess import InProcessTransport
from homeport.client.rest import RestClient
from homeport.client.settings import ConnectionSettings, unix_settings
from homeport.errors import Conflict, Expired, NotFound, Unauthorized
from tests.client.scripted import ScriptedServer
from tests.client.wire import Wire, authority, listening

CONFIG_MAPS, PODS, NODES = find("ConfigMap"), find("Pod"), find("Node")

Reach = Callable[[Handler], AbstractAsyncContextManager[Transport]]


@pytest.fixture(params=["in-process", "unix", "long-unix", "https"])
def reach(request: pytest.FixtureRequest, tmp_path: Path) -> Reach:
    @asynccontextmanager
    async def open_transport(handler: Handler) -> AsyncIterator[Transport]:
        if request.param == "in-process":
            yield InProcessTransport(handler, User("tester"))
            return
        wire = Wire(handler)
        if request.param == "https":
            pki = authority(str(tmp_path))
            async with listening(wire, asyncio.start_server, "127.0.0.1", 0, ssl=pki.server) as server:  # type: ignore[arg-type]
                port = server.sockets[0].getsockname()[1]
                transport = HttpTransport(
                    ConnectionSettings(
                        f"https://127.0.0.1:{port}", pki.ca_pem, pki.client_cert, pki.client_key, token="secret"
                    )
                )
                yield transport
                await transport.close()
            return
        directory = tmp_path / ("d" * 120 if request.param == "long-unix" else "d")
        directory.mkdir()
        (tmp_path / "s").symlink_to(directory)
        async with listening(wire, asyncio.start_unix_server, str(tmp_path / "s" / "api.sock")):  # type: ignore[arg-type]
            transport = HttpTransport(unix_settings(str(directory / "api.sock"), {"x-remote-user": "dns"}))
            yield transport
            await transport.close()

    return open_transport


async def test_objects_and_lists_are_read(reach: Reach) -> None:
    server = ScriptedServer()
    server.put("a", v="1")
    server.put("b", v="ü/2")
    async with reach(server.handle) as transport:
        client = RestClient(transport, "tester/1")
        assert (await client.get(CONFIG_MAPS, "default", "b"))["data"] == {"v": "ü/2"}
        listing = await client.list(CONFIG_MAPS, "default", label_selector="a in (b,c),!d", limit=5)
        assert listing.resource_version == "3"
        assert [(item["kind"], item["apiVersion"]) for item in listing.items] == [("ConfigMap", "v1")] * 2
        assert server.requests[-1][2] == {"labelSelector": "a in (b,c),!d", "limit": "5"}


async def test_requests_go_where_they_should(reach: Reach) -> None:
    server = ScriptedServer()
    async with reach(server.handle) as transport:
        client = RestClient(transport, "tester/1")
        body = {"metadata": {"name": "a", "namespace": "n"}}
        await client.create(CONFIG_MAPS, body)
        await client.create(PODS, {"target": {"name": "n1"}}, "n", subresource="binding", name="web-0")
        await client.update(PODS, body, subresource="status")
        await client.patch(NODES, None, "n1", {"spec": {}}, kind=PatchType.STRATEGIC)
        await client.patch(find("StatefulSet", "apps"), "n", "a", {}, kind=PatchType.APPLY, subresource="status")
        await client.delete(PODS, "n", "web-0", uid="u", grace_seconds=0, propagation="Foreground")
        await client.delete(PODS, "n", "web-0")
        assert server.requests == [
            ("POST", "/api/v1/namespaces/n/configmaps", {}),
            ("POST", "/api/v1/namespaces/n/pods/web-0/binding", {}),
            ("PUT", "/api/v1/namespaces/n/pods/a/status", {}),
            ("PATCH", "/api/v1/nodes/n1", {}),
            (
                "PATCH",
                "/apis/apps/v1/namespaces/n/statefulsets/a/status",
                {"fieldManager": "tester", "force": "true"},
            ),
            ("DELETE", "/api/v1/namespaces/n/pods/web-0", {}),
            ("DELETE", "/api/v1/namespaces/n/pods/web-0", {}),
        ]
        assert server.bodies[-1] == {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "preconditions": {"uid": "u"},
            "gracePeriodSeconds": 0,
            "propagationPolicy": "Foreground",
        }
        with pytest.raises(ValueError, match="namespace"):
            await client.get(PODS, None, "x")


async def test_failures_are_raised_as_what_they_are(reach: Reach) -> None:
    server = ScriptedServer()
    async with reach(server.handle) as transport:
        client = RestClient(transport, "tester/1")
        with pytest.raises(NotFound, match='configmaps "x" not found'):
            await client.get(CONFIG_MAPS, "default", "x")
        server.fail_next(Conflict("somebody wrote"))
        with pytest.raises(Conflict):
            await client.create(CONFIG_MAPS, {"metadata": {"namespace": "n"}})
        server.fail_next(Unauthorized("Unauthorized"))
        with pytest.raises(Unauthorized):
            async with client.watch(CONFIG_MAPS, resource_version="1"):
                pass


async def test_a_watch_streams_and_ends_with_its_block(reach: Reach) -> None:
    server = ScriptedServer()
    async with reach(server.handle) as transport:
        client = RestClient(transport, "tester/1")
        async with client.watch(CONFIG_MAPS, "default", resource_version="1") as events:
            for n in range(3):
                server.put("a", v=str(n))
                event = await anext(events)
                assert (event.kind, event.object["data"]["v"]) == ("MODIFIED" if n else "ADDED", str(n))
            assert len(server.watches) == 1
        await asyncio.wait_for(server.watch_closed.wait(), 10)
        assert not server.watches
        await client.list(CONFIG_MAPS, "default")


async def test_a_watch_ends_when_the_server_ends_it_and_raises_its_error(reach: Reach) -> None:
    server = ScriptedServer()
    async with reach(server.handle) as transport:
        client = RestClient(transport, "tester/1")
        async with client.watch(CONFIG_MAPS, "default", resource_version="1") as events:
            server.put("a", v="1")
            assert (await anext(events)).kind == "ADDED"
            server.drop()
            assert [event async for event in events] == []
        server.compact()
        async with client.watch(CONFIG_MAPS, "default", resource_version="1") as events:
            with pytest.raises(Expired, match="too old"):
                await anext(events)


async def test_many_at_once(reach: Reach) -> None:
    server = ScriptedServer()
    server.put("a", v="x" * 300_000)
    async with reach(server.handle) as transport:
        client = RestClient(transport, "tester/1")
        found = await asyncio.gather(*(client.get(CONFIG_MAPS, "default", "a") for _ in range(30)))
        assert all(len(one["data"]["v"]) == 300_000 for one in found)
        big = {"metadata": {"namespace": "default"}, "data": {"v": "y" * 500_000}}
        assert await client.create(CONFIG_MAPS, big) == big


@asynccontextmanager
async def unix(handler: Handler, path: Path, **options: Any) -> AsyncIterator[tuple[Wire, HttpTransport]]:
    wire = Wire(handler, **options)
    async with listening(wire, asyncio.start_unix_server, str(path)):  # type: ignore[arg-type]
        transport = HttpTransport(unix_settings(str(path), {"x-remote-user": "dns"}))
        yield wire, transport
        await transport.close()


async def test_connections_are_reused_and_fixed_headers_sent(tmp_path: Path) -> None:
    seen: list[Request] = []

    async def handler(request: Request) -> Response:
        seen.append(request)
        return Response(200, body=b"{}")

    async with unix(handler, tmp_path / "s") as (wire, transport):
        for _ in range(5):
            await transport.send(Request("GET", "/a b/ü", (("q", "1 2"), ("q", "&"))))
        assert wire.connections == 1
    assert (seen[0].path, seen[0].query) == ("/a b/ü", (("q", "1 2"), ("q", "&")))
    assert seen[0].headers["x-remote-user"] == "dns"


async def test_a_read_survives_a_connection_given_up_between_requests_a_write_is_not_repeated(tmp_path: Path) -> None:
    calls: list[str] = []

    async def handler(request: Request) -> Response:
        calls.append(request.method)
        return Response(200, body=b"{}")

    async with unix(handler, tmp_path / "s", hang_up_after=1) as (wire, transport):
        for _ in range(3):
            assert (await transport.send(Request("GET", "/"))).status == 200
        assert wire.connections == 3
    assert calls == ["GET"] * 3


async def test_nobody_there_is_an_oserror(tmp_path: Path) -> None:
    transport = HttpTransport(unix_settings(str(tmp_path / "none")))
    with pytest.raises(OSError):
        await transport.send(Request("GET", "/"))
    with pytest.raises(ValueError, match="ftp"):
        HttpTransport(ConnectionSettings("ftp://x"))


@pytest.mark.virtual
async def test_a_token_is_read_again_from_its_file(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    transport = HttpTransport(ConnectionSettings("http://127.0.0.1:1", token="one", token_file=str(file)))

    def sent() -> str:
        head = transport._head(Request("GET", "/")).decode()
        return next(line for line in head.splitlines() if line.startswith("authorization: "))

    await asyncio.sleep(61)
    assert sent() == "authorization: Bearer one"
    file.write_text("two\n")
    assert sent() == "authorization: Bearer one"
    await asyncio.sleep(61)
    assert sent() == "authorization: Bearer two"
    file.unlink()
    await asyncio.sleep(61)
    assert sent() == "authorization: Bearer two"


async def test_a_header_cannot_smuggle_another(tmp_path: Path) -> None:
    transport = HttpTransport(unix_settings(str(tmp_path / "none"), {"x-remote-user": "a\r\nx-remote-group: root"}))
    with pytest.raises(ValueError, match="line break"):
        await transport.send(Request("GET", "/"))


async def test_decoded_answers_are_shared_in_process() -> None:
    tree = {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": "a", "namespace": "n"}}
    closed = []

    async def batches() -> AsyncIterator[list[Any]]:
        try:
            yield [{"type": "ADDED", "object": tree}]
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append(True)

    async def handler(request: Request) -> Response:
        assert request.user == User("tester")
        if request.query:
            return Response(200, documents=batches())
        return Response(200, document=tree)

    client = RestClient(InProcessTransport(handler, User("tester")), "tester/1")
    assert await client.get(CONFIG_MAPS, "n", "a") is tree
    async with client.watch(CONFIG_MAPS) as events:
        assert (await anext(events)).object is tree
    assert closed
