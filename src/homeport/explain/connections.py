"""Which endpoints a connection from a pod to a Service may reach, and why the others are left out.

Decided by the proxy's own rules (`homeport.proxy.rules`), so that what is said is what happens.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Any, Final

from homeport.explain.model import Evidence, Explanation, Object, Snapshot, labels_match
from homeport.explain.names import Asked, explain_name
from homeport.explain.pods import pod_clause, pod_missing
from homeport.explain.services import endpoints as entries
from homeport.explain.services import explain_service, nobody_behind
from homeport.explain.wanted import Wanted
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

__all__ = ["NO_WAY_OUT", "Connection", "Way", "explain_connection", "explain_to_address"]

NO_WAY_OUT: Final = "no way leads out of the cluster's network"
_TO_ANY: Final = (Via.CLUSTER, Via.EXTERNAL, Via.EXTERNAL_LOCAL)
"""Front ends by which a pod of the cluster reaches any endpoint."""
_LAST_RESORT: Final = "last resort: terminating, still serving"
_WAYS: Final = {
    Balance.RANDOM: "one drawn at random for each connection",
    Balance.ROUND_ROBIN: "one after the other",
    Balance.LEAST_CONNECTIONS: "the one with the fewest connections each time",
    Balance.SOURCE_HASH: "always the same one for this pod's address, while it is there",
}


@dataclass(frozen=True, slots=True)
class Way:
    """An endpoint for one port of the Service, whether it is `reached`, and `why` or why not."""

    target: str
    pod: str
    port: str
    reached: bool
    why: str


@dataclass(frozen=True, slots=True)
class Connection(Explanation):
    """`outcome` is what becomes of a connection: `balanced`, `direct`, `alias`, `refused`, `ignored` or `none`."""

    outcome: str = "none"
    ways: tuple[Way, ...] = ()

    def as_json(self) -> dict[str, Any]:
        ways = [
            {"target": way.target, "pod": way.pod, "port": way.port, "reached": way.reached, "why": way.why}
            for way in self.ways
        ]
        return {**Explanation.as_json(self), "outcome": self.outcome, "endpoints": ways}


def explain_connection(
    asked: Wanted,
    client: Snapshot,
    meaning: Asked,
    seen: Snapshot,
    settings: Sequence[ProxySettings],
    *,
    means: str = "",
    flows: Iterable[Flow] = (),
) -> Connection:
    """Explain a connection.

    client    the namespace of the pod it comes from
    meaning   what the Service's name means to that pod: its first meaning that is there
    seen      the namespace of that meaning
    settings  where the proxy stands, in each address family
    means     what it balances with, `nftables` or `userspace`; empty for what nobody told
    flows     the flows of the cluster's network: those of the pod to the Service are told of
    """
    subject = f"connection {asked.pod}→{asked.service}" + (f":{asked.port}" if asked.port else "")
    pod = client.find("Pod", asked.pod)
    if pod is None:
        clause, shown = pod_missing(client, asked.pod)
        return Connection(subject, False, f"Pod {asked.pod} does not exist: {clause}.", tuple(shown))
    found = _explain(asked, subject, pod, meaning, seen, settings, means, tuple(flows))
    extra = list(_client_facts(pod, client))
    if not extra:
        return found
    return replace(
        found, fine=False, sentence=f"{found.sentence} But {extra[0].says}.", evidence=(*found.evidence, *extra)
    )


def _client_facts(pod: Object, client: Snapshot) -> Iterator[Evidence]:
    about = f"Pod {pod['metadata']['name']}"
    if not (pod.get("status") or {}).get("podIP") and pod.get("status", {}).get("phase") != "Running":
        yield Evidence(about, f"the pod itself does not run ({pod_clause(client, pod) or 'it has ended'})")
    policy = pod["spec"].get("dnsPolicy") or "ClusterFirst"
    outside = policy == "Default" or (policy == "ClusterFirst" and pod["spec"].get("hostNetwork"))
    if outside:
        yield Evidence(about, f"its dnsPolicy {policy} asks the host's resolver, which knows no names of the cluster")


def _explain(
    asked: Wanted,
    subject: str,
    pod: Object,
    meaning: Asked,
    seen: Snapshot,
    settings: Sequence[ProxySettings],
    means: str,
    flows: Sequence[Flow],
) -> Connection:
    name = explain_name(meaning.text, [meaning], {meaning.namespace: seen})
    answer = Evidence(name.subject, name.sentence.removeprefix(f"{meaning.text} "))
    obj = seen.find("Service", meaning.service)
    if obj is None:
        missing = explain_service(seen, meaning.service)
        return Connection(subject, False, missing.sentence, (answer,))
    spec = obj["spec"]
    if spec.get("type") == "ExternalName":
        sentence = (
            f"Pod {asked.pod} is sent to {spec.get('externalName')}: Service {meaning.service} is an alias (CNAME), and"
            " its ports mean nothing"
        )
        inside = str(spec.get("externalName")).rstrip(".").endswith(f".{seen.domain}")
        rest = "" if inside else f"; that name lies outside, and {NO_WAY_OUT}"
        return Connection(subject, inside, f"{sentence}{rest}.", (answer,), "alias")
    if spec.get("clusterIP") == "None" or meaning.host:
        return _direct(asked, subject, meaning, seen, obj, name)
    found = [
        (f"IPv{side.version}", _balanced(asked, subject, pod, seen, obj, service, side, answer, means, flows))
        for side in settings
        if (service := codec.service(obj, side.version)) is not None
    ]
    if found:
        return _together(found)
    sentence = f"This cluster's proxy does not balance Service {meaning.service}: a label leaves it to another one."
    return Connection(subject, False, sentence, (answer,))


def _together(found: Sequence[tuple[str, Connection]]) -> Connection:
    """Return the explanation of all families of a Service: the first that is not well speaks, or the default one."""
    first = next((one for _, one in found if not one.fine), found[0][1])
    others = [(family, one) for family, one in found if one is not first]
    told = (
        *first.evidence,
        *(fact for family, one in others for fact in (Evidence(family, one.sentence), *one.evidence)),
    )
    ways = tuple(way for _, one in found for way in one.ways)
    return replace(first, evidence=tuple(dict.fromkeys(told)), ways=ways)


def explain_to_address(
    asked: Wanted, client: Snapshot, owner: Object | None, seen: Snapshot, settings: Sequence[ProxySettings]
) -> Connection:
    """Explain a connection to an address that is no Service's.

    owner  the pod that has it, if any
    seen   that pod's namespace
    """
    subject = f"connection {asked.pod}→{asked.service}" + (f":{asked.port}" if asked.port else "")
    address = asked.address
    if client.find("Pod", asked.pod) is None:
        clause, shown = pod_missing(client, asked.pod)
        return Connection(subject, False, f"Pod {asked.pod} does not exist: {clause}.", tuple(shown))
    if owner is not None:
        name, trouble = owner["metadata"]["name"], pod_clause(seen, owner)
        sentence = f"Pod {asked.pod} connects to pod {name} itself, whose address that is: nothing is balanced"
        rest = f", and it is not ready ({trouble})" if trouble else ""
        way = Way(str(address), name, asked.port, True, "its own address")
        return Connection(subject, not trouble, f"{sentence}{rest}.", (_shown(way),), "direct", (way,))
    if any(address in side.node_addresses for side in settings):
        port = f"no Service has the node port {asked.port}" if asked.port else "name a node port of a Service"
        return Connection(subject, False, f"{address} is the node's own address, and {port}.")
    if any(address in side.services for side in settings):
        sentence = f"Connections of pod {asked.pod} to {address} are ignored: no Service has this virtual address."
        return Connection(subject, False, sentence, outcome="ignored")
    if any(address in side.pods for side in settings):
        sentence = f"Pod {asked.pod} reaches nobody at {address}: no pod has this address."
        return Connection(subject, False, sentence)
    sentence = f"Pod {asked.pod} cannot reach {address}: it lies outside, and {NO_WAY_OUT}."
    return Connection(subject, False, sentence)


def _direct(asked: Wanted, subject: str, meaning: Asked, seen: Snapshot, obj: Object, name: Explanation) -> Connection:
    """Without a virtual address the client picks among what the name answers, and nothing translates ports."""
    about = f"Service {meaning.service}"
    answer = Evidence(name.subject, name.sentence.removeprefix(f"{meaning.text} "))
    behind = [one for one in entries(seen, meaning.service) if not meaning.host or meaning.host == one.hostname]
    ways = tuple(
        Way(
            ", ".join(one.addresses),
            one.pod,
            asked.port,
            one.ready,
            "the name leads there" if one.ready else _unready(seen, one.pod, one.terminating, one.serving, False),
        )
        for one in behind
    )
    ways += tuple(_unnamed(seen, obj, {one.pod for one in entries(seen, meaning.service)}, meaning.host))
    reached = [way for way in ways if way.reached]
    facts = (answer, *(_shown(way) for way in ways))
    if not reached:
        clause = name.sentence.partition("does not resolve: ")[2] or name.sentence
        sentence = f"Pod {asked.pod} cannot connect, as {meaning.text} does not resolve: {clause}"
        return Connection(subject, False, sentence, facts, "none", ways)
    wrong = _untranslated(obj, seen, asked.port)
    if wrong:
        return Connection(
            subject, False, f"Pod {asked.pod} reaches nobody on port {asked.port}: {wrong}.", facts, "direct", ways
        )
    sentence = (
        f"Pod {asked.pod} connects to {_count(reached, ways)} of {about} itself, whichever address of the answer it"
        " picks: no virtual address, no balancing, and the port it asks for is the port of the pod"
    )
    return Connection(subject, len(reached) == len(ways), f"{sentence}.", facts, "direct", ways)


def _untranslated(obj: Object, seen: Snapshot, port: str) -> str:
    """Say which port was meant, when a Service's port is asked for that leads elsewhere only by translation."""
    slices = seen.slices(obj["metadata"]["name"])
    for one in obj["spec"].get("ports") or ():
        if port in (str(one["port"]), one.get("name")):
            numbers = {
                entry["port"]
                for each in slices
                for entry in each.get("ports") or ()
                if (entry.get("name") or "") == (one.get("name") or "") and entry.get("port")
            }
            if port.isdigit() and numbers and int(port) not in numbers:
                listens = ", ".join(map(str, sorted(numbers)))
                return f"a headless Service translates no ports, and its pods listen on {listens}"
    return ""


