"""What a Service means before addresses and ports are allocated: mirrored fields, IP families, type transitions.

Pure, in place on a decoded and defaulted Service the caller owns. The server, which keeps the allocations, calls

    on create   mirror_cluster_ip(new)      -> settle_families(new, None, cluster) -> allocate what `wants_*` say
    on update   carry_over(new, old)        -> settle_families(new, old, cluster)  -> allocate, release

and goes on with `strategy` and `validation`. Source: services-dns 3.1, 3.2, 4, 5.
"""

from collections.abc import Sequence
from typing import Any, Final

from homeport.api.defaults.services import externally_accessible
from homeport.api.validation import addresses
from homeport.api.validation.errors import FieldError, refused
from homeport.api.validation.services import needs_health_check_port, validate_addresses

__all__ = [
    "carry_over",
    "forget_balancer",
    "is_headless",
    "mirror_cluster_ip",
    "settle_families",
    "wants_cluster_ips",
    "wants_health_check_port",
    "wants_node_ports",
]

Tree = dict[str, Any]

HEADLESS: Final = "None"
_OTHER: Final = {"IPv4": "IPv6", "IPv6": "IPv4"}
_POLICY: Final = "spec.ipFamilyPolicy"


def is_headless(spec: Tree) -> bool:
    return bool(spec.get("clusterIP") == HEADLESS)


def wants_cluster_ips(spec: Tree) -> bool:
    """Return whether each of `ipFamilies` needs an address of the service range."""
    return spec.get("type") != "ExternalName" and not is_headless(spec)


