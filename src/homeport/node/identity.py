"""Who a pod is to its processes: host name, /etc/hosts, /etc/resolv.conf as text.

Pure. Source: `node` sections 7.5 to 7.7, services-dns 16.1 and 16.2.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from homeport.node.pod import Pod

__all__ = ["HostnameTooLong", "Names", "ResolverConfig", "hosts_file", "names", "parse_resolver", "resolver"]

NAMESERVER_LIMIT: Final = 3
SEARCH_LIMIT: Final = 32
SEARCH_CHARACTERS: Final = 2048
SEARCH_ENTRY_CHARACTERS: Final = 253
HOSTNAME_LIMIT: Final = 63
FQDN_LIMIT: Final = 64


class HostnameTooLong(Exception):
    """`setHostnameAsFQDN` asks for more than the kernel holds."""


@dataclass(frozen=True, slots=True)
class Names:
    """`kernel` is what `hostname` prints; `domain` is empty without a subdomain."""

    hostname: str
    domain: str
    kernel: str

    @property
    def fqdn(self) -> str:
        return f"{self.hostname}.{self.domain}" if self.domain else self.hostname


def _cut(name: str) -> str:
    return name[:HOSTNAME_LIMIT].rstrip("-.")


def names(pod: Pod, cluster_domain: str, node_hostname: str) -> Names:
    """Return the pod's names; raises HostnameTooLong."""
    spec = pod.spec
    if pod.host_network:
        return Names(node_hostname, "", node_hostname)
    if override := spec.get("hostnameOverride"):
        return Names(_cut(override), "", _cut(override))
    hostname = _cut(spec.get("hostname") or pod.name)
    subdomain = spec.get("subdomain")
    domain = f"{subdomain}.{pod.namespace}.svc.{cluster_domain}" if subdomain else ""
    if not (spec.get("setHostnameAsFQDN") and domain):
        return Names(hostname, domain, hostname)
    fqdn = f"{hostname}.{domain}"
    if len(fqdn) > FQDN_LIMIT:
        raise HostnameTooLong(
            f"failed to construct FQDN from pod hostname and cluster domain, FQDN {fqdn} is too long "
            f"({FQDN_LIMIT} characters is the max, {len(fqdn)} characters requested)"
        )
    return Names(hostname, domain, fqdn)


_HOSTS_HEAD: Final = (
    "# Kubernetes-managed hosts file.\n"
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)


def hosts_file(pod: Pod, pod_names: Names, pod_ips: Sequence[str], node_file: str = "") -> str:
    """Return /etc/hosts; `node_file` is the node's own, used under hostNetwork."""
    if pod.host_network:
        text = "# Kubernetes-managed hosts file (host network).\n" + node_file
    else:
        text = _HOSTS_HEAD
        for address in pod_ips:
            fields = [address, pod_names.fqdn, pod_names.hostname] if pod_names.domain else [
                address, pod_names.hostname
            ]  # fmt: skip
            text += "\t".join(fields) + "\n"
    aliases = pod.spec.get("hostAliases") or ()
    if aliases:
        text += "\n# Entries added by HostAliases.\n"
        for alias in aliases:
            text += "\t".join([alias["ip"], *(alias.get("hostnames") or ())]) + "\n"
    return text


@dataclass(frozen=True, slots=True)
class ResolverConfig:
    """A resolv.conf as a value.

    cut      the warnings of `DNSConfigForming`
    missing  that of `MissingClusterDNS`
    """

    nameservers: tuple[str, ...] = ()
    searches: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    missing: str = ""

    def text(self) -> str:
        out = f"search {' '.join(self.searches)}\n" if self.searches else ""
        out += "".join(f"nameserver {address}\n" for address in self.nameservers)
        return out + (f"options {' '.join(self.options)}\n" if self.options else "")


@lru_cache(maxsize=16)
def parse_resolver(text: str) -> ResolverConfig:
    """Read a resolv.conf: nameservers add up, the last `search` wins, options merge by name."""
    nameservers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.split("#")[0].split(";")[0].split()
        if not words:
            continue
        match words[0]:
            case "nameserver" if len(words) > 1:
                nameservers.append(words[1])
            case "search":
                searches = [word if word == "." else word.removesuffix(".") for word in words[1:]]
            case "options":
                options += words[1:]
    return ResolverConfig(tuple(nameservers), tuple(word for word in searches if word != "."), _merge((), options))


def _merge(base: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    """Merge options by name, later ones winning."""
    merged: dict[str, str] = {}
    for option in (*base, *more):
        merged[option.partition(":")[0]] = option
    return tuple(merged.values())


def _unique(items: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(items))


NO_RESOLVER: Final = ResolverConfig(("127.0.0.1",), (".",))
"""What a pod gets that asks for the host's, where the host has none."""


def resolver(pod: Pod, cluster_dns: Sequence[str], cluster_domain: str, host: ResolverConfig) -> ResolverConfig:
    """Return what the pod's /etc/resolv.conf says, within the limits of the C library."""
    policy = pod.spec.get("dnsPolicy") or "ClusterFirst"
    clustered = policy == "ClusterFirstWithHostNet" or (policy == "ClusterFirst" and not pod.host_network)
    if policy == "None":
        base = ResolverConfig()
    elif clustered and cluster_dns:
        suffixes = (f"{pod.namespace}.svc.{cluster_domain}", f"svc.{cluster_domain}", cluster_domain)
        base = ResolverConfig(tuple(cluster_dns), _unique((*suffixes, *host.searches)), ("ndots:5",))
    else:
        base = host if host != ResolverConfig() else NO_RESOLVER
    own = pod.spec.get("dnsConfig") or {}
    options = [
        f"{option['name']}:{option['value']}" if option.get("value") else option["name"]
        for option in own.get("options") or ()
    ]
    found = _limited(
        _unique((*base.nameservers, *(own.get("nameservers") or ()))),
        _unique((*base.searches, *(own.get("searches") or ()))),
        _merge(base.options, options),
    )
    if clustered and not cluster_dns:
        return replace(found, missing=_without_cluster_dns(pod))
    return found


def _without_cluster_dns(pod: Pod) -> str:
    return (
        f'pod: "{pod.name}_{pod.namespace}({pod.uid})". kubelet does not have ClusterDNS IP configured and cannot '
        'create Pod using "ClusterFirst" policy. Falling back to "Default" policy.'
    )


def _limited(nameservers: tuple[str, ...], searches: tuple[str, ...], options: tuple[str, ...]) -> ResolverConfig:
    cut: list[str] = []
    if len(nameservers) > NAMESERVER_LIMIT:
        nameservers = nameservers[:NAMESERVER_LIMIT]
        cut.append(
            "Nameserver limits were exceeded, some nameservers have been omitted, "
            f"the applied nameserver line is: {' '.join(nameservers)}"
        )
    fitting = tuple(entry for entry in searches[:SEARCH_LIMIT] if len(entry) <= SEARCH_ENTRY_CHARACTERS)
    while len(" ".join(fitting)) > SEARCH_CHARACTERS:
        fitting = fitting[:-1]
    if fitting != searches:
        cut.append(
            "Search Line limits were exceeded, some search paths have been omitted, "
            f"the applied search line is: {' '.join(fitting)}"
        )
    return ResolverConfig(nameservers, fitting, options, tuple(cut))
