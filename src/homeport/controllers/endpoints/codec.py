"""Endpoints objects to values and back."""

from collections.abc import Mapping
from typing import Any

from homeport.controllers.backends import TRIGGER_TIME_ANNOTATION, Port, Service
from homeport.controllers.endpoints.reconcile import OVER_CAPACITY_ANNOTATION, Address, Content, Subset

__all__ = ["decode_content", "encode"]


def decode_content(raw: Mapping[str, Any]) -> Content:
    meta = raw["metadata"]
    return Content(
        subsets=tuple(_decode_subset(subset) for subset in raw.get("subsets") or ()),
        labels=meta.get("labels") or {},
        truncated=OVER_CAPACITY_ANNOTATION in (meta.get("annotations") or {}),
    )


def _decode_subset(raw: Mapping[str, Any]) -> Subset:
    return Subset(
        ready=tuple(_decode_address(address) for address in raw.get("addresses") or ()),
        not_ready=tuple(_decode_address(address) for address in raw.get("notReadyAddresses") or ()),
        ports=tuple(
            Port(port.get("name", ""), port.get("protocol", "TCP"), port["port"], port.get("appProtocol", ""))
            for port in raw.get("ports") or ()
        ),
    )


def _decode_address(raw: Mapping[str, Any]) -> Address:
    target = raw.get("targetRef") or {}
    return Address(
        ip=raw["ip"],
        node=raw.get("nodeName") or "",
        namespace=target.get("namespace", ""),
        pod=target.get("name", ""),
        uid=target.get("uid", ""),
        hostname=raw.get("hostname", ""),
    )


def encode(service: Service, content: Content, trigger_time: str, current: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the object to create, or `current` saying `content`, with its resourceVersion as the guard."""
    base: Mapping[str, Any] = current or {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": service.name, "namespace": service.namespace},
    }
    meta = dict(base["metadata"])
    annotations = dict(meta.get("annotations") or {})
    annotations.pop(TRIGGER_TIME_ANNOTATION, None)
    annotations.pop(OVER_CAPACITY_ANNOTATION, None)
    if trigger_time:
        annotations[TRIGGER_TIME_ANNOTATION] = trigger_time
    if content.truncated:
        annotations[OVER_CAPACITY_ANNOTATION] = "truncated"
    meta["labels"] = dict(content.labels)
    meta["annotations"] = annotations
    return {**base, "metadata": meta, "subsets": [_encode_subset(subset) for subset in content.subsets]}


def _encode_subset(subset: Subset) -> dict[str, Any]:
    encoded: dict[str, Any] = {}
    if subset.ready:
        encoded["addresses"] = [_encode_address(address) for address in subset.ready]
    if subset.not_ready:
        encoded["notReadyAddresses"] = [_encode_address(address) for address in subset.not_ready]
    if subset.ports:
        encoded["ports"] = [_encode_port(port) for port in subset.ports]
    return encoded


def _encode_port(port: Port) -> dict[str, Any]:
    encoded: dict[str, Any] = {"port": port.number, "protocol": port.protocol}
    if port.name:
        encoded["name"] = port.name
    if port.app_protocol:
        encoded["appProtocol"] = port.app_protocol
    return encoded


def _encode_address(address: Address) -> dict[str, Any]:
    encoded: dict[str, Any] = {
        "ip": address.ip,
        "targetRef": {
            "kind": "Pod",
            "namespace": address.namespace,
            "name": address.pod,
            "uid": address.uid,
        },
    }
    if address.node:
        encoded["nodeName"] = address.node
    if address.hostname:
        encoded["hostname"] = address.hostname
    return encoded
