"""How a Service with a virtual address spreads a connection, in one address family: by the proxy's own rules."""

from collections import Counter
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Final

from homeport.explain.model import Evidence, Object, Snapshot
from homeport.explain.services import endpoints as entries
from homeport.explain.services import nobody_behind
from homeport.explain.wanted import Wanted
from homeport.explain.ways import Connection, Way, count_text, unnamed, unready_clause, way_evidence
from homeport.proxy import codec, nftables
from homeport.proxy.balance import Balance
from homeport.proxy.dialect import dialect_of
from homeport.proxy.flows import Connection as Flow
from homeport.proxy.model import (
    Address,
    Endpoint,
    Frontend,
    PortRules,
    ProxySettings,
    Service,
    ServicePort,
    ServiceRules,
    Target,
    Via,
)
from homeport.proxy.rules import decide, hinted
from homeport.proxy.ruleset import element

__all__ = ["explain_balanced"]

_TO_ANY: Final = (Via.CLUSTER, Via.EXTERNAL, Via.EXTERNAL_LOCAL)
"""Front ends by which a pod of the cluster reaches any endpoint."""
_LAST_RESORT: Final = "last resort: terminating, still serving"
_WAYS: Final = {
    Balance.RANDOM: "one drawn at random for each connection",
    Balance.ROUND_ROBIN: "one after the other",
    Balance.LEAST_CONNECTIONS: "the one with the fewest connections each time",
    Balance.SOURCE_HASH: "always the same one for this pod's address, while it is there",
}


def explain_balanced(
    asked: Wanted,
    subject: str,
    pod: Object,
    seen: Snapshot,
    obj: Object,
    service: Service,
    side: ProxySettings,
    answer: Evidence,
    means: str,
    flows: Sequence[Flow],
) -> Connection:
    """Explain a connection to a Service with a virtual address in one family.

    pod      the pod it comes from
    seen     the Service's namespace; `obj` is the Service, `service` what the proxy makes of it
    side     where the proxy stands in that family
    answer   what the name led to
    """
    about, address = f"Service {service.key[1]}", asked.address or service.cluster_addresses[0]
    if address in side.real_addresses:
        sentence = (
            f"Pod {asked.pod} connects to {address} itself: the cluster's name server has that address, unbalanced."
        )
        return Connection(subject, True, sentence, (answer,), "direct")
    if address in side.node_addresses:
        chosen = [port for port in service.ports if port.node_port and asked.port == str(port.node_port)]
    else:
        chosen = [port for port in service.ports if asked.port in ("", str(port.port), port.name)]
    if not chosen:
        has = ", ".join(f"{port.port}" + (f" ({port.name})" if port.name else "") for port in service.ports) or "none"
        sentence = (
            f"Connections of pod {asked.pod} to {address}, port {asked.port}, are refused: {about} has no such port (it"
            f" has {has})."
        )
        return Connection(subject, False, sentence, (answer,), "refused")
    slices = seen.slices(service.key[1])
    found = {port: codec.endpoints(slices, port, side.version) for port in service.ports}
    decided = decide(service, found, side)
    rules = dict(zip(service.ports, decided.ports, strict=True))
    facts = [answer, *_settings(obj, service)]
    fronts = {port: _front(rules[port], address) for port in chosen}
    ways = [way for port in chosen for way in _ways(seen, obj, port, found[port], rules[port], fronts[port], side)]
    facts += [way_evidence(way, len(chosen) > 1) for way in ways]
    facts += _under_way(asked.pod, pod, [(rules[port], fronts[port]) for port in chosen], ways, flows)
    facts += [_rule(decided, rules[port], fronts[port], means) for port in chosen if means]
    itself = [
        way for way in ways if way.reached and way.pod == asked.pod and seen.namespace == pod["metadata"]["namespace"]
    ]
    if itself:
        facts.append(Evidence(f"Pod {asked.pod}", "is one of those behind the Service: it may reach itself"))
    told = [_port_told(asked, about, pod, seen, obj, service, port, ways, fronts[port]) for port in chosen]
    worst = min(told, key=lambda one: (one[1] == "balanced", one[0]))
    rest = [one for one in told if one is not worst]
    facts += [Evidence(f"port {one[3]}", one[2]) for one in rest]
    return Connection(subject, all(one[0] for one in told), worst[2], tuple(facts), worst[1], tuple(ways))


