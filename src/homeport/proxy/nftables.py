"""Rules → nftables text: the table itself, and what each Service contributes to it. Pure.

A new connection costs two hash lookups, whatever the number of Services. The map `services`, keyed by address, protocol
and port, leads to the chain for a number of endpoints, shared by all ports with that many; it draws an index, and the
map `endpoints`, keyed by the same and the index, has the target. So a change of endpoints is a change of elements,
and costs the same among ten Services and among ten thousand: nftables reads the names of all chains before most
transactions, and there are few. Only ports with session affinity, or balanced in another way than at random, have
chains of their own.

Names follow from the Services, so the text of a change (`ruleset`) follows from what is held and wanted: nothing is
ever listed.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from homeport.proxy.balance import SLOTS, Balance, slots
from homeport.proxy.dialect import IPV4, Dialect, dialect_of
from homeport.proxy.model import Address, Frontend, Key, PortRules, ProxySettings, ServiceRules, Target, Via
from homeport.proxy.ruleset import Compiled, Element, Ruleset, element

__all__ = ["base", "compile_service", "known_clients", "list_sets", "whole"]

MASQUERADE_MARK: Final = "0x4000"
"""Connection mark of what shall come from the node's address."""
HASH_SEED: Final = 0x9E3779B9
"""The same everywhere and always: a client finds its endpoint again after a restart."""
LOCAL_OFFSET: Final = 0x10000
"""Indices of a port's endpoints on this node start here, those of its endpoints anywhere at 0."""
REFUSE: Final = ("meta l4proto tcp reject with tcp reset", "reject")
"""The rules that refuse a connection at once. The kernel sends a peer one ICMP error a second after the first six, and
whose SYN is not answered tries again after a second; a reset is sent always."""
STANDING: Final = range(1, 9)
"""Numbers of endpoints whose chains are always there. A chain that comes with the Service that leads to it is, for a
few microseconds, seen empty by packets under way; they are dropped and sent again."""
_NAME_LIMIT: Final = 120
_AFFINITY_SET: Final = re.compile(r"set (affinity/\S+) \{[^{}]*elements = \{([^{}]*)\}")
_NO_CLIENTS: Final[Mapping[str, str]] = MappingProxyType({})
_VERDICTS: Final = {Via.REJECT: "goto refuse", Via.DROP: "drop"}


def compile_service(rules: ServiceRules, dialect: Dialect = IPV4) -> Compiled:
    """Return what one Service needs in the kernel's table of one family."""
    chains: dict[str, tuple[str, ...]] = {}
    sets: dict[str, str] = {}
    shared: dict[str, tuple[str, ...]] = {}
    elements: dict[Element, str] = {element("cluster-addresses", str(address)): "" for address in rules.addresses}
    for port in rules.ports:
        name = _name(rules.key, port, dialect)
        if port.balance is Balance.LEAST_CONNECTIONS:
            elements.update(_passed_on(port))
            continue
        if port.affinity_seconds:
            for target in _all_targets(port):
                sets[f"affinity/{name}/{_label(target)}"] = f"type {dialect.address_type}; flags dynamic, timeout;"
            chains.update(_own_chains(name, port, dialect))
        elif port.balance is Balance.RANDOM:
            shared.update(_shared_chains(port, dialect))
        else:
            chains.update(_chains_by_turn_or_source(name, port, dialect))
        for frontend in port.frontends:
            key = f"{frontend.address} . {port.protocol} . {frontend.port}"
            elements.setdefault(element("services", key), _verdict(name, port, frontend))
            if frontend.sources:
                chains[_firewall(name, frontend)] = _firewall_rules(name, port, frontend, dialect)
            if not port.affinity_seconds:
                for index, target in _indexed(port, frontend.via):
                    elements.setdefault(
                        element("endpoints", f"{key} . {index:#x}"), f"{target.address} . {target.port}"
                    )
        for target in _all_targets(port):
            elements[element("hairpin", f"{target.address} . {target.address}")] = ""
    return Compiled(chains, sets, shared, elements)


