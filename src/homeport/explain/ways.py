"""What a connection may lead to: endpoints, each with the reason it is reached or left out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from homeport.explain.model import Evidence, Explanation, Object, Snapshot, labels_match
from homeport.explain.pods import pod_clause
from homeport.explain.services import endpoints as entries

__all__ = ["Connection", "Way", "count_text", "unnamed", "unready_clause", "way_evidence"]


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


def unnamed(seen: Snapshot, obj: Object, named: set[str], host: str, port: str = "") -> Iterator[Way]:
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


def unready_clause(seen: Snapshot, name: str, terminating: bool, serving: bool, others: bool) -> str:
    if terminating:
        if serving:
            return "terminating, and others are ready" if others else "terminating"
        return "terminating, and no longer serving"
    pod = seen.find("Pod", name) if name else None
    clause = pod_clause(seen, pod) if pod is not None else ""
    return f"not ready ({clause})" if clause else "not ready"


def way_evidence(way: Way, with_port: bool = False) -> Evidence:
    who = f"Pod {way.pod}" if way.pod else way.target
    target = f"{way.target} " if way.pod and way.target else ""
    port = f"port {way.port}: " if with_port else ""
    return Evidence(who, f"{port}{target}{'reached' if way.reached else 'left out'}: {way.why}")


def count_text(reached: Sequence[Way], ways: Sequence[Way]) -> str:
    """Return how many are reached; a pod with two addresses is one."""
    some, every = ({way.pod or way.target for way in found} for found in (reached, ways))
    if len(every) == 1 == len(some):
        return "the one endpoint"
    return f"{len(some)} of {len(every)} endpoints"
