"""Rules → nftables text: a whole table at first, then one minimal transaction per change. Pure.

A new connection costs one hash lookup, whatever the number of Services: the map `services`, keyed by address, protocol
and port, leads to the chain of a Service port, which picks a target at random. Names follow from the Service, so the
text of a change follows from the two rule sets alone and nothing is ever listed.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from homeport.proxy.model import Frontend, Key, PortRules, ProxySettings, ServiceRules, Target, Via

__all__ = ["TABLE", "Compiled", "Element", "Ruleset", "base", "compile_service", "difference", "whole"]

TABLE: Final = "ip homeport"
MASQUERADE_MARK: Final = "0x4000"
_NAME_LIMIT: Final = 120
_VERDICTS: Final = {Via.REJECT: "goto refuse", Via.DROP: "drop"}


@dataclass(frozen=True, slots=True, order=True)
class Element:
    """A key in one of the shared maps and sets."""

    container: str
    key: str


@dataclass(frozen=True, slots=True)
class Compiled:
    """What one Service contributes: chains and sets of its own, and elements of shared ones (`` for no value)."""

    chains: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sets: Mapping[str, str] = field(default_factory=dict)
    elements: Mapping[Element, str] = field(default_factory=dict)


_NOTHING: Final = Compiled()


@dataclass(frozen=True, slots=True)
class Ruleset:
    """What the kernel shall hold. Two Services may claim the same element: the first by name has it."""

    services: Mapping[Key, Compiled] = field(default_factory=lambda: MappingProxyType({}))
    claims: Mapping[Element, tuple[Key, ...]] = field(default_factory=lambda: MappingProxyType({}))

    def replace(self, changes: Mapping[Key, Compiled | None]) -> "Ruleset":
        """Return a rule set with some Services changed, added, or (None) gone."""
        services, claims = dict(self.services), dict(self.claims)
        for key, compiled in changes.items():
            before = services.pop(key, _NOTHING)
            after = compiled or _NOTHING
            if compiled is not None:
                services[key] = compiled
            for element in before.elements.keys() - after.elements.keys():
                rest = tuple(owner for owner in claims[element] if owner != key)
                if rest:
                    claims[element] = rest
                else:
                    del claims[element]
            for element in after.elements.keys() - before.elements.keys():
                claims[element] = tuple(sorted((*claims.get(element, ()), key)))
        return Ruleset(MappingProxyType(services), MappingProxyType(claims))

    def value(self, element: Element) -> str | None:
        """Return the value that counts for an element, or None when nobody has it."""
        owners = self.claims.get(element)
        return self.services[owners[0]].elements[element] if owners else None


def compile_service(rules: ServiceRules) -> Compiled:
    """Return what one Service needs in the kernel."""
    chains: dict[str, tuple[str, ...]] = {}
    sets: dict[str, str] = {}
    elements: dict[Element, str] = {Element("cluster-addresses", str(address)): "" for address in rules.addresses}
    for port in rules.ports:
        name = _name(rules.key, port)
        chains.update(_chains(name, port))
        if port.affinity_seconds:
            for target in _all_targets(port):
                sets[f"affinity/{name}/{_label(target)}"] = "type ipv4_addr; flags dynamic, timeout;"
        for frontend in port.frontends:
            key = f"{frontend.address} . {port.protocol} . {frontend.port}"
            elements.setdefault(Element("services", key), _verdict(name, frontend))
            if frontend.sources:
                chains[_firewall(name, frontend)] = _firewall_rules(name, frontend)
        for target in _all_targets(port):
            elements[Element("hairpin", f"{target.address} . {target.address}")] = ""
    return Compiled(chains, sets, elements)


def _name(key: Key, port: PortRules) -> str:
    """`namespace/service/protocol/port`, cut and told apart by a hash where the kernel's limit would be passed."""
    full = f"{key[0]}/{key[1]}/{port.protocol}/{port.name}"
    if len(full) <= _NAME_LIMIT - len("external//255.255.255.255/65535"):
        return full
    digest = hashlib.blake2s(full.encode(), digest_size=6).hexdigest()
    return f"{key[0][:24]}/{key[1][:30]}/{digest}"


