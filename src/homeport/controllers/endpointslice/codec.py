"""EndpointSlice objects to values and back.

Fields the controller does not decide are carried over from the object an update starts from.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from homeport.controllers.backends import TRIGGER_TIME_ANNOTATION, Port, Service
from homeport.controllers.endpointslice.model import Endpoint, Slice, SliceContent, Target

__all__ = ["decode_slice", "encode_new", "encode_update"]


def decode_slice(raw: Mapping[str, Any]) -> Slice:
    meta = raw["metadata"]
    owner = next((ref["uid"] for ref in meta.get("ownerReferences") or () if ref.get("controller")), "")
    content = SliceContent(
        address_type=raw.get("addressType", ""),
        ports=tuple(
            Port(
                port.get("name") or "",
                port.get("protocol") or "TCP",
                port.get("port") or 0,
                port.get("appProtocol") or "",
            )
            for port in raw.get("ports") or ()
        ),
        endpoints=tuple(_decode_endpoint(endpoint) for endpoint in raw.get("endpoints") or ()),
        labels=meta.get("labels") or {},
        trigger_time=(meta.get("annotations") or {}).get(TRIGGER_TIME_ANNOTATION, ""),
    )
    return Slice(meta["name"], meta.get("uid", ""), owner, content)


def _decode_endpoint(raw: Mapping[str, Any]) -> Endpoint:
    conditions = raw.get("conditions") or {}
    ready = conditions.get("ready") is not False  # absent means true (services-dns 9)
    serving = conditions.get("serving")
    target = raw.get("targetRef")
    hints = raw.get("hints") or {}
    return Endpoint(
        addresses=tuple(raw.get("addresses") or ()),
        ready=ready,
        serving=ready if serving is None else serving,
        terminating=bool(conditions.get("terminating")),
        target=Target(target.get("namespace", ""), target.get("name", ""), target.get("uid", "")) if target else None,
        hostname=raw.get("hostname") or "",
        node=raw.get("nodeName") or "",
        zone=raw.get("zone") or "",
        zone_hint=_first_hint(hints.get("forZones")),
        node_hint=_first_hint(hints.get("forNodes")),
    )


def _first_hint(hints: Sequence[Mapping[str, str]] | None) -> str:
    return hints[0].get("name", "") if hints else ""


def encode_new(service: Service, content: SliceContent) -> dict[str, Any]:
    """Return the body that creates a slice of `service`."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{service.name}-",
            "namespace": service.namespace,
            "labels": dict(content.labels),
            "annotations": _annotations({}, content),
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "Service",
                    "name": service.name,
                    "uid": service.uid,
                    "controller": True,
                    "blockOwnerDeletion": True,
                }
            ],
        },
        "addressType": content.address_type,
        **_body(content),
    }


def encode_update(current: Mapping[str, Any], content: SliceContent) -> dict[str, Any]:
    """Return `current` saying `content`, with its resourceVersion as the guard."""
    meta = dict(current["metadata"])
    meta["labels"] = dict(content.labels)
    meta["annotations"] = _annotations(meta.get("annotations") or {}, content)
    return {**current, "metadata": meta, **_body(content)}


def _annotations(current: Mapping[str, str], content: SliceContent) -> dict[str, str]:
    annotations = {name: value for name, value in current.items() if name != TRIGGER_TIME_ANNOTATION}
    if content.trigger_time:
        annotations[TRIGGER_TIME_ANNOTATION] = content.trigger_time
    return annotations


def _body(content: SliceContent) -> dict[str, Any]:
    return {
        "ports": [_encode_port(port) for port in content.ports],
        "endpoints": [_encode_endpoint(endpoint) for endpoint in content.endpoints],
    }


def _encode_port(port: Port) -> dict[str, Any]:
    encoded: dict[str, Any] = {"name": port.name, "protocol": port.protocol, "port": port.number}
    if port.app_protocol:
        encoded["appProtocol"] = port.app_protocol
    return encoded


def _encode_endpoint(endpoint: Endpoint) -> dict[str, Any]:
    encoded: dict[str, Any] = {
        "addresses": list(endpoint.addresses),
        "conditions": {
            "ready": endpoint.ready,
            "serving": endpoint.serving,
            "terminating": endpoint.terminating,
        },
    }
    if endpoint.target:
        target = endpoint.target
        encoded["targetRef"] = {
            "kind": "Pod",
            "namespace": target.namespace,
            "name": target.name,
            "uid": target.uid,
        }
    named = (("hostname", endpoint.hostname), ("nodeName", endpoint.node), ("zone", endpoint.zone))
    encoded |= {field: value for field, value in named if value}
    hints = {}
    if endpoint.zone_hint:
        hints["forZones"] = [{"name": endpoint.zone_hint}]
    if endpoint.node_hint:
        hints["forNodes"] = [{"name": endpoint.node_hint}]
    if hints:
        encoded["hints"] = hints
    return encoded
