"""Who stands behind the records of a DNS answer, and why an answer has none. Pure.

Source: DNS schema 1.1.0 for which record leads to what.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from homeport.explain.model import Snapshot
from homeport.explain.names import Asked, asked, explain_name
from homeport.explain.services import Endpoint, endpoints

__all__ = ["Behind", "behind", "namespaces_of", "nothing_clause"]

_SHOWN_ENDPOINTS: Final = 5
_FAMILIES: Final = {"A": "IPv4", "AAAA": "IPv6"}


@dataclass(frozen=True, slots=True)
class Behind:
    """Who a record leads to, as `Kind name`, and in what capacity."""

    object: str
    namespace: str
    says: str

    def as_json(self) -> dict[str, str]:
        return {"object": self.object, "namespace": self.namespace, "says": self.says}

    def __str__(self) -> str:
        return f"{self.object}, {self.says}"


def namespaces_of(records: Iterable[Mapping[str, Any]], domain: str) -> set[str]:
    """Return the namespaces that records speak of, by their owners' names or the names they lead to."""
    return {
        namespace
        for record in records
        for name in (record["name"], _target(record))
        if (namespace := _namespace(name, domain))
    }


def behind(record: Mapping[str, Any], seen: Mapping[str, Snapshot], domain: str) -> Behind | None:
    """Return who stands behind a record, given as name, type and data in text; None for what is not the cluster's."""
    match record["type"]:
        case "A" | "AAAA":
            return _address(record["name"], record["data"], seen, domain)
        case "SRV" | "PTR":
            return _named(_target(record), seen, domain)
        case "CNAME":
            return _alias(record["name"], seen, domain)
    return None


def _alias(name: str, seen: Mapping[str, Snapshot], domain: str) -> Behind | None:
    meaning = _meaning(name, domain)
    if meaning is None or _find(seen, meaning.namespace, meaning.service) is None:
        return None
    return Behind(f"Service {meaning.service}", meaning.namespace, "an alias (spec.externalName)")


def _target(record: Mapping[str, Any]) -> str:
    return str(record["data"]).rpartition(" ")[2] if record["type"] in ("SRV", "PTR", "CNAME") else ""


def _meaning(name: str, domain: str) -> Asked | None:
    return next(iter(asked(f"{name.rstrip('.')}.", "", domain)), None)


def _namespace(name: str, domain: str) -> str:
    labels = name.rstrip(".").removesuffix(f".{domain}").split(".")
    return labels[-2] if len(labels) > 1 and labels[-1] in ("svc", "pod") else ""


def _find(seen: Mapping[str, Snapshot], namespace: str, service: str) -> Mapping[str, Any] | None:
    return seen[namespace].find("Service", service) if namespace in seen else None


def _address(name: str, address: str, seen: Mapping[str, Snapshot], domain: str) -> Behind | None:
    meaning = _meaning(name, domain)
    if meaning is None:
        return _pod_record(name, address, seen, domain)
    service = _find(seen, meaning.namespace, meaning.service)
    if service is None:
        return None
    behind_it = endpoints(seen[meaning.namespace], meaning.service)
    own = address in (service["spec"].get("clusterIPs") or ())
    for one in behind_it:
        if own and address in one.addresses:
            return Behind(f"Service {meaning.service}", meaning.namespace, "a real address, not balanced")
        if any(ip_address(each) == ip_address(address) for each in one.addresses):
            return _endpoint(one, meaning.namespace, meaning.service)
    ready = [one for one in behind_it if one.ready]
    return Behind(f"Service {meaning.service}", meaning.namespace, f"a virtual address before {_listed(ready)}")


def _listed(ready: list[Endpoint]) -> str:
    names = sorted({one.pod or one.addresses[0] for one in ready})
    if not names:
        return "nobody: connections are refused"
    rest = len(names) - _SHOWN_ENDPOINTS
    return ", ".join(names[:_SHOWN_ENDPOINTS]) + (f" and {rest} more" if rest > 0 else "")


def _endpoint(one: Endpoint, namespace: str, service: str) -> Behind:
    state = "terminating" if one.terminating else "ready" if one.ready else "not ready"
    who = f"Pod {one.pod}" if one.pod else f"EndpointSlice {one.slice}"
    return Behind(who, namespace, f"{state}, an endpoint of Service {service}")


def _pod_record(name: str, address: str, seen: Mapping[str, Snapshot], domain: str) -> Behind | None:
    """A name such as 10-244-0-2.default.pod.cluster.local says the address itself."""
    namespace = _namespace(name, domain)
    if namespace not in seen:
        return None
    for pod in seen[namespace].of("Pod"):
        if any(one["ip"] == address for one in (pod.get("status") or {}).get("podIPs") or ()):
            return Behind(f"Pod {pod['metadata']['name']}", namespace, "has this address")
    return Behind("nobody", namespace, "no pod of the namespace has this address")


def _named(name: str, seen: Mapping[str, Snapshot], domain: str) -> Behind | None:
    """Return who a name leads to, as SRV and PTR records have it."""
    meaning = _meaning(name, domain)
    if meaning is None or _find(seen, meaning.namespace, meaning.service) is None:
        return None
    found = endpoints(seen[meaning.namespace], meaning.service)
    if not meaning.host:
        ready = _listed([one for one in found if one.ready])
        return Behind(f"Service {meaning.service}", meaning.namespace, f"a virtual address before {ready}")
    for one in found:
        labels = {one.hostname, *(each.replace(".", "-").replace(":", "-") for each in one.addresses)}
        if meaning.host in labels:
            return _endpoint(one, meaning.namespace, meaning.service)
    return None


def nothing_clause(text: str, kind: str, namespace: str, seen: Mapping[str, Snapshot], domain: str) -> str:
    """Say in one sentence why an answer has no record of a type; empty for names that are not the cluster's."""
    meanings = [one for one in asked(text, namespace, domain) if one.namespace in seen]
    if not meanings:
        return ""
    explained = explain_name(text, meanings, seen)
    if not explained.fine:
        return explained.sentence
    there = next((one for one in meanings if _find(seen, one.namespace, one.service) is not None), meanings[0])
    families = ((_find(seen, there.namespace, there.service) or {}).get("spec") or {}).get("ipFamilies") or []
    about = f"{there.text} is there and has no {kind} record"
    if kind in _FAMILIES and families and _FAMILIES[kind] not in families:
        return f"{about}: Service {there.service} is of {', '.join(families)} alone (spec.ipFamilies)."
    return f"{about}."
