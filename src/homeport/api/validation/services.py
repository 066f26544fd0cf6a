"""Rules of Services (services-dns 2.2)."""

import ipaddress
from typing import Any, Final

from homeport.api.defaults.services import externally_accessible
from homeport.api.validation import addresses, names
from homeport.api.validation.errors import FieldError, GoStruct, duplicate, forbidden, not_supported, refused, required
from homeport.api.validation.metadata import validate_labels, validate_metadata, validate_metadata_update

__all__ = [
    "needs_health_check_port",
    "validate_addresses",
    "validate_service",
    "validate_service_status",
    "validate_service_update",
]

Tree = dict[str, Any]

TYPES: Final = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
FAMILIES: Final = ("IPv4", "IPv6")
FAMILY_POLICIES: Final = ("PreferDualStack", "RequireDualStack", "SingleStack")
DISTRIBUTIONS: Final = ("PreferClose", "PreferSameZone", "PreferSameNode")
AFFINITY_LIMIT_SECONDS: Final = 86400
_HINTS: Final = "service.kubernetes.io/topology-aware-hints"
_MODE: Final = "service.kubernetes.io/topology-mode"
_RANGES: Final = "service.beta.kubernetes.io/load-balancer-source-ranges"
_BALANCER_ONLY: Final = "may only be used when `type` is 'LoadBalancer'"
_SET_ONCE: Final = "may not change once set"
_IPS: Final = "spec.clusterIPs"
_FAMILIES: Final = "spec.ipFamilies"
_POLICY: Final = "spec.ipFamilyPolicy"


def needs_health_check_port(spec: Tree) -> bool:
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def _headless(spec: Tree) -> bool:
    return spec.get("clusterIPs") == ["None"] or (not spec.get("clusterIPs") and spec.get("clusterIP") == "None")


def validate_service(tree: Tree, old: Tree | None = None) -> list[FieldError]:
    """Check a Service; addresses that were already wrong in `old` and did not change are tolerated."""
    spec, before = tree["spec"], (old or {}).get("spec", {})
    errors = [] if old else validate_metadata(tree["metadata"], name_rule=names.dns1123_label)
    annotations = tree["metadata"].get("annotations", {})
    if _HINTS in annotations and _MODE in annotations and annotations[_HINTS] != annotations[_MODE]:
        text = f"must match annotations[{_HINTS}] when both are specified"
        errors.append(refused(f"metadata.annotations[{_MODE}]", annotations[_MODE], text))
    kind, ports = spec.get("type", ""), spec.get("ports", [])
    if not ports and not _headless(spec) and kind != "ExternalName":
        errors.append(required("spec.ports"))
    errors += _by_type(spec, kind)
    errors += _ports(ports)
    if selector := spec.get("selector"):
        errors += validate_labels(selector, "spec.selector")
    errors += _affinity(spec)
    errors += validate_addresses(spec, before)
    known = before.get("externalIPs", ())
    for index, address in enumerate(spec.get("externalIPs", ())):
        if address not in known:
            problems = addresses.endpoint_ip(address)
            errors += [refused(f"spec.externalIPs[{index}]", address, problem) for problem in problems]
    if kind not in TYPES:
        errors.append(not_supported("spec.type", kind, TYPES) if kind else required("spec.type"))
    errors += _node_ports(ports, kind)
    errors += _source_ranges(tree, old)
    errors += _balancer(spec, kind)
    errors += _policies(spec)
    return errors


def _by_type(spec: Tree, kind: str) -> list[FieldError]:
    if kind in ("LoadBalancer", "NodePort") and _headless(spec):
        return [refused("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services")]
    if kind != "ExternalName":
        return []
    errors: list[FieldError] = [
        forbidden(f"spec.{field}", "may not be set for ExternalName services")
        for field in ("clusterIPs", "ipFamilies", "ipFamilyPolicy")
        if spec.get(field)
    ]
    name = spec.get("externalName", "").removesuffix(".")
    if name:
        errors += [refused("spec.externalName", name, problem) for problem in names.dns1123_subdomain(name)]
    else:
        errors.append(required("spec.externalName"))
    return errors