def wants_node_ports(spec: Tree) -> bool:
    """Return whether every port needs a node port; without it, ports asked for are still honoured."""
    kind = spec.get("type")
    return kind == "NodePort" or (kind == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts", True))


def wants_health_check_port(spec: Tree) -> bool:
    return needs_health_check_port(spec)


def mirror_cluster_ip(new: Tree, old: Tree | None = None) -> None:
    """Make `clusterIPs` follow `clusterIP` when only that was written; validation refuses the other direction."""
    spec = new["spec"]
    single, listed = spec.get("clusterIP", ""), spec.get("clusterIPs", [])
    if old is None:
        if single and not listed:
            spec["clusterIPs"] = [single]
        return
    before = old["spec"]
    if single == before.get("clusterIP", "") or listed != before.get("clusterIPs", []):
        return
    if single:
        spec["clusterIPs"] = [single]
    else:
        spec.pop("clusterIPs", None)


def carry_over(new: Tree, old: Tree) -> None:
    """Apply an update's silent consequences: values left out are refilled, values the new type has no use for go.

    Nothing the client changed itself is cleared; validation refuses that.
    """
    after, before = new["spec"], old["spec"]
    if "ExternalName" not in (after.get("type"), before.get("type")):
        for field in ("clusterIP", "clusterIPs"):
            if not after.get(field) and before.get(field):
                after[field] = before[field]
    if _uses_node_ports(after) and _uses_node_ports(before):
        _refill_node_ports(after.get("ports", []), before.get("ports", []))
    if needs_health_check_port(after) and needs_health_check_port(before) and not after.get("healthCheckNodePort"):
        _copy(after, before, "healthCheckNodePort")
    mirror_cluster_ip(new, old)
    _clear_for_type(after, before)


def forget_balancer(new: Tree, old: Tree) -> None:
    """Empty what is told of a load balancer when the Service is none any more; `new` has the status of `old`."""
    if new["spec"].get("type") != "LoadBalancer" and old["spec"].get("type") == "LoadBalancer":
        new["status"] = {**new.get("status", {}), "loadBalancer": {}}


def _uses_node_ports(spec: Tree) -> bool:
    return spec.get("type") in ("NodePort", "LoadBalancer")


def _clear_for_type(after: Tree, before: Tree) -> None:
    if before.get("type") != "ExternalName" and after.get("type") == "ExternalName":
        if after.get("clusterIPs") == before.get("clusterIPs"):
            after.pop("clusterIP", None)
            after.pop("clusterIPs", None)
        for field in ("ipFamilies", "ipFamilyPolicy"):
            _clear_if_same(after, before, field)
        after.pop("internalTrafficPolicy", None)
    if _uses_node_ports(before) and not _uses_node_ports(after):
        known = {port.get("nodePort") for port in before.get("ports", ())}
        if all(port.get("nodePort") in known for port in after.get("ports", ()) if port.get("nodePort")):
            after["ports"] = [{k: v for k, v in port.items() if k != "nodePort"} for port in after.get("ports", ())]
            if not after["ports"]:
                del after["ports"]
    if needs_health_check_port(before) and not needs_health_check_port(after):
        _clear_if_same(after, before, "healthCheckNodePort")
    if before.get("type") == "LoadBalancer" and after.get("type") != "LoadBalancer":
        for field in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            _clear_if_same(after, before, field)
    if externally_accessible(before) and not externally_accessible(after):
        _clear_if_same(after, before, "externalTrafficPolicy")


def _clear_if_same(after: Tree, before: Tree, field: str) -> None:
    if after.get(field) == before.get(field):
        after.pop(field, None)


def _copy(after: Tree, before: Tree, field: str) -> None:
    if field in before:
        after[field] = before[field]


def _refill_node_ports(after: list[Tree], before: list[Tree]) -> None:
    """Give ports without a node port the one their namesake had, unless another port of the Service asks for it."""
    known = {port.get("name", ""): port.get("nodePort") for port in before}
    asked = {port["nodePort"] for port in after if port.get("nodePort")}
    for port in after:
        number = known.get(port.get("name", ""))
        if not port.get("nodePort") and number and number not in asked:
            port["nodePort"] = number
            asked.add(number)


def settle_families(new: Tree, old: Tree | None, cluster: Sequence[str]) -> list[FieldError]:
    """Decide `ipFamilyPolicy` and `ipFamilies`; return why that is impossible, or nothing.

    cluster  the families this cluster has ranges for, the default one first: ("IPv4",) or ("IPv4", "IPv6").
    """
    spec, before = new["spec"], old["spec"] if old else {}
    if spec.get("type") == "ExternalName" or (old is not None and _left_alone(spec, before)):
        return []
    selectorless = is_headless(spec) and not spec.get("selector")
    if "ipFamilyPolicy" not in spec:
        usual = "RequireDualStack" if selectorless else "SingleStack"
        spec["ipFamilyPolicy"] = before.get("ipFamilyPolicy") or usual
    policy: str = spec["ipFamilyPolicy"]
    if errors := validate_addresses(spec, before):
        return errors
    errors = _released(spec, before, policy) if old is not None else []
    errors += _single_stack(spec, policy)
    families, unknown = _families_of_addresses(spec, cluster)
    if errors := [*errors, *unknown]:
        return errors
    if not selectorless and (errors := _not_configured(policy, families, cluster)):
        return errors
    families = families or [cluster[0]]
    if policy != "SingleStack" and len(families) == 1 and (selectorless or len(cluster) == 2):
        families.append(_OTHER[families[0]])
    spec["ipFamilies"] = families
    return []


def _left_alone(after: Tree, before: Tree) -> bool:
    """A Service that prefers dual stack is neither upgraded nor downgraded behind its owner's back."""
    return all(
        (
            after.get("type") == before.get("type"),
            after.get("ipFamilyPolicy") == before.get("ipFamilyPolicy") == "PreferDualStack",
            after.get("clusterIPs") == before.get("clusterIPs"),
            after.get("ipFamilies") == before.get("ipFamilies"),
        )
    )


def _released(after: Tree, before: Tree, policy: str) -> list[FieldError]:
    """Going to a single stack drops the second entries; fewer entries without saying so is refused."""
    errors: list[FieldError] = []
    for field, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        now, was = after.get(field, []), before.get(field, [])
        if policy == "SingleStack":
            if now == was and len(now) > 1:
                after[field] = now[:1]
        elif 0 < len(now) < len(was):
            errors.append(refused(_POLICY, policy, f"must be 'SingleStack' to release the secondary {what}"))
    return errors


def _single_stack(spec: Tree, policy: str) -> list[FieldError]:
    if policy != "SingleStack":
        return []
    text = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
    return [
        refused(_POLICY, policy, text.format(what))
        for field, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families"))
        if len(spec.get(field, ())) == 2
    ]


def _families_of_addresses(spec: Tree, cluster: Sequence[str]) -> tuple[list[str], list[FieldError]]:
    """Return the families stated, continued by those of addresses beyond them, and what the cluster has none of."""
    families: list[str] = list(spec.get("ipFamilies", ()))
    errors: list[FieldError] = []
    if is_headless(spec):
        return families, errors
    listed = spec.get("clusterIPs", [])
    for index, address in enumerate(listed):
        if index < len(families):
            continue
        family = addresses.family(address)
        if family in cluster:
            families.append(family)
        else:
            errors.append(refused(f"spec.clusterIPs[{index}]", listed, f"{family} is not configured on this cluster"))
    return families, errors


def _not_configured(policy: str, families: list[str], cluster: Sequence[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    if policy == "RequireDualStack" and len(cluster) < 2:
        errors.append(refused(_POLICY, policy, "this cluster is not configured for dual-stack services"))
    return errors + [
        refused(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
        for index, family in enumerate(families)
        if family not in cluster
    ]
