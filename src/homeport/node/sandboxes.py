"""A pod's sandbox and its place in the network, with the files that tell its processes who they are."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from homeport.node.context import NodeContext
from homeport.node.events import PodEvents
from homeport.node.files import make_directory, write_file
from homeport.node.identity import HostnameTooLong, hosts_file, names, parse_resolver, resolver
from homeport.node.network.contract import NetworkFailure
from homeport.node.pod import Pod
from homeport.node.runtime.contract import RuntimeFailure, SandboxSpec

__all__ = ["PodSandbox", "SandboxFailed", "make_sandbox", "write_identity"]


class SandboxFailed(Exception):
    """The sandbox could not be made; the text is for the event `FailedCreatePodSandBox`. It is tried again."""


@dataclass(frozen=True, slots=True)
class PodSandbox:
    """`addresses` are the pod's IPs; `attempt` counts the sandboxes of one pod."""

    id: str
    pid: int
    attempt: int
    addresses: tuple[str, ...]


async def make_sandbox(context: NodeContext, pod: Pod, attempt: int) -> PodSandbox:
    """Create the sandbox, connect it; raises SandboxFailed having left nothing behind."""
    settings = context.settings
    try:
        pod_names = names(pod, settings.cluster_domain, settings.name)
    except HostnameTooLong as error:
        raise SandboxFailed(str(error)) from error
    sandbox_id = f"{context.rng.getrandbits(128):032x}"
    spec = SandboxSpec(
        sandbox_id,
        pod_names.kernel,
        labels={
            "pod-uid": pod.uid,
            "pod-namespace": pod.namespace,
            "pod-name": pod.name,
            "attempt": str(attempt),
        },
        sysctls=_sysctls(pod),
        host_network=pod.host_network,
        share_process_namespace=bool(pod.spec.get("shareProcessNamespace")),
    )
    try:
        sandbox = await context.runtime.create_sandbox(spec)
    except RuntimeFailure as failure:
        raise SandboxFailed(failure.message) from failure
    if pod.host_network:
        return PodSandbox(sandbox_id, sandbox.pid, attempt, context.host_ips)
    try:
        attachment = await context.network.attach(sandbox_id, sandbox.pid)
    except NetworkFailure as failure:
        await context.runtime.remove_sandbox(sandbox_id)
        raise SandboxFailed(str(failure)) from failure
    return PodSandbox(sandbox_id, sandbox.pid, attempt, attachment.addresses)


def _sysctls(pod: Pod) -> dict[str, str]:
    context = pod.spec.get("securityContext") or {}
    return {entry["name"].replace("/", "."): entry["value"] for entry in context.get("sysctls") or ()}


def write_identity(context: NodeContext, pod: Pod, addresses: tuple[str, ...], events: PodEvents) -> Mapping[str, str]:
    """Write /etc/hosts, /etc/hostname and /etc/resolv.conf; returns target → file. Raises OSError."""
    settings = context.settings
    pod_names = names(pod, settings.cluster_domain, settings.name)
    host = parse_resolver(_read(settings.host_resolver))
    config = resolver(pod, settings.cluster_dns, settings.cluster_domain, host)
    if config.missing:
        events.warning("MissingClusterDNS", config.missing)
    for warning in config.cut:
        events.warning("DNSConfigForming", warning)
    directory = make_directory(os.fspath(settings.pod_directory(pod.uid).parent), pod.uid, mode=0o750)
    node_hosts = _read(settings.host_hosts) if pod.host_network else ""
    files = {
        "/etc/hosts": (f"{directory}/etc-hosts", hosts_file(pod, pod_names, addresses, node_hosts)),
        "/etc/hostname": (f"{directory}/hostname", pod_names.kernel + "\n"),
        "/etc/resolv.conf": (f"{directory}/resolv.conf", config.text()),
    }
    for path, text in files.values():
        write_file(path, text.encode(), 0o644)
    return {target: path for target, (path, _) in files.items()}


def _read(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
