"""Rules of Endpoints and EndpointSlices (services-dns 9)."""

from typing import Any, Final

from homeport.api.validation import addresses, names
from homeport.api.validation.errors import FieldError, duplicate, not_supported, refused, required, too_many
from homeport.api.validation.metadata import validate_metadata, validate_metadata_update

__all__ = ["validate_endpoints", "validate_endpoints_update", "validate_slice", "validate_slice_update"]

Tree = dict[str, Any]

PROTOCOLS: Final = ("SCTP", "TCP", "UDP")
ADDRESS_TYPES: Final = ("FQDN", "IPv4", "IPv6")
ENDPOINTS_LIMIT: Final = 1000
ADDRESSES_LIMIT: Final = 100
PORTS_LIMIT: Final = 20000
HINTS_LIMIT: Final = 8


def validate_endpoints(tree: Tree) -> list[FieldError]:
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    return errors + _subsets(tree)


def validate_endpoints_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_metadata_update(new["metadata"], old["metadata"])
    if new.get("subsets") == old.get("subsets"):
        return errors
    return errors + _subsets(new)


def _subsets(tree: Tree) -> list[FieldError]:
    errors: list[FieldError] = []
    for index, subset in enumerate(tree.get("subsets", ())):
        path = f"subsets[{index}]"
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            errors.append(required(path, "must specify `addresses` or `notReadyAddresses`"))
        for group in ("addresses", "notReadyAddresses"):
            for position, address in enumerate(subset.get(group, ())):
                errors += _address(address, f"{path}.{group}[{position}]")
        ports = subset.get("ports", ())
        for position, port in enumerate(ports):
            errors += _endpoint_port(port, len(ports) > 1, f"{path}.ports[{position}]")
    return errors


def _address(address: Tree, path: str) -> list[FieldError]:
    ip = address.get("ip", "")
    errors = [refused(f"{path}.ip", ip, problem) for problem in addresses.ip(ip)]
    if host := address.get("hostname"):
        errors += [refused(f"{path}.hostname", host, problem) for problem in names.dns1123_label(host)]
    if (node := address.get("nodeName")) is not None:
        errors += [refused(f"{path}.nodeName", node, problem) for problem in names.dns1123_subdomain(node)]
    return errors + [refused(f"{path}.ip", ip, problem) for problem in addresses.special_ip(ip)]


def _endpoint_port(port: Tree, name_needed: bool, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    if name := port.get("name"):
        errors += [refused(f"{path}.name", name, problem) for problem in names.dns1123_label(name)]
    elif name_needed:
        errors.append(required(f"{path}.name"))
    errors += [refused(f"{path}.port", port["port"], problem) for problem in addresses.port_number(port["port"])]
    return errors + _protocols(port, path)


def _protocols(port: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    protocol = port.get("protocol", "")
    if not protocol:
        errors.append(required(f"{path}.protocol"))
    elif protocol not in PROTOCOLS:
        errors.append(not_supported(f"{path}.protocol", protocol, PROTOCOLS))
    if (application := port.get("appProtocol")) is not None:
        errors += [refused(f"{path}.appProtocol", application, p) for p in names.qualified_name(application)]
    return errors


def validate_slice(tree: Tree, old: Tree | None = None) -> list[FieldError]:
    """Check an EndpointSlice; endpoints that did not change are tolerated as they are."""
    errors = validate_metadata(tree["metadata"], name_rule=names.dns1123_subdomain)
    kind = tree.get("addressType", "")
    if not kind:
        errors.append(required("addressType"))
    elif kind not in ADDRESS_TYPES:
        errors.append(not_supported("addressType", kind, ADDRESS_TYPES))
    errors += _slice_ports(tree.get("ports") or ())
    endpoints = tree.get("endpoints") or ()
    if old is None or endpoints != (old.get("endpoints") or ()):
        errors += _endpoints(endpoints, kind)
    return errors


def validate_slice_update(new: Tree, old: Tree) -> list[FieldError]:
    errors = validate_slice(new, old)
    if new.get("addressType") != old.get("addressType"):
        errors.append(refused("addressType", new.get("addressType", ""), "field is immutable"))
    return errors


def _endpoints(endpoints: Any, kind: str) -> list[FieldError]:
    if len(endpoints) > ENDPOINTS_LIMIT:
        return [too_many("endpoints", len(endpoints), ENDPOINTS_LIMIT)]
    errors: list[FieldError] = []
    for index, endpoint in enumerate(endpoints):
        path = f"endpoints[{index}]"
        listed = endpoint.get("addresses") or ()
        if not listed:
            errors.append(required(f"{path}.addresses", "must contain at least 1 address"))
        elif len(listed) > ADDRESSES_LIMIT:
            errors.append(too_many(f"{path}.addresses", len(listed), ADDRESSES_LIMIT))
        for position, address in enumerate(listed):
            errors += _slice_address(address, kind, f"{path}.addresses", position)
        if (node := endpoint.get("nodeName")) is not None:
            errors += [refused(f"{path}.nodeName", node, problem) for problem in names.dns1123_subdomain(node)]
        if (host := endpoint.get("hostname")) is not None:
            errors += [refused(f"{path}.hostname", host, problem) for problem in names.dns1123_label(host)]
        if hints := endpoint.get("hints"):
            errors += _hints(hints, f"{path}.hints")
    return errors


def _slice_address(address: str, kind: str, path: str, position: int) -> list[FieldError]:
    here = f"{path}[{position}]"
    if kind == "FQDN":
        return [refused(here, address, problem) for problem in _domain_problems(address)]
    if kind not in ("IPv4", "IPv6"):
        return []
    if problems := addresses.ip(address):
        return [refused(here, address, problem) for problem in problems]
    errors: list[FieldError] = []
    if addresses.family(address) != kind:
        errors.append(refused(path, address, f"must be an {kind} address"))
    return errors + [refused(here, address, problem) for problem in addresses.endpoint_ip(address)]


def _domain_problems(address: str) -> tuple[str, ...]:
    bare = address.removesuffix(".")
    if problems := names.dns1123_subdomain(bare):
        return problems
    return () if "." in bare else ("should be a domain with at least two segments separated by dots",)


def _hints(hints: Tree, path: str) -> list[FieldError]:
    errors: list[FieldError] = []
    for field in ("forZones", "forNodes"):
        listed = hints.get(field, ())
        if len(listed) > HINTS_LIMIT:
            return [*errors, too_many(f"{path}.{field}", len(listed), HINTS_LIMIT)]
        seen: set[str] = set()
        for position, hint in enumerate(listed):
            name = hint.get("name", "")
            here = f"{path}.{field}[{position}].name"
            if name in seen:
                errors.append(duplicate(here, name))
            seen.add(name)
            rule = names.label_value if field == "forZones" else names.dns1123_subdomain
            errors += [refused(here, name, problem) for problem in rule(name)]
    return errors


def _slice_ports(ports: Any) -> list[FieldError]:
    if len(ports) > PORTS_LIMIT:
        return [too_many("ports", len(ports), PORTS_LIMIT)]
    errors: list[FieldError] = []
    seen: set[str] = set()
    for index, port in enumerate(ports):
        path = f"ports[{index}]"
        name = port.get("name", "")
        if name:
            errors += [refused(f"{path}.name", name, problem) for problem in names.dns1123_label(name)]
        if name in seen:
            errors.append(duplicate(f"{path}.name", name))
        seen.add(name)
        errors += _protocols(port, path)
    return errors
