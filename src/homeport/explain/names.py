"""Why a DNS name resolves to what it does, or does not. Source: DNS schema 1.1.0; `services-dns` 14.2, 14.3."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from homeport.api.dns_names import service_dns_name
from homeport.explain.model import Evidence, Explanation, Object, Snapshot, labels_match, near
from homeport.explain.pods import pod_clause, pod_missing
from homeport.explain.services import Endpoint, distinct, endpoints, nobody_behind, selector_text

__all__ = ["Asked", "asked", "explain_name"]

_PROTOCOLS: Final = ("_tcp", "_udp", "_sctp")


@dataclass(frozen=True, slots=True)
class Asked:
    """A name of the cluster, taken apart. `host` is an endpoint's label; `port` the port of an SRV name, as written."""

    text: str
    namespace: str
    service: str
    host: str = ""
    port: str = ""


def asked(text: str, namespace: str, domain: str) -> list[Asked]:
    """Return what a name may mean to a pod of `namespace`, in the order its resolver tries; none for others' names."""
    name = text.rstrip(".").lower()
    suffixes = ["", f".{namespace}.svc.{domain}", f".svc.{domain}", f".{domain}"]
    tried = suffixes[:1] if text.endswith(".") or name.endswith(f".{domain}") else [*suffixes[1:], ""]
    found = (_parse(name + suffix, domain) for suffix in tried)
    return [one for one in found if one is not None]


def _parse(name: str, domain: str) -> Asked | None:
    head = name.removesuffix(f".svc.{domain}")
    if head == name:
        return None
    match head.split("."):
        case [service, namespace]:
            return Asked(name, namespace, service)
        case [port, protocol, service, namespace] if protocol in _PROTOCOLS:
            return Asked(name, namespace, service, port=f"{port}.{protocol}")
        case [host, service, namespace]:
            return Asked(name, namespace, service, host=host)
    return None


def explain_name(text: str, meanings: list[Asked], seen: Mapping[str, Snapshot]) -> Explanation:
    """Explain a name by the first meaning that resolves, else by the one of which most is there.

    seen  a snapshot for the namespace of each meaning
    """
    tried = [_explain(one, seen[one.namespace]) for one in meanings]
    if not tried:
        sentence = (
            f"{text} is no name of a Service or a pod of this cluster; names outside its domain are asked of the host's"
            " resolver."
        )
        return Explanation(f"name {text}", False, sentence)
    there = [seen[one.namespace].find("Service", one.service) is not None for one in meanings]
    known = [(one.fine, there[number], seen[meanings[number].namespace].exists) for number, one in enumerate(tried)]
    best = tried[max(range(len(tried)), key=lambda number: known[number])]
    if len(tried) > 1 and not any(there):
        reason = best.sentence.partition("does not resolve: ")[2].rstrip(".")
        sentence = f"{text} is no name of this cluster ({reason}); the host's resolver is asked for it."
        return Explanation(f"name {text}", False, sentence, best.evidence)
    return best


def _explain(name: Asked, seen: Snapshot) -> Explanation:
    subject = f"name {name.text}"
    if not seen.exists:
        return _absent(name, f"there is no namespace {name.namespace}")
    service = seen.find("Service", name.service)
    if service is None:
        pods = [pod for pod in seen.of("Pod") if pod["spec"].get("subdomain") == name.service]
        evidence = tuple(Evidence(f"Pod {pod['metadata']['name']}", f"subdomain {name.service}") for pod in pods)
        clause = f"namespace {name.namespace} has no Service {name.service}{near(name.service, seen.of('Service'))}"
        return _absent(name, clause + (", which its pods' names need" if pods else ""), evidence)
    spec = service["spec"]
    about = f"Service {name.service}"
    if spec.get("type") == "ExternalName":
        if name.host or name.port:
            return _absent(name, f"{about} is an alias and has no names below it")
        target = spec.get("externalName")
        return Explanation(
            subject,
            True,
            f"{name.text} is an alias of {target}: {about} says so.",
            (Evidence(about, f"externalName {target}"),),
        )
    if name.port:
        return _port(name, seen, service)
    if name.host:
        return _host(name, seen, service)
    behind = endpoints(seen, name.service)
    ready = [one for one in behind if one.ready]
    evidence = tuple(_shown(one) for one in behind)
    if spec.get("clusterIP") != "None":
        address = ", ".join(spec.get("clusterIPs") or [spec.get("clusterIP", "")])
        text = f"{name.text} resolves to {address}, the virtual address of {about}"
        return Explanation(
            subject, True, f"{text}, with {_count(distinct(ready), 'ready endpoint')} behind it.", evidence
        )
    if not ready:
        return _absent(name, f"headless {about} has no ready endpoint: {nobody_behind(seen, service)}", evidence)
    addresses = ", ".join(address for one in ready for address in one.addresses)
    text = f"{name.text} resolves to {addresses}: the ready endpoints of headless {about}"
    rest = f", {distinct(ready)} of {distinct(behind)}" if distinct(ready) < distinct(behind) else ""
    return Explanation(subject, True, f"{text}{rest}.", evidence)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _absent(name: Asked, clause: str, evidence: tuple[Evidence, ...] = ()) -> Explanation:
    return Explanation(f"name {name.text}", False, f"{name.text} does not resolve: {clause}.", evidence)


