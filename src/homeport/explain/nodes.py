"""Why a node takes no pods, or is not heard of."""

from collections.abc import Iterator

from homeport.explain.model import Evidence, Explanation, Object, near

__all__ = ["explain_node"]

_PRESSURES = ("MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable")


def explain_node(nodes: tuple[Object, ...], name: str) -> Explanation:
    """Explain the node `name` of all there are, whether or not it exists."""
    subject = f"Node {name}"
    node = next((one for one in nodes if one["metadata"]["name"] == name), None)
    if node is None:
        return Explanation(subject, False, f"{subject} does not exist{near(name, nodes)}.")
    conditions = {one["type"]: one for one in (node.get("status") or {}).get("conditions") or ()}
    evidence = tuple(_evidence(subject, node, conditions))
    ready = conditions.get("Ready") or {}
    if ready.get("status") == "Unknown":
        since = ready.get("lastHeartbeatTime", "?")
        sentence = (
            f"{subject} is not heard of since {since}: what its pods do is not known, and no pod is placed there."
        )
        return Explanation(subject, False, sentence, evidence)
    if ready.get("status") != "True":
        words = ": ".join(filter(None, (ready.get("reason"), ready.get("message")))) or "its agent has not reported yet"
        return Explanation(subject, False, f"{subject} is not ready ({words.rstrip('.')}).", evidence)
    if node["metadata"].get("deletionTimestamp"):
        return Explanation(subject, False, f"{subject} is being deleted.", evidence)
    if short := [kind for kind in _PRESSURES if (conditions.get(kind) or {}).get("status") == "True"]:
        return Explanation(subject, False, f"{subject} is ready, and short: {', '.join(short)}.", evidence)
    if (node.get("spec") or {}).get("unschedulable"):
        sentence = (
            f"{subject} is ready and cordoned: its pods run on, no new one is placed there until it is uncordoned."
        )
        return Explanation(subject, False, sentence, evidence)
    return Explanation(subject, True, f"{subject} is ready; it waits for nothing.", evidence)


def _evidence(subject: str, node: Object, conditions: dict[str, Object]) -> Iterator[Evidence]:
    for condition in conditions.values():
        if (condition["status"] == "True") is not (condition["type"] == "Ready"):
            words = ": ".join(filter(None, (condition.get("reason"), condition.get("message"))))
            since = condition.get("lastTransitionTime", "?")
            yield Evidence(subject, f"condition {condition['type']} is {condition['status']} since {since} ({words})")
    for taint in (node.get("spec") or {}).get("taints") or ():
        value = f"={taint['value']}" if taint.get("value") else ""
        yield Evidence(subject, f"taint {taint['key']}{value}:{taint['effect']}: for pods that tolerate it alone")