def _passed_on(port: PortRules) -> Iterator[tuple[Element, str]]:
    """Yield what lets connections to a port pass to the socket that listens for it; nobody home is refused here."""
    for frontend in port.frontends:
        key = f"{frontend.address} . {port.protocol} . {frontend.port}"
        yield element("services", key), _VERDICTS.get(frontend.via, "accept")


def _indexed(port: PortRules, via: Via) -> Iterator[tuple[int, Target]]:
    """Yield the targets a front end can lead to, with their indices: one each, or many by a hash of the client."""
    places = slots if port.balance is Balance.SOURCE_HASH else tuple
    if via in (Via.CLUSTER, Via.EXTERNAL, Via.EXTERNAL_LOCAL):
        yield from enumerate(places(port.cluster))
    if via in (Via.LOCAL, Via.EXTERNAL_LOCAL):
        yield from enumerate(places(port.local), LOCAL_OFFSET)


def _name(key: Key, port: PortRules, dialect: Dialect) -> str:
    """`namespace/service/protocol/port`, cut and told apart by a hash where the kernel's limit would be passed."""
    full = f"{key[0]}/{key[1]}/{port.protocol}/{port.name}"
    if len(full) <= _NAME_LIMIT - len("external///65535") - dialect.longest:
        return full
    digest = hashlib.blake2s(full.encode(), digest_size=6).hexdigest()
    return f"{key[0][:24]}/{key[1][:30]}/{digest}"


def _label(target: Target) -> str:
    return f"{_in_name(target.address)}/{target.port}"


def _all_targets(port: PortRules) -> list[Target]:
    return sorted({*port.cluster, *port.local}, key=lambda target: target.order)


def _verdict(name: str, port: PortRules, frontend: Frontend) -> str:
    if frontend.via not in _VERDICTS and frontend.sources:
        return f"goto {_firewall(name, frontend)}"
    return _entry(name, port, frontend.via)


def _entry(name: str, port: PortRules, via: Via) -> str:
    """Return the verdict that carries `via` out: shared chains by the number of endpoints, own ones with affinity."""
    if via in _VERDICTS:
        return _VERDICTS[via]
    if port.affinity_seconds or port.balance is not Balance.RANDOM:
        return f"goto {'external' if via in (Via.EXTERNAL, Via.EXTERNAL_LOCAL) else via.value}/{name}"
    if via is Via.EXTERNAL_LOCAL:
        return f"goto {_outside(port)}"
    return f"goto {via.value}-{len(port.local if via is Via.LOCAL else port.cluster)}"


def _outside(port: PortRules) -> str:
    return f"external-{len(port.cluster)}-local-{len(port.local)}"


def _firewall(name: str, frontend: Frontend) -> str:
    return f"allowed/{name}/{_in_name(frontend.address)}"


def _in_name(address: Address) -> str:
    """Return an address as a part of a chain's or set's name, which takes no colons."""
    return str(address).replace(":", "-")


def _firewall_rules(name: str, port: PortRules, frontend: Frontend, dialect: Dialect) -> tuple[str, ...]:
    sources = ", ".join(str(source) for source in frontend.sources)
    return (f"{dialect.ip} saddr != {{ {sources} }} drop", _entry(name, port, frontend.via))


