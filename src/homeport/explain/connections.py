"""Which endpoints a connection from a pod to a Service may reach, and why the others are left out.

Decided by the proxy's own rules (`homeport.proxy.rules`), so that what is said is what happens.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from homeport.explain.balanced import explain_balanced
from homeport.explain.model import Evidence, Explanation, Object, Snapshot
from homeport.explain.names import Asked, explain_name
from homeport.explain.pods import pod_clause, pod_missing
from homeport.explain.services import endpoints as entries
from homeport.explain.services import explain_service
from homeport.explain.wanted import Wanted
from homeport.explain.ways import Connection, Way, count_text, unnamed, unready_clause, way_evidence
from homeport.proxy import codec
from homeport.proxy.flows import Connection as Flow
from homeport.proxy.model import ProxySettings

__all__ = ["NO_WAY_OUT", "explain_connection", "explain_to_address"]

NO_WAY_OUT: Final = "no way leads out of the cluster's network"


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
        (f"IPv{side.version}", explain_balanced(asked, subject, pod, seen, obj, service, side, answer, means, flows))
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
        return Connection(subject, not trouble, f"{sentence}{rest}.", (way_evidence(way),), "direct", (way,))
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
            "the name leads there" if one.ready else unready_clause(seen, one.pod, one.terminating, one.serving, False),
        )
        for one in behind
    )
    ways += tuple(unnamed(seen, obj, {one.pod for one in entries(seen, meaning.service)}, meaning.host))
    reached = [way for way in ways if way.reached]
    facts = (answer, *(way_evidence(way) for way in ways))
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
        f"Pod {asked.pod} connects to {count_text(reached, ways)} of {about} itself, whichever address of the answer it"
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