def _port(name: Asked, seen: Snapshot, service: Object) -> Explanation:
    port, _, protocol = name.port.removeprefix("_").partition("._")
    about = f"Service {name.service}"
    ports = [
        f"{one.get('name', '')}/{one.get('protocol', 'TCP').lower()}" for one in service["spec"].get("ports") or ()
    ]
    if f"{port}/{protocol}" not in ports:
        return _absent(name, f"{about} has no port named {port} over {protocol} (it has {', '.join(ports) or 'none'})")
    if service["spec"].get("clusterIP") == "None" and not any(one.ready for one in endpoints(seen, name.service)):
        return _absent(name, f"headless {about} has no ready endpoint: {nobody_behind(seen, service)}")
    return Explanation(f"name {name.text}", True, f"{name.text} has SRV records for port {port} of {about}.")


def _shown(one: Endpoint) -> Evidence:
    label = f" {one.hostname}" if one.hostname else ""
    state = "ready" if one.ready else "terminating" if one.terminating else "not ready"
    return Evidence(f"EndpointSlice {one.slice}", f"{', '.join(one.addresses)}{label}: {state}")


def _host(name: Asked, seen: Snapshot, service: Object) -> Explanation:
    about = f"Service {name.service}"
    named = [one for one in endpoints(seen, name.service) if name.host in _labels(one)]
    evidence = tuple(_shown(one) for one in named)
    ready = [one for one in named if one.ready]
    if ready:
        who = f"pod {ready[0].pod}" if ready[0].pod else "an endpoint"
        addresses = ", ".join(address for one in ready for address in one.addresses)
        text = f"{name.text} resolves to {addresses}: {who} is a ready endpoint of {about}"
        return Explanation(f"name {name.text}", True, f"{text}.", evidence)
    if named:
        pod = seen.find("Pod", named[0].pod) if named[0].pod else None
        why = pod_clause(seen, pod) if pod is not None else ""
        who = f"pod {named[0].pod}" if named[0].pod else named[0].addresses[0]
        state = "terminating" if named[0].terminating else "not ready"
        clause = f"{who} is {state}" + (f" ({why})" if why else "") + ", and only ready endpoints have names"
        return _absent(name, clause, (*evidence, Evidence(about, "publishNotReadyAddresses is not set")))
    pod = next(
        (one for one in seen.of("Pod") if name.host in (one["spec"].get("hostname"), one["metadata"]["name"])), None
    )
    if pod is None:
        clause, shown = pod_missing(seen, name.host)
        return _absent(name, f"pod {name.host} does not exist: {clause}", tuple(shown))
    return _absent(name, _unnamed(name, seen, service, pod), (_pod_facts(pod),))


def _labels(one: Endpoint) -> set[str]:
    """An endpoint without a hostname is named after its address."""
    return (
        {one.hostname} if one.hostname else {address.replace(".", "-").replace(":", "-") for address in one.addresses}
    )


def _pod_facts(pod: Object) -> Evidence:
    spec = pod["spec"]
    return Evidence(
        f"Pod {pod['metadata']['name']}", f"hostname {spec.get('hostname')!r}, subdomain {spec.get('subdomain')!r}"
    )


def _unnamed(name: Asked, seen: Snapshot, service: Object, pod: Object) -> str:
    """Say why a pod there is has no name under a Service there is."""
    spec, who, about = pod["spec"], f"pod {pod['metadata']['name']}", f"Service {name.service}"
    if not labels_match(service["spec"].get("selector") or {}, pod):
        return f"{about} selects {selector_text(service) or 'nothing'}, which {who} is not labelled with"
    if spec.get("subdomain") != name.service:
        other = spec.get("subdomain")
        own = f"{spec.get('hostname')}.{service_dns_name(name.namespace, other, seen.domain)}" if other else ""
        has = f"{other}, so its own name is {own}" if other else "not set"
        return f"the subdomain of {who} is {has}"
    if spec.get("hostname") != name.host:
        return f"the hostname of {who} is {spec.get('hostname') or 'not set'}"
    if clause := pod_clause(seen, pod):
        return f"{who} is not ready ({clause})"
    return f"the EndpointSlices of {about} have not caught up with {who}"
