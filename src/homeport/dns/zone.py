"""Answers from the index: no sockets, no clock. Rules: services-dns 13 and 14; DNS schema 1.1.0.

`resolve` is a generator: it yields a question when it needs another server's answer (the target of an ExternalName
outside the cluster, a name that falls through) and is sent that answer, or None when there is none to be had.
It returns the reply. Most questions are answered before the first yield.
"""

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

from homeport.dns.index import Index
from homeport.dns.name import Name, below, fold
from homeport.dns.objects import Address, Part, Port, Service, ServiceKey
from homeport.dns.records import Answer, Question, Rcode, Record, RRType, address_record
from homeport.dns.settings import REVERSE_ROOTS, DnsSettings, PodRecords

__all__ = ["Lookup", "Steps", "resolve"]

Steps: TypeAlias = Generator[Question, "Answer | None", Answer]

SCHEMA_VERSION: Final = b"1.1.0"
SCHEMA_TTL: Final = 28800
MAX_ALIASES: Final = 11
_NS_DNS: Final = (b"ns", b"dns")
_SOA_TIMERS: Final = (7200, 1800, 86400)
"""Refresh, retry and expire, in seconds."""


class _Absent(Exception):
    """Nothing at or below the name: NXDOMAIN."""


@dataclass(frozen=True, slots=True)
class _Target:
    """One candidate: an address (or alias) reachable at `owner`, on `port` (-1: none)."""

    owner: Name
    address: Address | None
    alias: Name | None = None
    port: int = 0


@dataclass(frozen=True, slots=True)
class _Found:
    """What a name stands for; no targets means the name exists and owns nothing."""

    targets: Sequence[_Target] = ()
    names: frozenset[Part] = frozenset()


def resolve(question: Question, index: Index, settings: DnsSettings) -> Steps:
    """Answer one question of class IN."""
    folded = fold(question.name)
    zone = settings.zone_of(folded)
    if question.type in (RRType.AXFR, RRType.IXFR):
        return Answer(settings.unserved if zone is None else Rcode.REFUSED, authoritative=False)
    if zone is None:
        return (yield from _elsewhere(question, settings))
    asked_zone = question.name[len(question.name) - len(zone) :]
    lookup = Lookup(index, settings, zone, asked_zone)
    try:
        answer = yield from lookup.answer(question, folded)
    except _Absent:
        if not index.synced:
            return Answer(Rcode.SERVFAIL, authority=(lookup.soa(),))
        if settings.falls_through(folded):
            return (yield from _elsewhere(question, settings))
        return Answer(Rcode.NXDOMAIN, authority=(lookup.soa(),))
    if not answer.answer:
        return Answer(Rcode.NOERROR, authority=(lookup.soa(),), names=answer.names)
    return answer


def _elsewhere(question: Question, settings: DnsSettings) -> Steps:
    reply = yield question
    if reply is None:
        return Answer(settings.unserved, authoritative=False)
    return reply


