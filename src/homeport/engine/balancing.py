"""Where the proxy of a cluster stands: what it is started with, and what explains it afterwards."""

from homeport.engine.settings import ClusterSettings
from homeport.proxy.model import ProxySettings

__all__ = ["proxy_settings"]


def proxy_settings(settings: ClusterSettings) -> list[ProxySettings]:
    """Return what the proxy knows of its place, one for each address family, the default one first."""
    return [
        ProxySettings(
            pods=ranges.pods,
            services=ranges.services,
            node_addresses=(ranges.gateway,),
            real_addresses=(ranges.dns,),
            node=settings.node_name,
        )
        for ranges in settings.ranges
    ]