def _ports(ports: list[Tree]) -> list[FieldError]:
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path = f"spec.ports[{index}]"
        if name := port.get("name"):
            problems = names.dns1123_label(name)
            errors += [refused(f"{path}.name", name, problem) for problem in problems]
            if name in seen:
                errors.append(duplicate(f"{path}.name", name))
            seen.add(name)
        elif len(ports) > 1:
            errors.append(required(f"{path}.name"))
        number = port["port"]
        errors += [refused(f"{path}.port", number, problem) for problem in addresses.port_number(number)]
        protocol = port.get("protocol", "")
        if protocol not in PROTOCOLS:
            error = not_supported(f"{path}.protocol", protocol, PROTOCOLS) if protocol else required(f"{path}.protocol")
            errors.append(error)
        target = port["targetPort"]
        check = addresses.port_number(target) if isinstance(target, int) else names.port_name(target)
        errors += [refused(f"{path}.targetPort", target, problem) for problem in check]
        if (application := port.get("appProtocol")) is not None:
            problems = names.qualified_name(application)
            errors += [refused(f"{path}.appProtocol", application, problem) for problem in problems]
    return errors


def _node_ports(ports: list[Tree], kind: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if kind == "ClusterIP":
        errors += [
            forbidden(f"spec.ports[{index}].nodePort", "may not be used when `type` is 'ClusterIP'")
            for index, port in enumerate(ports)
            if port.get("nodePort")
        ]
    node_ports: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        if number := port.get("nodePort"):
            key = (port.get("protocol", ""), number)
            if key in node_ports:
                errors.append(duplicate(f"spec.ports[{index}].nodePort", number))
            node_ports.add(key)
    numbers: set[tuple[str, int]] = set()
    for index, port in enumerate(ports):
        key = (port.get("protocol", ""), port["port"])
        if key in numbers:
            shown = GoStruct("core.v1.ServicePort", {"protocol": key[0], "port": key[1]})
            errors.append(duplicate(f"spec.ports[{index}]", shown))
        numbers.add(key)
    return errors


def _affinity(spec: Tree) -> list[FieldError]:
    affinity, config = spec.get("sessionAffinity", ""), spec.get("sessionAffinityConfig")
    if affinity not in ("ClientIP", "None"):
        path = "spec.sessionAffinity"
        return [not_supported(path, affinity, ("ClientIP", "None")) if affinity else required(path)]
    path = "spec.sessionAffinityConfig"
    if affinity == "None":
        return [forbidden(path, "must not be set when session affinity is None")] if config else []
    seconds = ((config or {}).get("clientIP") or {}).get("timeoutSeconds")
    if seconds is None:
        return [required(f"{path}.clientIP.timeoutSeconds", "when session affinity type is ClientIP")]
    if not 0 < seconds <= AFFINITY_LIMIT_SECONDS:
        text = f"must be greater than 0 and less than {AFFINITY_LIMIT_SECONDS}"
        return [refused(f"{path}.clientIP.timeoutSeconds", seconds, text)]
    return []


def validate_addresses(spec: Tree, before: Tree) -> list[FieldError]:
    """Check clusterIP, clusterIPs, ipFamilies and ipFamilyPolicy against each other.

    The server also calls this before it allocates, so that allocation need not think of impossible combinations.
    """
    if spec.get("type") == "ExternalName":
        return []
    errors: list[FieldError] = []
    single, ips, families = spec.get("clusterIP", ""), spec.get("clusterIPs", []), spec.get("ipFamilies", [])
    if ips and not single:
        errors.append(refused(_IPS, ips, "must be empty when `clusterIP` is not specified"))
    elif ips and ips[0] != single:
        errors.append(refused(_IPS, ips, "first value must match `clusterIP`"))
    for index, family in enumerate(families):
        if family not in FAMILIES:
            errors.append(not_supported(f"{_FAMILIES}[{index}]", family, FAMILIES))
        if family in families[:index]:
            errors.append(duplicate(f"{_FAMILIES}[{index}]", family))
    if (policy := spec.get("ipFamilyPolicy")) is not None and policy not in FAMILY_POLICIES:
        errors.append(not_supported(_POLICY, policy, FAMILY_POLICIES))
    malformed = _malformed(ips, before.get("clusterIPs", []))
    errors += malformed
    if len(ips) > 2:
        errors.append(refused(_IPS, ips, "may only hold up to 2 values"))
    return errors if malformed else errors + _families_fit(ips, families)


def _malformed(ips: list[str], known: list[str]) -> list[FieldError]:
    """Check each address by itself; one the stored object has as well is tolerated."""
    errors: list[FieldError] = []
    for index, address in enumerate(ips):
        if index == 0 and address == "None":
            if len(ips) > 1:
                errors.append(refused(_IPS, ips, "'None' must be the first and only value"))
        elif address not in known:
            errors += [refused(f"{_IPS}[{index}]", address, problem) for problem in addresses.ip(address)]
    return errors


def _families_fit(ips: list[str], families: list[str]) -> list[FieldError]:
    errors: list[FieldError] = []
    if len(ips) > 1 and len({addresses.family(address) for address in ips}) == 1:
        errors.append(refused(_IPS, ips, "may specify no more than one IP for each IP family"))
    if ips == ["None"]:
        return errors
    for index, (address, family) in enumerate(zip(ips, families, strict=False)):
        if family in FAMILIES and addresses.family(address) != family:
            text = f"expected an {family} value as indicated by `ipFamilies[{index}]`"
            errors.append(refused(f"{_IPS}[{index}]", address, text))
    return errors


def _source_ranges(tree: Tree, old: Tree | None) -> list[FieldError]:
    """Check who may reach a load balancer; the annotation of old counts only where the field is empty."""
    errors: list[FieldError] = []
    foreign = tree["spec"].get("type") != "LoadBalancer"
    if ranges := tree["spec"].get("loadBalancerSourceRanges"):
        path = "spec.LoadBalancerSourceRanges"  # capital, as upstream has it
        if foreign:
            errors.append(forbidden(path, _BALANCER_ONLY))
        known = [network.strip() for network in (old or {}).get("spec", {}).get("loadBalancerSourceRanges", ())]
        for index, network in enumerate(map(str.strip, ranges)):
            if network not in known:
                errors += [refused(f"{path}[{index}]", network, problem) for problem in addresses.cidr(network)]
        return errors
    listed = tree["metadata"].get("annotations", {}).get(_RANGES)
    if listed is not None:
        path = f"metadata.annotations[{_RANGES}]"
        if foreign:
            errors.append(forbidden(path, _BALANCER_ONLY))
        if listed.strip() and listed != (old or {}).get("metadata", {}).get("annotations", {}).get(_RANGES):
            for network in map(str.strip, listed.split(",")):
                errors += [refused(path, network, problem) for problem in addresses.cidr(network)]
    return errors


def _balancer(spec: Tree, kind: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if spec.get("allocateLoadBalancerNodePorts") is not None and kind != "LoadBalancer":
        errors.append(forbidden("spec.allocateLoadBalancerNodePorts", _BALANCER_ONLY))
    return errors + _balancer_class(spec)


def _balancer_class(spec: Tree) -> list[FieldError]:
    path, name = "spec.loadBalancerClass", spec.get("loadBalancerClass")
    if name is None:
        return []
    if spec.get("type") != "LoadBalancer":
        return [forbidden(path, _BALANCER_ONLY)]
    return [refused(path, name, problem) for problem in names.qualified_name(name)]


def _policies(spec: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    if policy := spec.get("externalTrafficPolicy"):
        path = "spec.externalTrafficPolicy"
        if not externally_accessible(spec):
            errors.append(refused(path, policy, "may only be set for externally-accessible services"))
        elif policy not in ("Cluster", "Local"):
            errors.append(not_supported(path, policy, ("Cluster", "Local")))
    if (number := spec.get("healthCheckNodePort", 0)) != 0:
        path = "spec.healthCheckNodePort"
        if not needs_health_check_port(spec):
            text = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            errors.append(refused(path, number, text))
        else:
            errors += [refused(path, number, problem) for problem in addresses.port_number(number)]
    if (policy := spec.get("internalTrafficPolicy")) is not None and policy not in ("Cluster", "Local"):
        errors.append(not_supported("spec.internalTrafficPolicy", policy, ("Cluster", "Local")))
    if (spread := spec.get("trafficDistribution")) is not None and spread not in DISTRIBUTIONS:
        errors.append(not_supported("spec.trafficDistribution", spread, DISTRIBUTIONS))
    return errors


def validate_service_update(new: Tree, old: Tree) -> list[FieldError]:
    """Check an update after allocation and type clearing."""
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    after, before = new["spec"], old["spec"]
    if "ExternalName" not in (after.get("type"), before.get("type")):
        errors += _clusters_kept(after, before)
        errors += _families_kept(after, before)
    if before.get("type") == after.get("type") == "LoadBalancer":
        was_class, now_class = before.get("loadBalancerClass"), after.get("loadBalancerClass")
        if was_class != now_class:
            errors.append(refused("spec.loadBalancerClass", now_class, _SET_ONCE))
    errors += _balancer_class(after)
    if needs_health_check_port(after) and needs_health_check_port(before):
        was, now = before.get("healthCheckNodePort", 0), after.get("healthCheckNodePort", 0)
        if now != was:
            errors.append(forbidden("spec.healthCheckNodePort", "field is immutable"))
    return errors + validate_service(new, old)


def _clusters_kept(after: Tree, before: Tree) -> list[FieldError]:
    if _headless(after) and _headless(before):
        return []
    now, was = after.get("clusterIPs", []), before.get("clusterIPs", [])
    if len(now) == len(was):
        return [
            refused(f"{_IPS}[{index}]", now, _SET_ONCE)
            for index, (one, other) in enumerate(zip(now, was, strict=True))
            if one != other
        ]
    errors: list[FieldError] = []
    if not now:
        errors.append(refused(f"{_IPS}[0]", now or None, "primary clusterIP can not be unset"))
    if now and was and now[0] != was[0]:
        errors.append(refused(f"{_IPS}[0]", now, _SET_ONCE))
    return errors + _policy_says_so(after, "clusterIP", len(now), len(was))


def _families_kept(after: Tree, before: Tree) -> list[FieldError]:
    if _headless(after) or _headless(before):
        return []
    path = f"{_FAMILIES}[0]"
    now, was = after.get("ipFamilies", []), before.get("ipFamilies", [])
    if len(now) == len(was):
        return [refused(path, now, _SET_ONCE) for one, other in zip(now, was, strict=True) if one != other]
    errors: list[FieldError] = []
    if len(now) < len(was) and not after.get("clusterIPs"):
        errors.append(refused(path, now or None, "primary ipFamily can not be unset"))
    if now and was and now[0] != was[0]:
        errors.append(refused(path, after.get("clusterIPs"), _SET_ONCE))  # the addresses, not the families, are shown
    return errors + _policy_says_so(after, "ipFamily", len(now), len(was))


def _policy_says_so(after: Tree, what: str, now: int, was: int) -> list[FieldError]:
    if now != 1 or was < 2 or after.get("ipFamilyPolicy") == "SingleStack":
        return []
    text = f"must be set to 'SingleStack' when releasing the secondary {what}"
    return [refused(_POLICY, after.get("ipFamilyPolicy"), text)]


def validate_service_status(new: Tree, old: Tree) -> list[FieldError]:
    """Check a write to the status subresource: load balancer ingress."""
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    ingresses = new.get("status", {}).get("loadBalancer", {}).get("ingress", ())
    path = "status.loadBalancer.ingress"
    if ingresses and new["spec"].get("type") != "LoadBalancer":
        return [*errors, forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")]
    known = {i.get("ip") for i in old.get("status", {}).get("loadBalancer", {}).get("ingress", ())}
    for index, ingress in enumerate(ingresses):
        here = f"{path}[{index}]"
        address, mode, host = ingress.get("ip", ""), ingress.get("ipMode"), ingress.get("hostname", "")
        if address and address not in known:
            errors += [refused(f"{here}.ip", address, problem) for problem in addresses.ip(address)]
        if address and mode is None:
            errors.append(required(f"{here}.ipMode", "must be specified when `ip` is set"))
        elif mode is not None and not address:
            errors.append(forbidden(f"{here}.ipMode", "may not be specified when `ip` is not set"))
        elif mode is not None and mode not in ("Proxy", "VIP"):
            errors.append(not_supported(f"{here}.ipMode", mode, ("Proxy", "VIP")))
        if host:
            errors += [refused(f"{here}.hostname", host, problem) for problem in names.dns1123_subdomain(host)]
            if _is_ip(host):
                errors.append(refused(f"{here}.hostname", host, "must be a DNS name, not an IP address"))
    return errors


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
