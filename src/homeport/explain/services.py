"""Where connections to a Service go, and why to none or to fewer pods than there are."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from homeport.explain.model import Evidence, Explanation, Object, Snapshot, labels_match, near
from homeport.explain.pods import pod_clause
from homeport.proxy.balance import ANNOTATION, Balance, balance_of

__all__ = ["Endpoint", "distinct", "endpoints", "explain_service", "nobody_behind", "selector_text"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An entry of an EndpointSlice; conditions already have their defaults. `pod` is empty for others than pods."""

    slice: str
    addresses: tuple[str, ...]
    ready: bool
    serving: bool
    terminating: bool
    hostname: str = ""
    pod: str = ""


def endpoints(seen: Snapshot, service: str) -> list[Endpoint]:
    """Return the entries of all slices of a Service."""
    found = []
    for obj in seen.slices(service):
        for entry in obj.get("endpoints") or ():
            conditions = entry.get("conditions") or {}
            ready = conditions.get("ready") is not False
            serving = conditions.get("serving")
            reference = entry.get("targetRef") or {}
            found.append(
                Endpoint(
                    obj["metadata"]["name"],
                    tuple(entry.get("addresses") or ()),
                    ready,
                    ready if serving is None else bool(serving),
                    bool(conditions.get("terminating")),
                    entry.get("hostname") or "",
                    (reference.get("name") or "") if reference.get("kind") == "Pod" else "",
                )
            )
    return found


def distinct(found: Iterable[Endpoint]) -> int:
    """Return how many there are: a pod with an address of each family is named by two slices."""
    return len({one.pod or one.addresses for one in found})


def selector_text(service: Object) -> str:
    """Return `app=web,tier=front`."""
    return ",".join(f"{key}={value}" for key, value in (service["spec"].get("selector") or {}).items())


def explain_service(seen: Snapshot, name: str) -> Explanation:
    """Explain a Service, whether or not it exists."""
    subject = f"Service {name}"
    service = seen.find("Service", name)
    if service is None:
        there = near(name, seen.of("Service"))
        return Explanation(subject, False, f"{subject} does not exist in namespace {seen.namespace}{there}.")
    spec = service["spec"]
    if spec.get("type") == "ExternalName":
        return Explanation(
            subject, True, f"{subject} is an alias: its name leads to {spec.get('externalName')} (CNAME)."
        )
    behind = endpoints(seen, name)
    ready = [one for one in behind if one.ready]
    evidence = tuple(_evidence(seen, service, behind))
    headless = spec.get("clusterIP") == "None"
    ports = ", ".join(str(port["port"]) for port in spec.get("ports") or ()) or "no port"
    every, address = distinct(behind), " and ".join(spec.get("clusterIPs") or [spec.get("clusterIP", "")])
    front = (
        f"its name leads to {{}} of {every}"
        if headless
        else f"connections to {address} (port {ports}) are spread over {{}} of {every}"
    )
    if ready:
        sentence = f"{subject} works: {front.format(distinct(ready))} endpoint{'' if every == 1 else 's'}"
        if lonely := _without_endpoints(spec, ready):
            sentence += f"; but {lonely}"
        rest = [one for one in behind if not one.ready]
        if rest:
            sentence += f"; {_without(seen, rest[0])}"
        if spec.get("internalTrafficPolicy") == "Local":
            sentence += "; internalTrafficPolicy Local: only those on the client's own node"
        return Explanation(subject, not rest and not lonely, f"{sentence}.", evidence)
    leaving = [one for one in behind if one.serving and one.terminating]
    if leaving and not headless:
        names = ", ".join(one.pod or one.addresses[0] for one in leaving)
        return Explanation(
            subject, False, f"{subject} has no ready endpoint; {names}, on the way out, serve until the last.", evidence
        )
    outcome = "its name does not resolve" if headless else f"connections to {address} are refused"
    return Explanation(
        subject, False, f"{subject} has no ready endpoint, so {outcome}: {nobody_behind(seen, service)}.", evidence
    )


