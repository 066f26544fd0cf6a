"""`status`: processes, addresses, how it is set up, node, counts."""

from pathlib import Path
from typing import Any

import click

from homeport.cli.cluster import cluster_option, directory_of, run_async
from homeport.cli.output import output_option, print_json, print_table
from homeport.engine.settings import ClusterSettings


@click.command()
@cluster_option
@output_option
def status(cluster: str, output: str | None) -> None:
    """Show what runs and where it listens. Exits with 1 when the cluster is not running."""
    seen = run_async(_status(cluster))
    if output == "json":
        print_json(seen)
    else:
        _print(seen)
    if not seen["running"]:
        raise click.exceptions.Exit(1)


async def _status(cluster: str) -> dict[str, Any]:
    import homeport
    from homeport.engine.launch import processes

    directory = directory_of(cluster)
    seen: dict[str, Any] = {
        "cluster": cluster,
        "running": False,
        "versions": {"homeport": homeport.__version__},
        "data": str(directory.path),
        "processes": [],
    }
    running = processes(directory)
    seen["processes"] = [
        {
            "name": one.name,
            "pid": one.pid,
            "memoryBytes": _resident(one.pid),
            "log": str(directory.logs / f"{one.name}.log"),
        }
        for one in running
    ]
    control = directory.process("control")
    if control is None:
        return seen
    details = control.details
    seen["running"] = True
    seen["versions"]["kubernetes"] = details.get("kubernetes", "")
    seen["api"] = {"server": details["server"], "kubeconfig": str(directory.kubeconfig)}
    seen["dns"] = directory.dns_endpoint()
    seen["exposed"] = directory.exposed()
    settings = directory.load()
    if settings is not None:
        seen |= set_up(settings)
        seen["balancing"] = await _balancing(directory, settings)
    seen |= await _counts(cluster, details.get("node", ""))
    return seen


def set_up(settings: ClusterSettings) -> dict[str, Any]:
    """Return what a cluster was set up with: ranges by family, the default one first, node ports, gates, parts."""
    from homeport.engine.expose_process import node_port_addresses

    ranges = settings.ranges
    return {
        "domain": settings.domain,
        "families": [
            {
                "family": family,
                "pods": str(one.pods),
                "services": str(one.services),
                "balancers": str(one.balancers),
                "dns": str(one.dns),
            }
            for family, one in zip(settings.families, ranges, strict=True)
        ],
        "nodePorts": {
            "inside": [str(one.gateway) for one in ranges],
            "host": list(node_port_addresses(settings)),
        },
        "featureGates": list(settings.feature_gates),
        "without": list(settings.without),
    }


async def _balancing(directory: Any, settings: ClusterSettings) -> dict[str, Any] | None:
    """Return what Services are balanced with, and how that goes; None where another program does, or nobody yet."""
    from homeport.engine.proxy_client import ProxyAway, proxy_status

    if not settings.runs("proxy"):
        return None
    try:
        return await proxy_status(directory)
    except ProxyAway:
        return None


def _resident(pid: int) -> int:
    """Return the proportional set size, or the resident set where that is not allowed, in bytes."""
    for name, field in (("smaps_rollup", "Pss:"), ("status", "VmRSS:")):
        try:
            for line in Path(f"/proc/{pid}/{name}").read_text(encoding="ascii").splitlines():
                if line.startswith(field):
                    return int(line.split()[1]) * 1024
        except OSError:
            continue
    return 0


async def _counts(cluster: str, node_name: str) -> dict[str, Any]:
    from homeport.api.resources import find
    from homeport.cli.cluster import connected

    kinds = (
        ("Pod", ""),
        ("Service", ""),
        ("StatefulSet", "apps"),
        ("Deployment", "apps"),
        ("PersistentVolumeClaim", ""),
    )
    async with connected(cluster) as client:
        counts = {}
        for kind, group in kinds:
            resource = find(kind, group)
            counts[resource.plural] = len((await client.list(resource)).items)
        nodes = (await client.list(find("Node"))).items
    ready = {
        node["metadata"]["name"]: any(
            c["type"] == "Ready" and c["status"] == "True" for c in node.get("status", {}).get("conditions") or ()
        )
        for node in nodes
    }
    return {"node": {"name": node_name, "ready": ready.get(node_name, False)}, "counts": counts}


def _set_up_lines(seen: dict[str, Any]) -> list[tuple[str, str]]:
    if "families" not in seen:
        return []
    families, ports = seen["families"], seen["nodePorts"]
    host = f", {', '.join(ports['host'])} on the host" if ports["host"] else ""
    return [
        ("families", ", ".join(one["family"] for one in families)),
        *(("pods", one["pods"]) for one in families),
        *(("services", f"{one['services']} (name server {one['dns']})") for one in families),
        *(("balancers", f"{one['balancers']} for Services of type LoadBalancer") for one in families),
        ("node ports", f"{', '.join(ports['inside'])} inside{host}"),
        ("balancing", _means(seen)),
        *([("gates", ", ".join(seen["featureGates"]))] if seen["featureGates"] else []),
        *([("without", ", ".join(seen["without"]))] if seen["without"] else []),
    ]


def _means(seen: dict[str, Any]) -> str:
    told = seen["balancing"]
    if "proxy" in seen["without"]:
        return "left to another program"
    if told is None:
        return "not answering yet"
    means = "nftables" if told["means"] == "nftables" else "in user space (no nftables here)"
    return f"{means}, {told['services']} services" + (f"; {told['lastError']}" if told["lastError"] else "")


def _print(seen: dict[str, Any]) -> None:
    if not seen["running"]:
        click.echo(f"cluster {seen['cluster']!r} is not running (data: {seen['data']})")
        return
    dns = seen["dns"]
    lines = [
        ("cluster", seen["cluster"]),
        ("api", seen["api"]["server"]),
        ("kubeconfig", seen["api"]["kubeconfig"]),
        ("dns", f"{dns['host']}:{dns['port']}" if dns else "not running"),
        ("node", f"{seen['node']['name']} ({'ready' if seen['node']['ready'] else 'not ready'})"),
        *_set_up_lines(seen),
        ("objects", ", ".join(f"{count} {plural}" for plural, count in seen["counts"].items())),
        *(
            ("exposed", f"{one['local']} → {one['namespace']}/{one['service']}:{one['port']}")
            for one in seen["exposed"]
        ),
        ("data", seen["data"]),
    ]
    for name, value in lines:
        click.echo(f"{name:11} {value}")
    click.echo()
    print_table(
        ("PROCESS", "PID", "MEMORY"),
        [(one["name"], str(one["pid"]), f"{one['memoryBytes'] / 1e6:.0f} MB") for one in seen["processes"]],
    )