def _balanced(
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
    facts += [_shown(way, len(chosen) > 1) for way in ways]
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
    text = f"Pod {asked.pod} reaches {_count(reached, mine)} of {about} by {to}{how}."
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
            why = _unready(seen, who, one.terminating, one.serving, bool(targets))
        yield Way(str(one.target), who, _label(port), one.target in targets, why)
    addresses = {str(one.target.address) for one in found}
    for entry in behind:
        if not addresses & set(entry.addresses) and _has_family(entry.addresses, side.version):
            why = f"has no port that port {port.port} of the Service leads to"
            yield Way(entry.addresses[0], entry.pod, _label(port), False, why)
    here = {one.pod for one in behind if _has_family(one.addresses, side.version)}
    yield from _unnamed(seen, obj, here, "", _label(port))


def _has_family(addresses: Sequence[str], version: int) -> bool:
    return any((":" in address) == (version == 6) for address in addresses)


def _unnamed(seen: Snapshot, obj: Object, named: set[str], host: str, port: str = "") -> Iterator[Way]:
    """Yield the pods a Service selects which no slice names: those without an address, and ended ones."""
    for pod in seen.of("Pod"):
        name = pod["metadata"]["name"]
        if name in named or not labels_match(obj["spec"].get("selector") or {}, pod):
            continue
        ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
        if ended or host not in ("", name):
            continue
        clause = pod_clause(seen, pod)
        elsewhere = name in {one.pod for one in entries(seen, obj["metadata"]["name"])}
        late = "has no address of this family" if elsewhere else "its EndpointSlice does not name it yet"
        yield Way("", name, port, False, f"not ready ({clause})" if clause and not elsewhere else late)


def _unready(seen: Snapshot, name: str, terminating: bool, serving: bool, others: bool) -> str:
    if terminating:
        if serving:
            return "terminating, and others are ready" if others else "terminating"
        return "terminating, and no longer serving"
    pod = seen.find("Pod", name) if name else None
    clause = pod_clause(seen, pod) if pod is not None else ""
    return f"not ready ({clause})" if clause else "not ready"


def _shown(way: Way, with_port: bool = False) -> Evidence:
    who = f"Pod {way.pod}" if way.pod else way.target
    target = f"{way.target} " if way.pod and way.target else ""
    port = f"port {way.port}: " if with_port else ""
    return Evidence(who, f"{port}{target}{'reached' if way.reached else 'left out'}: {way.why}")


def _label(port: ServicePort) -> str:
    return port.name or str(port.port)


def _count(reached: Sequence[Way], ways: Sequence[Way]) -> str:
    """Return how many are reached; a pod with two addresses is one."""
    some, every = ({way.pod or way.target for way in found} for found in (reached, ways))
    if len(every) == 1 == len(some):
        return "the one endpoint"
    return f"{len(some)} of {len(every)} endpoints"