def _front(rules: PortRules, address: Address) -> Frontend:
    """Return the front end a connection to an address comes by; by name it is the first virtual address."""
    return next((front for front in rules.frontends if front.address == address), rules.frontends[0])


def _under_way(
    name: str,
    pod: Object,
    fronts: Sequence[tuple[PortRules, Frontend]],
    ways: Sequence[Way],
    flows: Sequence[Flow],
) -> Iterator[Evidence]:
    """Say which endpoints the pod's connections chose that are under way."""
    own = {ip_address(one["ip"]) for one in (pod.get("status") or {}).get("podIPs") or ()}
    asked = {(port.protocol, Target(front.address, front.port)) for port, front in fronts}
    chosen = Counter(
        str(flow.answers)
        for flow in flows
        if flow.live and flow.client in own and (flow.protocol, flow.asked) in asked and flow.answers != flow.asked
    )
    if not chosen:
        return
    pods = {way.target: way for way in ways}
    shown = ", ".join(_chosen(target, count, pods.get(target)) for target, count in sorted(chosen.items()))
    yield Evidence(f"Pod {name}", f"connections under way: {shown}")


def _chosen(target: str, count: int, way: Way | None) -> str:
    who = f"{way.pod} ({target})" if way is not None and way.pod else target
    return f"{count} to {who}" + ("" if way is not None and way.reached else ", which gets no new ones")


def _rule(service: ServiceRules, port: PortRules, front: Frontend, means: str) -> Evidence:
    """Return what carries the decision out: an element of the packet filter's map, or a socket."""
    counted = port.balance is Balance.LEAST_CONNECTIONS and front.via not in (Via.REJECT, Via.DROP)
    if means == "userspace" or counted:
        place = Target(front.address, front.port)
        return Evidence("proxy", f"joins connections itself, by a {port.protocol.upper()} socket on {place}")
    dialect = dialect_of(front.address.version)
    key = f"{front.address} . {port.protocol} . {front.port}"
    verdict = nftables.compile_service(service, dialect).elements.get(element("services", key), "")
    return Evidence(f"table {dialect.table}", f"services {{ {key} : {verdict} }}")


def _barred(pod: Object, front: Frontend) -> bool:
    """Tell whether a front end's ranges leave a pod out."""
    own = [ip_address(one["ip"]) for one in (pod.get("status") or {}).get("podIPs") or ()]
    mine = [one for one in own if one.version == front.address.version]
    return bool(front.sources) and not any(one in network for one in mine for network in front.sources)


def _port_told(
    asked: Wanted,
    about: str,
    pod: Object,
    seen: Snapshot,
    obj: Object,
    service: Service,
    port: ServicePort,
    ways: Sequence[Way],
    front: Frontend,
) -> tuple[bool, str, str, int]:
    """Return whether all is well, what becomes of a connection, a sentence, and the port."""
    to = f"{Target(front.address, front.port)}/{port.protocol.upper()}"
    via = front.via
    if via is not Via.REJECT and _barred(pod, front):
        text = (
            f"Connections of pod {asked.pod} to {about} ({to}) are ignored until the client gives up: the pod's address"
            f" is in none of its loadBalancerSourceRanges ({', '.join(map(str, front.sources))})."
        )
        return False, "ignored", text, port.port
    if via is Via.REJECT:
        missing = _no_port(seen, obj, port)
        clause = missing or nobody_behind(seen, obj)
        text = f"Connections of pod {asked.pod} to {about} ({to}) are refused at once: no ready endpoint, {clause}."
        return False, "refused", text, port.port
    if via is Via.DROP:
        text = (
            f"Connections of pod {asked.pod} to {about} ({to}) are ignored until the client gives up: its"
            " internalTrafficPolicy is Local, and no endpoint is on this node."
        )
        return False, "ignored", text, port.port
    mine = [way for way in ways if way.port == _label(port)]
    reached = [way for way in mine if way.reached]
    how = f", {_WAYS[service.balance]}" if len(reached) > 1 else ""
    if service.affinity_seconds:
        how += f"; it keeps its endpoint for {service.affinity_seconds} s (sessionAffinity)"
    leaving = any(way.why == _LAST_RESORT for way in reached)
    if leaving:
        how += "; nothing is ready, so those on their way out serve until the last"
    text = f"Pod {asked.pod} reaches {count_text(reached, mine)} of {about} by {to}{how}."
    return len(reached) == len(mine) and not leaving, "balanced", text, port.port