def _shared_chains(port: PortRules, dialect: Dialect) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the chains a port shares with every other that has as many endpoints, but for those always there."""
    vias = {frontend.via for frontend in port.frontends}
    cluster, local = len(port.cluster), len(port.local)
    if cluster and cluster not in STANDING:
        yield f"cluster-{cluster}", _draw(cluster)
    if Via.EXTERNAL in vias and cluster not in STANDING:
        yield f"external-{cluster}", _external(f"cluster-{cluster}")
    if local:
        yield f"local-{local}", _draw(local, LOCAL_OFFSET)
    if Via.EXTERNAL_LOCAL in vias:
        yield _outside(port), _external_local(dialect, f"cluster-{cluster}", f"goto local-{local}" if local else "drop")


def _draw(count: int, offset: int = 0) -> tuple[str, ...]:
    """Draw one of `count` endpoints, each as likely as any other, and go to it.

    A packet under way while a transaction is committed may draw from the old number of endpoints and find the new
    elements. It gets the first then: there is one as long as there is any.
    """
    if count == 1:
        return (f"meta mark set {offset:#x}", "goto translate")
    return _choose(f"numgen random mod {count}", offset)


def _choose(chosen: str, offset: int) -> tuple[str, ...]:
    drawn = chosen + (f" offset {offset}" if offset else "")
    return (f"meta mark set {drawn}", "jump translate", f"meta mark set {offset:#x}", "goto translate")


def _by_turn_or_source(port: PortRules, count: int, dialect: Dialect, offset: int = 0) -> tuple[str, ...]:
    """Go to the next of `count` endpoints, or to the one that has the slot of the client."""
    if port.balance is Balance.SOURCE_HASH:
        return _choose(f"jhash {dialect.ip} saddr mod {SLOTS} seed {HASH_SEED:#x}", offset)
    return _choose(f"numgen inc mod {count}", offset) if count > 1 else _draw(count, offset)


def _chains_by_turn_or_source(name: str, port: PortRules, dialect: Dialect) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the chains of a port that takes its endpoints in turn, or by client: turns are not shared with others."""
    if port.cluster:
        yield f"cluster/{name}", _by_turn_or_source(port, len(port.cluster), dialect)
    if port.local:
        yield f"local/{name}", _by_turn_or_source(port, len(port.local), dialect, LOCAL_OFFSET)
    yield from _outer_chains(name, port, dialect)


def _external(cluster: str) -> tuple[str, ...]:
    return (f"ct mark set {MASQUERADE_MARK}", f"goto {cluster}")


def _external_local(dialect: Dialect, cluster: str, local: str) -> tuple[str, ...]:
    """Pods and the node itself are not outside: they reach any endpoint."""
    return (
        f"{dialect.ip} saddr @pods goto {cluster}",
        f"fib saddr type local ct mark set {MASQUERADE_MARK} goto {cluster}",
        local,
    )


