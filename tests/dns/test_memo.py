"""Kept replies: each change ends exactly those it could have changed."""

import dns.message

from homeport.dns.server import DnsServer
from tests.dns.test_zone import served
from tests.dns.worked import endpoints
from tests.vectors.replay_dns import fill


async def known(server: DnsServer, text: str) -> bytes:
    """Ask once, return the key the reply is kept under."""
    name, kind = text.split()
    query = dns.message.make_query(name, kind).to_wire()
    await server.respond(query, False)
    return query[2:]


def put(server: DnsServer, *found: tuple[str, str, bool], service: str = "pg") -> None:
    from homeport.dns import objects

    part = objects.slice_of(endpoints("db", service, *found, ports=(("pg", 5432),)))
    assert part is not None
    server.changed(server.index.put_slice(part))


async def test_a_changed_endpoint_ends_its_own_replies_and_the_services() -> None:
    server = served()
    first = await known(server, "pg-0.pg.db.svc.cluster.local. A")
    second = await known(server, "pg-1.pg.db.svc.cluster.local. A")
    whole = await known(server, "pg.db.svc.cluster.local. A")
    other = await known(server, "pg-rw.db.svc.cluster.local. A")
    absent = await known(server, "nosuch.db.svc.cluster.local. A")
    assert absent in server.memo.absent
    put(server, ("10.244.1.10", "pg-0", True), ("10.244.1.99", "pg-1", True), ("10.244.1.12", "pg-2", False))
    assert {first, other} <= server.memo.table.keys()
    assert not {second, whole} & server.memo.table.keys()
    assert not server.memo.absent


async def test_a_changed_service_ends_all_its_replies() -> None:
    server = served()
    first = await known(server, "pg-0.pg.db.svc.cluster.local. A")
    server.changed([("db", "pg")])
    assert first not in server.memo.table


async def test_a_second_service_on_an_address_is_told_by_its_pointer() -> None:
    server = served()
    key = await known(server, "11.1.244.10.in-addr.arpa. PTR")
    fill(server, [])
    put(server, ("10.244.1.11", "again", True), service="db0")
    assert key not in server.memo.table
    assert key not in server.memo.absent


async def test_absence_is_bounded() -> None:
    from homeport.dns import memo

    server = served()
    for number in range(memo.MAX_ABSENT + 10):
        await known(server, f"no-{number}.db.svc.cluster.local. A")
    assert len(server.memo.absent) == 10
