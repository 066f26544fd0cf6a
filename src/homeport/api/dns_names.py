"""The names things have in the cluster's DNS: said once, for whoever prints or sets them."""

from collections.abc import Mapping
from typing import Any

__all__ = ["pod_dns_name", "service_dns_name"]


def service_dns_name(namespace: str, name: str, domain: str) -> str:
    """Return `my-service.default.svc.cluster.local`. Source: DNS schema 1.1.0, 2.3."""
    return f"{name}.{namespace}.svc.{domain}"


def pod_dns_name(pod: Mapping[str, Any], domain: str) -> str:
    """Return the pod's own name, `web-0.nginx.default.svc.cluster.local`; empty for a pod without a subdomain.

    The name resolves while a headless Service of the subdomain's name selects the pod (workloads 2.2).
    """
    spec, metadata = pod["spec"], pod["metadata"]
    if not spec.get("subdomain"):
        return ""
    host = spec.get("hostname") or metadata["name"]
    return f"{host}.{service_dns_name(metadata['namespace'], spec['subdomain'], domain)}"