def _own_chains(name: str, port: PortRules, dialect: Dialect) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the chains of a port with session affinity: per endpoint a set of the clients that stay with it."""
    for target in _all_targets(port):
        yield (
            f"endpoint/{name}/{_label(target)}",
            (
                f"update @affinity/{name}/{_label(target)} {{ {dialect.ip} saddr timeout {port.affinity_seconds}s }}",
                f"meta l4proto {port.protocol} dnat to {target}",
            ),
        )
    if port.cluster:
        yield f"cluster/{name}", tuple(_stay_or_draw(name, port.cluster, dialect))
    if port.local:
        yield f"local/{name}", tuple(_stay_or_draw(name, port.local, dialect))
    yield from _outer_chains(name, port, dialect)


def _outer_chains(name: str, port: PortRules, dialect: Dialect) -> Iterator[tuple[str, tuple[str, ...]]]:
    vias = {frontend.via for frontend in port.frontends}
    if Via.EXTERNAL in vias:
        yield f"external/{name}", _external(f"cluster/{name}")
    if Via.EXTERNAL_LOCAL in vias:
        yield (
            f"external/{name}",
            _external_local(dialect, f"cluster/{name}", f"goto local/{name}" if port.local else "drop"),
        )


def _stay_or_draw(name: str, targets: tuple[Target, ...], dialect: Dialect) -> Iterator[str]:
    """Yield the rules that keep a known client where it is and draw for others; the last is as in `_draw`."""
    for target in targets:
        yield f"{dialect.ip} saddr @affinity/{name}/{_label(target)} goto endpoint/{name}/{_label(target)}"
    if len(targets) > 1:
        choices = ", ".join(f"{n} : goto endpoint/{name}/{_label(target)}" for n, target in enumerate(targets))
        yield f"numgen random mod {len(targets)} vmap {{ {choices} }}"
    yield f"goto endpoint/{name}/{_label(targets[0])}"


def base(settings: ProxySettings) -> str:
    """Return the table without any Service: virtual addresses lead nowhere, nothing else is touched.

    Nothing to a virtual address passes untranslated, not even while rules change.
    """
    services, dialect = settings.services, dialect_of(settings.services.version)
    ip, kind = dialect.ip, dialect.address_type
    front = f"{ip} daddr . meta l4proto . th dport"
    translate = f"meta l4proto {{ tcp, udp, sctp }} dnat {ip} addr . port to {front} . meta mark map @endpoints"
    real = ", ".join(str(address) for address in settings.real_addresses)
    exempt = [f"{ip} daddr {{ {real} }} accept"] if real else []
    untracked = [f"{ip} daddr {{ {real} }} notrack", f"{ip} saddr {{ {real} }} notrack"] if real else []
    entrance = [*exempt, "jump dispatch", f"{ip} daddr {services} drop"]
    containers = (
        f"map services {{ type {kind} . inet_proto . inet_service : verdict; }}",
        f"map endpoints {{ type {kind} . inet_proto . inet_service . mark : {kind} . inet_service; }}",
        f"set cluster-addresses {{ type {kind}; }}",
        f"set hairpin {{ type {kind} . {kind}; }}",
        f"set pods {{ type {kind}; flags interval; elements = {{ {settings.pods} }} }}",
    )
    chains: list[tuple[str, Sequence[str]]] = [
        ("refuse", REFUSE),
        ("translate", [translate]),
        *((f"cluster-{count}", _draw(count)) for count in STANDING),
        *((f"external-{count}", _external(f"cluster-{count}")) for count in STANDING),
        (
            "dispatch",
            [
                f"{ip} daddr {services} {ip} saddr != @pods ct mark set {MASQUERADE_MARK}",
                f"{front} vmap @services",
                f"{ip} daddr @cluster-addresses goto refuse",
            ],
        ),
        ("untracked-in", ["type filter hook prerouting priority -300;", *untracked]),
        ("untracked-out", ["type filter hook output priority -300;", *untracked]),
        ("prerouting", ["type nat hook prerouting priority -100;", *entrance]),
        ("output", ["type nat hook output priority -100;", *entrance]),
        (
            "postrouting",
            [
                "type nat hook postrouting priority 100;",
                f"ct status dnat ct mark {MASQUERADE_MARK} masquerade",
                f"ct status dnat {ip} saddr . {ip} daddr @hairpin masquerade",
            ],
        ),
        ("forward", ["type filter hook forward priority 0;", "ct state invalid drop"]),
    ]
    lines = [f"table {dialect.table} {{", *(f"\t{container}" for container in containers)]
    for name, rules in chains:
        lines += [f"\tchain {name} {{", *(f"\t\t{rule}" for rule in rules), "\t}"]
    return "\n".join([*lines, "}", ""])


def whole(ruleset: Ruleset, settings: ProxySettings, clients: Mapping[str, str] = _NO_CLIENTS) -> str:
    """Return the transaction that makes the table exactly this, whatever it held before.

    clients  what `known_clients` found before: who has an endpoint that is still there stays with it
    """
    dialect = dialect_of(settings.services.version)
    table = dialect.table
    fresh = f"add table {table}\ndelete table {table}\n" + base(settings)
    sets = {name for compiled in ruleset.services.values() for name in compiled.sets}
    kept = (f"add element {table} {name} {{ {found} }}\n" for name, found in clients.items() if name in sets)
    return fresh + ruleset.fill() + "".join(kept)


def list_sets(dialect: Dialect = IPV4) -> str:
    """Return the command whose output `known_clients` reads."""
    return f"list sets table {dialect.table}"


def known_clients(listing: str) -> dict[str, str]:
    """Return the elements of the affinity sets in what `list_sets` prints: clients with the time they have left."""
    return {name: " ".join(found.split()) for name, found in _AFFINITY_SET.findall(listing)}
