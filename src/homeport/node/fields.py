"""`fieldRef`: what the downward API can say about a pod. Source: `node` sections 7.1 and 8.4."""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Final

from homeport.node.pod import Pod

__all__ = ["UnknownField", "field_value", "format_map"]

_SUBSCRIPT: Final = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]\Z")


class UnknownField(Exception):
    """No such field can be referred to."""


def format_map(entries: Mapping[str, str]) -> str:
    """Return sorted `key="escaped value"` lines, Go quoting, no newline at the end."""
    return "\n".join(f"{key}={_go_quote(entries[key])}" for key in sorted(entries))


def _go_quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\x7f")


def field_value(pod: Pod, path: str, host_ips: Sequence[str], pod_ips: Sequence[str]) -> str:
    """Return the text of one field; a missing label or annotation is empty. Raises UnknownField."""
    metadata = pod.metadata
    if subscript := _SUBSCRIPT.match(path):
        return str((metadata.get(subscript[1]) or {}).get(subscript[2], ""))
    match path:
        case "metadata.name":
            return pod.name
        case "metadata.namespace":
            return pod.namespace
        case "metadata.uid":
            return pod.uid
        case "metadata.labels" | "metadata.annotations":
            return format_map(metadata.get(path.partition(".")[2]) or {})
        case "spec.nodeName":
            return str(pod.spec.get("nodeName", ""))
        case "spec.serviceAccountName":
            return pod.service_account
        case "status.hostIP":
            return host_ips[0] if host_ips else ""
        case "status.hostIPs":
            return ",".join(host_ips)
        case "status.podIP":
            return pod_ips[0] if pod_ips else ""
        case "status.podIPs":
            return ",".join(pod_ips)
    raise UnknownField(f"unsupported fieldPath: {path}")
