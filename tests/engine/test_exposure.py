"""Which ports of the host lead where, and that they do."""

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from homeport.engine.expose_process import Exposer, node_port_addresses, open_socket
from homeport.engine.exposure import ANNOTATION, Exposure, ExposureError, Goal, Place, exposures, goals, text_of
from homeport.engine.settings import ClusterSettings

LOOPBACK = "127.0.0.1"


def service(name: str, wish: str = "", **spec: Any) -> dict[str, Any]:
    body = {"clusterIP": "10.96.1.1", "ports": [{"port": 80}, {"port": 53, "protocol": "UDP"}], **spec}
    annotations = {ANNOTATION: wish} if wish else {}
    return {"metadata": {"namespace": "default", "name": name, "annotations": annotations}, "spec": body}


def on(port: int, address: str = LOOPBACK) -> Place:
    return Place(address, port)


def goal(name: str, port: int = 80) -> Goal:
    return Goal("default", name, "10.96.1.1", port)


@pytest.mark.parametrize(
    ("services", "wanted"),
    [
        ([service("web")], {}),
        ([service("web", "8080:80")], {on(8080): goal("web")}),
        ([service("web", "8080:80, 8081:80")], {on(8080): goal("web"), on(8081): goal("web")}),
        ([service("web", "8080:81")], {}),  # no such port
        ([service("web", "5353:53")], {}),  # not TCP
        ([service("web", "8080:80", clusterIP="None")], {}),
        ([service("web", "nonsense")], {}),
        ([service("web", "[::1]:8080:80")], {on(8080, "::1"): goal("web")}),
        ([service("web", "10.0.0.1:8080:80")], {}),  # not of the loopback interface
        ([service("b", "8080:80"), service("a", "8080:80")], {on(8080): goal("a")}),
    ],
)
def test_goals(services: list[dict[str, Any]], wanted: dict[int, Goal]) -> None:
    assert goals(services) == wanted


def test_node_ports_are_goals_when_asked_for() -> None:
    balanced = service("web", "8080:80", type="NodePort", ports=[{"port": 80, "nodePort": 30080}])
    assert goals([balanced], node_ports=(LOOPBACK, "::1")) == {
        on(8080): goal("web"),
        on(30080): goal("web"),
        on(30080, "::1"): goal("web"),
    }
    assert goals([balanced]) == {on(8080): goal("web")}


@pytest.mark.parametrize(
    ("settings", "addresses"),
    [
        (ClusterSettings(), ()),
        (ClusterSettings(node_ports=True), ("127.0.0.1",)),
        (ClusterSettings(node_ports=True, families=("IPv6", "IPv4")), ("127.0.0.1", "::1")),
        (ClusterSettings(node_ports=True, families=("IPv6",)), ("127.0.0.1", "::1")),
    ],
)
def test_node_ports_answer_in_each_family(settings: ClusterSettings, addresses: tuple[str, ...]) -> None:
    assert node_port_addresses(settings) == addresses


def test_annotations_are_read_as_they_are_written() -> None:
    wanted = [Exposure(9000, 80), Exposure(8080, 80)]
    assert text_of(wanted) == "8080:80,9000:80"
    assert exposures(service("web", "8080:80,9000:80")) == sorted(wanted)
    assert text_of([]) is None
    six = Exposure(8080, 80, "::1")
    assert text_of([six, *wanted]) == "8080:80,[::1]:8080:80,9000:80"
    assert Exposure.parse("[::1]:8080:80") == Exposure.parse("[0::1]:8080:80") == six
    assert Exposure.parse("127.0.0.2:8080:80").place == Place("127.0.0.2", 8080)
    assert Place.read(str(six.place)) == six.place


@pytest.mark.parametrize(
    "text", ["", "80", "a:b", "0:80", "8080:65536", "-1:80", "1:2:3", "0.0.0.0:1:2", "[::]:1:2", "x:1:2"]
)
def test_what_is_no_exposure_is_refused(text: str) -> None:
    with pytest.raises(ExposureError):
        Exposure.parse(text)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


async def shout(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer the whole request in capitals, once it is whole."""
    writer.write((await reader.read(-1)).upper())
    await writer.drain()
    writer.close()


async def ask(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    writer.write(text)
    writer.write_eof()
    answer = await reader.read(-1)
    writer.close()
    return answer


def test_connections_are_carried_whole_and_broken_ones_are_reset() -> None:
    async def scenario() -> None:
        backend = await asyncio.start_server(shout, LOOPBACK, 0)
        there, nowhere = backend.sockets[0].getsockname()[1], free_port()
        first, second = free_port(), free_port()
        with ThreadPoolExecutor(1) as executor:
            exposer = Exposer(open_socket, executor)
            ways = {first: there, second: nowhere}
            wanted = {on(local): Goal("default", "web", LOOPBACK, port) for local, port in ways.items()}
            assert await exposer.follow(wanted) == {on(first), on(second)}
            assert await exposer.follow(wanted) == set()
            large = b"abc" * 300_000
            assert await asyncio.gather(ask(first, large), ask(first, b"x")) == [large.upper(), b"X"]
            with pytest.raises(ConnectionResetError):
                await ask(second, b"x")
            del wanted[on(first)]
            assert await exposer.follow(wanted) == set()
            with pytest.raises(ConnectionRefusedError):
                await ask(first, b"x")
            exposer.close()
        backend.close()

    asyncio.run(scenario())


def test_a_port_of_somebody_else_is_told_and_tried_again() -> None:
    async def scenario() -> None:
        other = await asyncio.start_server(shout, LOOPBACK, 0)
        port = other.sockets[0].getsockname()[1]
        wanted = {on(port): Goal("default", "web", LOOPBACK, 1)}
        with ThreadPoolExecutor(1) as executor:
            exposer = Exposer(open_socket, executor)
            assert await exposer.follow(wanted) == {on(port)}
            assert list(exposer.failed) == [on(port)]
            other.close()
            await other.wait_closed()
            assert await exposer.follow(wanted) == {on(port)}
            assert exposer.failed == {}
            exposer.close()

    asyncio.run(scenario())