class Lookup:
    """One zone's view of the index, for the length of one question."""

    def __init__(self, index: Index, settings: DnsSettings, zone: Name, asked_zone: Name) -> None:
        self.index, self.settings, self.zone, self.asked_zone = index, settings, zone, asked_zone
        self.reverse = any(below(zone, root) for root in REVERSE_ROOTS)

    def soa(self) -> Record:
        """Return the zone's SOA; its TTL is capped, as it bounds how long absence is remembered."""
        zone, ttl = self.asked_zone, self.settings.ttl
        numbers = b"".join(number.to_bytes(4, "big") for number in (self.index.serial & 0xFFFFFFFF, *_SOA_TIMERS, ttl))
        names = ((*_NS_DNS, *zone), (b"hostmaster", *zone))
        return Record(zone, RRType.SOA, min(ttl, self.settings.negative_ttl_limit), (*names, numbers))

    def answer(self, question: Question, folded: Name) -> Steps:
        match question.type:
            case RRType.A | RRType.AAAA:
                records, names, truncated = yield from self.addresses(question, folded, ())
                return Answer(answer=records, names=names, truncated=truncated)
            case RRType.CNAME:
                found = self.find(folded)
                aliases = [target.alias for target in found.targets[:1] if target.alias is not None]
                made = tuple(Record(question.name, RRType.CNAME, self.settings.ttl, (alias,)) for alias in aliases)
                return Answer(answer=made, names=found.names)
            case RRType.SRV:
                return self.services(question, folded)
            case RRType.PTR:
                return self.pointers(question, folded)
            case RRType.TXT:
                return self.text(question, folded)
            case RRType.SOA:
                return Answer(answer=(self.soa(),) if folded == self.zone else ())
            case RRType.NS if folded == self.zone:
                return self.name_servers(question)
        return Answer(names=self.find(folded).names)

    def addresses(
        self, question: Question, folded: Name, before: tuple[Record, ...]
    ) -> Generator[Question, Answer | None, tuple[tuple[Record, ...], frozenset[Part], bool]]:
        """Return A or AAAA records, aliases followed; `before` holds the CNAMEs that led here."""
        found = self.find(folded)
        ttl, names, truncated = self.settings.ttl, found.names, False
        records: list[Record] = []
        seen: set[Address] = set()
        version = 4 if question.type == RRType.A else 6
        for target in found.targets:
            if target.address is not None:
                if target.address.version == version and target.address not in seen:
                    seen.add(target.address)
                    records.append(address_record(question.name, target.address, ttl))
                continue
            assert target.alias is not None
            alias = target.alias
            if fold(alias) == folded or len(before) >= MAX_ALIASES or any(r.data == (alias,) for r in before):
                continue
            link = Record(question.name, RRType.CNAME, ttl, (alias,))
            onward = replace(question, name=alias)
            if below(fold(alias), self.zone):
                try:
                    more, further, cut = yield from self.addresses(onward, fold(alias), (*before, link))
                except _Absent:
                    continue
                names, truncated = names | further, truncated or cut
                if more:
                    records += (link, *more)
                continue
            if self.settings.zone_of(fold(alias)) is not None:
                reply: Answer | None = yield from resolve(onward, self.index, self.settings)
            else:
                reply = yield onward
            records.append(link)
            if reply is not None:
                records += reply.answer
                names, truncated = names | reply.names, truncated or reply.truncated
        return tuple(records), names, truncated

    def services(self, question: Question, folded: Name) -> Answer:
        """Return SRV records; weights share a hundred between all candidates (services-dns 14.4)."""
        found = self.find(folded)
        ttl = self.settings.ttl
        if folded[: len(folded) - len(self.zone)] == _NS_DNS:
            return Answer()
        candidates = [target for target in found.targets if target.address is not None]
        weight = max(1, 100 // len(candidates)) if candidates else 0
        answer: dict[tuple[Name, int], Record] = {}
        extra: dict[tuple[Name, Address], Record] = {}
        for target in candidates:
            if target.port < 0 or target.address is None:
                continue
            head = b"\x00\x00" + weight.to_bytes(2, "big") + target.port.to_bytes(2, "big")
            record = Record(question.name, RRType.SRV, ttl, (head, target.owner))
            answer.setdefault((target.owner, target.port), record)
            extra.setdefault((target.owner, target.address), address_record(target.owner, target.address, ttl))
        return Answer(answer=tuple(answer.values()), additional=tuple(extra.values()), names=found.names)

    def pointers(self, question: Question, folded: Name) -> Answer:
        """Return PTR records of a reverse name: a Service's own, else one per Service with that endpoint.

        The answer names no Services: one that only now takes the address would not be among them.
        """
        address = _reverse_address(folded)
        if address is None:
            return Answer(names=self.find(folded).names)
        records = self.found_pointers(question, address)
        if not records:
            raise _Absent
        return Answer(answer=records)

    def found_pointers(self, question: Question, address: Address) -> tuple[Record, ...]:
        """Return the PTR records of an address; none when nothing has it."""
        suffix = (b"svc", *self.settings.primary)
        service = self.index.service_at(address)
        targets: list[Name] = []
        if service is not None and (self.exposed(service.namespace) or not self.settings.namespaces):
            targets.append((service.name.encode(), service.namespace.encode(), *suffix))
        else:
            for key, part, endpoint in self.index.behind(address):
                if self.settings.namespaces and not self.exposed(key[0]):
                    continue
                targets.append((endpoint.label.encode(), part.service.encode(), part.namespace.encode(), *suffix))
        ttl = self.settings.ttl
        return tuple(Record(question.name, RRType.PTR, ttl, (target,)) for target in dict.fromkeys(targets))

    def text(self, question: Question, folded: Name) -> Answer:
        head = folded[: len(folded) - len(self.zone)]
        if head == (b"dns-version",):
            data = bytes((len(SCHEMA_VERSION),)) + SCHEMA_VERSION
            return Answer(answer=(Record(question.name, RRType.TXT, SCHEMA_TTL, (data,)),))
        if head == _NS_DNS:
            raise _Absent
        found = self.find(folded)
        if not found.targets:
            raise _Absent
        return Answer(names=found.names)

    def name_servers(self, question: Question) -> Answer:
        ttl = self.settings.ttl
        targets = self.own_targets()
        servers = dict.fromkeys(target.owner for target in targets)
        return Answer(
            answer=tuple(Record(question.name, RRType.NS, ttl, (owner,)) for owner in servers),
            additional=tuple(address_record(t.owner, t.address, ttl) for t in targets if t.address is not None),
        )

    def own_targets(self) -> list[_Target]:
        """Return the names and addresses this server is reached at: its Service's, else its own."""
        targets: list[_Target] = []
        own = [ip_address(text) for text in self.settings.own_addresses]
        for address in own:
            for key, _, endpoint in self.index.behind(address):
                service = self.index.service(key)
                if service is None:
                    continue
                base = (service.name.encode(), service.namespace.encode(), b"svc", *self.asked_zone)
                if service.headless:
                    targets.append(_Target((endpoint.label.encode(), *base), endpoint.address))
                else:
                    targets += (_Target(base, cluster) for cluster in service.addresses)
        if not targets:
            targets = [_Target((*_NS_DNS, *self.asked_zone), address) for address in own]
        return list(dict.fromkeys(targets))

    def exposed(self, namespace: str) -> bool:
        if self.settings.namespaces and namespace not in self.settings.namespaces:
            return False
        return self.index.has_namespace(namespace)

    def find(self, folded: Name) -> _Found:
        """Return what a name under the zone stands for. Raises _Absent. Source: services-dns 14.2, 14.3."""
        labels = [label.decode("utf-8", "surrogateescape") for label in folded[: len(folded) - len(self.zone)]]
        match labels:
            case [] | ["svc"] | ["pod"]:
                return _Found()
            case ["ns", "dns"]:
                return _Found([_Target(t.owner, t.address) for t in self.own_targets()])
            case [*_, namespace, "svc" | "pod"] if self.reverse or not self.exposed(namespace):
                raise _Absent
            case [_, "pod"] if self.settings.pods is PodRecords.DISABLED:
                raise _Absent
            case [_, "svc" | "pod"]:
                return _Found()
            case [*rest, label, namespace, "pod"] if len(rest) <= 2:
                return self.pod_address(label, namespace)
            case [name, namespace, "svc"]:
                return self.service_targets((namespace, name))
            case [endpoint, name, namespace, "svc"]:
                return self.service_targets((namespace, name), endpoint=endpoint)
            case [port, protocol, name, namespace, "svc"]:
                wanted = (port.removeprefix("_"), protocol.removeprefix("_"))
                return self.service_targets((namespace, name), port=wanted)
        raise _Absent

    def service_targets(self, key: ServiceKey, *, endpoint: str = "", port: tuple[str, str] | None = None) -> _Found:
        service = self.index.service(key)
        if service is None:
            raise _Absent
        names: frozenset[Part] = frozenset(((*key, endpoint),))
        if service.external:
            if endpoint or port or service.alias is None:
                raise _Absent
            return _Found([_Target(self.owner(service), None, service.alias)], names)
        if service.headless or endpoint:
            targets = self._endpoint_targets(service, endpoint, port)
        else:
            if self.settings.ignore_empty and not any(part.endpoints for part in self.index.slices(key)):
                raise _Absent
            owner = self.owner(service)
            targets = [
                _Target(owner, address, port=candidate.number)
                for candidate in _matching(service.ports, port)
                for address in service.addresses
            ]
        if not targets:
            raise _Absent
        return _Found(targets, names)

    def _endpoint_targets(self, service: Service, label: str, port: tuple[str, str] | None) -> list[_Target]:
        base, key = self.owner(service), service.key
        if label:
            chosen = self.index.labelled(key, label)
        else:
            chosen = ((part, endpoint) for part in self.index.slices(key) for endpoint in part.endpoints)
        return [
            _Target((endpoint.label.encode(), *base), endpoint.address, port=candidate.number)
            for part, endpoint in chosen
            for candidate in _matching(part.ports, port)
        ]

    def owner(self, service: Service) -> Name:
        return (service.name.encode(), service.namespace.encode(), b"svc", *self.asked_zone)

    def pod_address(self, label: str, namespace: str) -> _Found:
        """Return the address a pod name spells out. Source: services-dns 14.7."""
        if self.settings.pods is PodRecords.DISABLED:
            raise _Absent
        dotted = label.count("-") == 3 and "--" not in label
        try:
            address = ip_address(label.replace("-", "." if dotted else ":"))
        except ValueError:
            raise _Absent from None
        count = 1
        if self.settings.pods is PodRecords.VERIFIED:
            count = self.index.count_pods(namespace, address)
        if not count:
            raise _Absent
        owner = (label.encode(), namespace.encode(), b"pod", *self.asked_zone)
        return _Found([_Target(owner, address)] * count)


def _matching(ports: Iterable[Port], wanted: tuple[str, str] | None) -> list[Port]:
    """Return the ports a `_port._protocol` prefix selects; empty parts select everything."""
    if wanted is None:
        return list(ports)
    name, protocol = wanted
    return [
        port
        for port in ports
        if (not name or port.name.lower() == name) and (not protocol or port.protocol.lower() == protocol)
    ]


def _reverse_address(folded: Name) -> Address | None:
    """Return the address a reverse name spells out whole, else None."""
    for root, size in zip(REVERSE_ROOTS, (4, 32), strict=True):
        if below(folded, root) and len(folded) == size + len(root):
            digits = [label.decode("ascii", "replace") for label in reversed(folded[:size])]
            try:
                if size == 4:
                    return IPv4Address(".".join(digits))
                if all(len(digit) == 1 for digit in digits):
                    return IPv6Address(int("".join(digits), 16).to_bytes(16, "big"))
            except ValueError:
                return None
    return None