def _no_port(seen: Snapshot, obj: Object, port: ServicePort) -> str:
    """Say so when there are ready endpoints, but none that has this port."""
    ready = [one for one in entries(seen, obj["metadata"]["name"]) if one.ready]
    if not ready:
        return ""
    target = next(
        (one.get("targetPort") for one in obj["spec"].get("ports") or () if one["port"] == port.port), port.port
    )
    pods = ", ".join(one.pod or one.addresses[0] for one in ready)
    return f"as {pods} offer no port {target!r}, which port {port.port} leads to"


def _settings(obj: Object, service: Service) -> Iterator[Evidence]:
    about, spec = f"Service {service.key[1]}", obj["spec"]
    if service.balance is not Balance.RANDOM:
        yield Evidence(about, f"homeport.local/balance {service.balance.value}")
    if service.affinity_seconds:
        yield Evidence(about, f"sessionAffinity ClientIP for {service.affinity_seconds} s")
    if service.internal_local:
        yield Evidence(about, "internalTrafficPolicy Local")
    if preference := spec.get("trafficDistribution"):
        yield Evidence(about, f"trafficDistribution {preference}")
    if spec.get("publishNotReadyAddresses"):
        yield Evidence(about, "publishNotReadyAddresses: pods count before they are ready")


def _ways(
    seen: Snapshot,
    obj: Object,
    port: ServicePort,
    found: Sequence[Endpoint],
    rules: PortRules,
    front: Frontend,
    side: ProxySettings,
) -> Iterator[Way]:
    via = front.via
    targets = set(rules.cluster if via in _TO_ANY else rules.local if via is Via.LOCAL else ())
    behind = entries(seen, obj["metadata"]["name"])
    pods = {address: one.pod for one in behind for address in one.addresses}
    ready = [one for one in found if one.ready]
    near = {one.target for one in hinted(ready, side.node, side.zone)}
    for one in found:
        who = pods.get(str(one.target.address), "")
        if one.target in targets:
            why = "ready" if one.ready else _LAST_RESORT
        elif one.ready and via in (Via.LOCAL, Via.DROP):
            why = f"on node {one.node or '?'}, and internalTrafficPolicy is Local"
        elif one.ready and one.target not in near:
            why = f"meant for clients of {', '.join(sorted(one.for_nodes | one.for_zones))} (hints)"
        else:
            why = unready_clause(seen, who, one.terminating, one.serving, bool(targets))
        yield Way(str(one.target), who, _label(port), one.target in targets, why)
    addresses = {str(one.target.address) for one in found}
    for entry in behind:
        if not addresses & set(entry.addresses) and _has_family(entry.addresses, side.version):
            why = f"has no port that port {port.port} of the Service leads to"
            yield Way(entry.addresses[0], entry.pod, _label(port), False, why)
    here = {one.pod for one in behind if _has_family(one.addresses, side.version)}
    yield from unnamed(seen, obj, here, "", _label(port))


def _has_family(addresses: Sequence[str], version: int) -> bool:
    return any((":" in address) == (version == 6) for address in addresses)


def _label(port: ServicePort) -> str:
    return port.name or str(port.port)