def _label(target: Target) -> str:
    return f"{target.address}/{target.port}"


def _all_targets(port: PortRules) -> list[Target]:
    return sorted({*port.cluster, *port.local}, key=lambda target: target.order)


def _verdict(name: str, frontend: Frontend) -> str:
    fixed = _VERDICTS.get(frontend.via)
    if fixed is not None:
        return fixed
    return f"goto {_firewall(name, frontend)}" if frontend.sources else f"goto {_entry(name, frontend.via)}"


def _entry(name: str, via: Via) -> str:
    return f"external/{name}" if via in (Via.EXTERNAL, Via.EXTERNAL_LOCAL) else f"{via.value}/{name}"


def _firewall(name: str, frontend: Frontend) -> str:
    return f"allowed/{name}/{frontend.address}"


def _firewall_rules(name: str, frontend: Frontend) -> tuple[str, ...]:
    sources = ", ".join(str(source) for source in frontend.sources)
    if frontend.via in _VERDICTS:
        return (f"ip saddr != {{ {sources} }} drop", _VERDICTS[frontend.via])
    return (f"ip saddr != {{ {sources} }} drop", f"goto {_entry(name, frontend.via)}")


def _chains(name: str, port: PortRules) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the chains of a port, each after those it leads to."""
    vias = {frontend.via for frontend in port.frontends}
    if port.affinity_seconds:
        for target in _all_targets(port):
            known = f"affinity/{name}/{_label(target)}"
            yield (
                f"endpoint/{name}/{_label(target)}",
                (
                    f"update @{known} {{ ip saddr timeout {port.affinity_seconds}s }}",
                    f"meta l4proto {port.protocol} dnat to {target.address}:{target.port}",
                ),
            )
    if port.cluster:
        yield f"cluster/{name}", tuple(_pick(name, port, port.cluster))
    if port.local:
        yield f"local/{name}", tuple(_pick(name, port, port.local))
    mark = f"meta mark set meta mark | {MASQUERADE_MARK}"
    if Via.EXTERNAL in vias:
        yield f"external/{name}", (mark, f"goto cluster/{name}")
    if Via.EXTERNAL_LOCAL in vias:
        yield (
            f"external/{name}",
            (
                f"ip saddr @pods goto cluster/{name}",
                f"fib saddr type local {mark} goto cluster/{name}",
                f"goto local/{name}" if port.local else "drop",
            ),
        )


def _pick(name: str, port: PortRules, targets: tuple[Target, ...]) -> Iterator[str]:
    """Yield the rules that choose one of `targets`, each as likely as any other.

    The last rule is for packets under way while a transaction is committed: the kernel walks the old rules and finds
    the elements of their maps already gone. Such a packet would pass untranslated, and its flow be lost for good.
    """
    if port.affinity_seconds:
        for target in targets:
            yield f"ip saddr @affinity/{name}/{_label(target)} goto endpoint/{name}/{_label(target)}"
        if len(targets) > 1:
            choices = ", ".join(f"{n} : goto endpoint/{name}/{_label(target)}" for n, target in enumerate(targets))
            yield f"numgen random mod {len(targets)} vmap {{ {choices} }}"
        yield f"goto endpoint/{name}/{_label(targets[0])}"
        return
    if len(targets) > 1:
        choices = ", ".join(f"{n} : {target.address} . {target.port}" for n, target in enumerate(targets))
        yield (
            f"meta l4proto {port.protocol} dnat ip addr . port to numgen random mod {len(targets)} map {{ {choices} }}"
        )
    yield f"meta l4proto {port.protocol} dnat to {targets[0].address}:{targets[0].port}"


def base(settings: ProxySettings) -> str:
    """Return the table without any Service: virtual addresses lead nowhere, nothing else is touched.

    Nothing to a virtual address passes untranslated, not even while rules change.
    """
    services, pods = settings.services, settings.pods
    real = ", ".join(str(address) for address in settings.real_addresses)
    untracked = f"ip daddr {{ {real} }} notrack; ip saddr {{ {real} }} notrack;" if real else ""
    exempt = f"ip daddr {{ {real} }} accept;" if real else ""
    return f"""table {TABLE} {{
\tmap services {{ type ipv4_addr . inet_proto . inet_service : verdict; }}
\tset cluster-addresses {{ type ipv4_addr; }}
\tset hairpin {{ type ipv4_addr . ipv4_addr; }}
\tset pods {{ type ipv4_addr; flags interval; elements = {{ {pods} }} }}
\tchain refuse {{
\t\treject
\t}}
\tchain dispatch {{
\t\t{exempt}
\t\tip daddr {services} ip saddr != @pods meta mark set meta mark | {MASQUERADE_MARK}
\t\tip daddr . meta l4proto . th dport vmap @services
\t\tip daddr @cluster-addresses goto refuse
\t\tip daddr {services} drop
\t}}
\tchain untracked-in {{
\t\ttype filter hook prerouting priority -300; {untracked}
\t}}
\tchain untracked-out {{
\t\ttype filter hook output priority -300; {untracked}
\t}}
\tchain prerouting {{
\t\ttype nat hook prerouting priority -100; {exempt}
		jump dispatch
		ip daddr {services} drop
\t}}
\tchain output {{
\t\ttype nat hook output priority -100; {exempt}
		jump dispatch
		ip daddr {services} drop
\t}}
\tchain postrouting {{
\t\ttype nat hook postrouting priority 100;
\t\tct status dnat meta mark & {MASQUERADE_MARK} == {MASQUERADE_MARK} masquerade
\t\tct status dnat ip saddr . ip daddr @hairpin masquerade
\t}}
\tchain forward {{
\t\ttype filter hook forward priority 0;
\t\tct state invalid drop
\t}}
}}
"""


def whole(ruleset: Ruleset, settings: ProxySettings) -> str:
    """Return the transaction that makes the table exactly this, whatever it held before."""
    fresh = f"add table {TABLE}\ndelete table {TABLE}\n" + base(settings)
    return fresh + difference(Ruleset(), ruleset, ruleset.services)


def difference(old: Ruleset, new: Ruleset, keys: Iterable[Key]) -> str:
    """Return the transaction from `old` to `new`, which differ in the Services `keys` alone; "" when in nothing.

    Everything is declared before it is referred to, and let go of before it is deleted.
    """
    lines: list[str] = []
    removed: list[str] = []
    touched: set[Element] = set()
    changed = [(old.services.get(key, _NOTHING), new.services.get(key, _NOTHING)) for key in keys]
    for before, after in changed:
        touched |= before.elements.keys() | after.elements.keys()
        lines += [
            f"add set {TABLE} {name} {{ {body} }}" for name, body in after.sets.items() if name not in before.sets
        ]
        lines += [f"add chain {TABLE} {name}" for name in after.chains if name not in before.chains]
    for before, after in changed:
        for name, rules in after.chains.items():
            known = before.chains.get(name)
            if known == rules:
                continue
            if known is not None:
                lines.append(f"flush chain {TABLE} {name}")
            lines += [f"add rule {TABLE} {name} {rule}" for rule in rules]
    lines += _element_lines(old, new, touched)
    for before, after in changed:
        gone = [name for name in before.chains if name not in after.chains]
        lines += [f"flush chain {TABLE} {name}" for name in gone]
        removed += [f"delete chain {TABLE} {name}" for name in gone]
        removed += [f"delete set {TABLE} {name}" for name in before.sets if name not in after.sets]
    lines += removed
    return "".join(line + "\n" for line in lines)


def _element_lines(old: Ruleset, new: Ruleset, touched: set[Element]) -> Iterator[str]:
    deleted: dict[str, list[str]] = {}
    added: dict[str, list[str]] = {}
    for element in sorted(touched):
        before, after = old.value(element), new.value(element)
        if before == after:
            continue
        if before is not None:
            deleted.setdefault(element.container, []).append(element.key)
        if after is not None:
            added.setdefault(element.container, []).append(f"{element.key} : {after}" if after else element.key)
    for verb, groups in (("delete", deleted), ("add", added)):
        for container, keys in groups.items():
            yield f"{verb} element {TABLE} {container} {{ {', '.join(keys)} }}"
