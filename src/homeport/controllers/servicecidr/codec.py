"""ServiceCIDRs and IPAddresses as the API has them → the controller's values, and its decisions → patches."""

from collections.abc import Iterable
from ipaddress import ip_address, ip_network
from typing import Any

from homeport.client.contract import Object
from homeport.clock import parse_time
from homeport.controllers.servicecidr.reconcile import FINALIZER, Address, Cidr, Condition

__all__ = ["cidr_of", "condition_body", "finalizers", "used_addresses"]

_MANAGED_LABEL = "ipaddress.kubernetes.io/managed-by"
_MANAGER = "ipallocator.k8s.io"


def cidr_of(obj: Object) -> Cidr:
    metadata = obj["metadata"]
    deleted = metadata.get("deletionTimestamp")
    conditions = (obj.get("status") or {}).get("conditions") or ()
    ready = next((one for one in conditions if one["type"] == "Ready"), None)
    return Cidr(
        metadata["name"],
        tuple(ip_network(text) for text in obj["spec"].get("cidrs") or ()),
        FINALIZER in (metadata.get("finalizers") or ()),
        None if ready is None else Condition(ready["status"], ready.get("reason", ""), ready.get("message", "")),
        None if deleted is None else parse_time(deleted),
    )


def used_addresses(objects: Iterable[Object]) -> list[Address]:
    """Return the addresses Services have; those others reserved do not hold a range."""
    return [
        ip_address(obj["metadata"]["name"])
        for obj in objects
        if (obj["metadata"].get("labels") or {}).get(_MANAGED_LABEL) == _MANAGER
    ]


def finalizers(obj: Object, *, wanted: bool) -> list[str]:
    others = [one for one in obj["metadata"].get("finalizers") or () if one != FINALIZER]
    return [*others, FINALIZER] if wanted else others


def condition_body(condition: Condition, since: str) -> dict[str, Any]:
    return {
        "type": "Ready",
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "lastTransitionTime": since,
    }