def _without_endpoints(spec: Object, ready: Iterable[Endpoint]) -> str:
    """Say so when one of the Service's families has no endpoint, as its pods have no address of it."""
    there = {"IPv6" if ":" in address else "IPv4" for one in ready for address in one.addresses}
    lonely = [family for family in spec.get("ipFamilies") or () if family not in there]
    return f"of {', '.join(lonely)} it has no endpoint: its pods have no such address" if lonely else ""


def _without(seen: Snapshot, endpoint: Endpoint) -> str:
    pod = seen.find("Pod", endpoint.pod) if endpoint.pod else None
    if pod is None:
        return f"{endpoint.pod or endpoint.addresses[0]} is not ready"
    return f"without {endpoint.pod} ({pod_clause(seen, pod) or 'the slice has not caught up with it'})"


def nobody_behind(seen: Snapshot, service: Object) -> str:
    """Say in one clause why a Service has no ready endpoint."""
    name, selector = service["metadata"]["name"], service["spec"].get("selector") or {}
    if not selector:
        return "it has no selector, and nobody has made a ready endpoint for it"
    matching = [pod for pod in seen.of("Pod") if labels_match(selector, pod)]
    if not matching:
        return f"no pod has the labels it selects ({selector_text(service)})" + _almost(seen, selector)
    for pod in matching:
        if clause := pod_clause(seen, pod):
            return f"pod {pod['metadata']['name']} is not ready ({clause})" + (
                f", nor are {len(matching) - 1} others" if len(matching) > 1 else ""
            )
    for port in service["spec"].get("ports") or ():
        target = port.get("targetPort")
        if isinstance(target, str) and not any(target in _port_names(pod) for pod in matching):
            return f"no container port of its pods is named {target!r}, which port {port['port']} leads to"
    return (
        f"its EndpointSlices do not name {matching[0]['metadata']['name']} yet"
        if not seen.slices(name)
        else "its EndpointSlices have not caught up with its pods"
    )


def _almost(seen: Snapshot, selector: dict[str, str]) -> str:
    """Point at a pod that has all of the selected labels, one with another value."""
    for pod in seen.of("Pod"):
        labels = pod["metadata"].get("labels") or {}
        wrong = [key for key, value in selector.items() if labels.get(key) != value]
        if len(wrong) == 1 and wrong[0] in labels:
            return f"; pod {pod['metadata']['name']} has {wrong[0]}={labels[wrong[0]]}"
    return ""


def _port_names(pod: Object) -> set[str]:
    containers = [*(pod["spec"].get("containers") or ()), *(pod["spec"].get("initContainers") or ())]
    return {port.get("name", "") for container in containers for port in container.get("ports") or ()}


def _evidence(seen: Snapshot, service: Object, behind: list[Endpoint]) -> Iterator[Evidence]:
    spec, subject = service["spec"], f"Service {service['metadata']['name']}"
    selector = selector_text(service)
    if selector:
        count = sum(labels_match(spec["selector"], pod) for pod in seen.of("Pod"))
        yield Evidence(subject, f"selector {selector} picks {count} pod{'' if count == 1 else 's'}")
    if spec.get("publishNotReadyAddresses"):
        yield Evidence(subject, "publishNotReadyAddresses: pods count before they are ready")
    if spec.get("sessionAffinity") == "ClientIP":
        yield Evidence(subject, "sessionAffinity ClientIP: a client keeps its endpoint")
    if asked := (service["metadata"].get("annotations") or {}).get(ANNOTATION):
        known = ", ".join(one.value for one in Balance)
        strange = "" if balance_of(asked) else f", which is none of {known}: balanced at random"
        yield Evidence(subject, f"{ANNOTATION} {asked}{strange}")
    for one in behind:
        state = ", ".join(
            word
            for word, holds in (("ready", one.ready), ("serving", one.serving), ("terminating", one.terminating))
            if holds
        )
        who = f" ({one.pod})" if one.pod else ""
        yield Evidence(f"EndpointSlice {one.slice}", f"{', '.join(one.addresses)}{who}: {state or 'not ready'}")
