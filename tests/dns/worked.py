"""The worked zone of the DNS specification (services-dns 15), as API objects."""

from typing import Any


def namespace(name: str) -> dict[str, Any]:
    return {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}}


def service(where: str, name: str, *ports: tuple[str, int], cluster: str = "None", **spec: Any) -> dict[str, Any]:
    addresses = cluster.split(",")
    listed = [{"name": port, "port": number, "protocol": "TCP"} for port, number in ports]
    return {
        "kind": "Service",
        "apiVersion": "v1",
        "metadata": {"namespace": where, "name": name},
        "spec": {"type": "ClusterIP", "clusterIP": addresses[0], "clusterIPs": addresses, "ports": listed, **spec},
    }


def external(where: str, name: str, target: str) -> dict[str, Any]:
    meta = {"namespace": where, "name": name}
    return {"kind": "Service", "metadata": meta, "spec": {"type": "ExternalName", "externalName": target}}


def endpoints(
    where: str, name: str, *found: tuple[str, str, bool], ports: tuple[tuple[str, int], ...]
) -> dict[str, Any]:
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"namespace": where, "name": f"{name}-1", "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": [address], "conditions": {"ready": ready}, **({"hostname": host} if host else {})}
            for address, host, ready in found
        ],
        "ports": [{"name": port, "port": number, "protocol": "TCP"} for port, number in ports],
    }


WORKED = [
    *map(namespace, ("default", "kube-system", "db", "web")),
    service("default", "kubernetes", ("https", 443), cluster="10.96.0.1"),
    service("db", "pg", ("pg", 5432)),
    service("db", "pg-peers", ("pg", 5432)),
    service("db", "pg-rw", ("pg", 5432), ("metrics", 9100), cluster="10.96.7.7"),
    endpoints(
        "db",
        "pg",
        ("10.244.1.10", "pg-0", True),
        ("10.244.1.11", "pg-1", True),
        ("10.244.1.12", "pg-2", False),
        ports=(("pg", 5432),),
    ),
    endpoints(
        "db",
        "pg-peers",
        ("10.244.1.10", "", True),
        ("10.244.1.11", "", True),
        ("10.244.1.12", "", True),
        ports=(("pg", 5432),),
    ),
    endpoints("db", "pg-rw", ("10.244.1.10", "", True), ports=(("pg", 5432), ("metrics", 9187))),
    service("web", "dual", ("http", 80), cluster="10.96.3.3,fd00:96::33"),
    service("web", "idle", ("", 80), cluster="10.96.9.9"),
    service("web", "noport"),
    endpoints("web", "noport", ("10.244.2.5", "", True), ports=()),
    service("web", "empty", ("http", 80)),
    external("web", "ext", "www.example.net"),
    external("web", "extin", "pg-rw.db.svc.cluster.local"),
    external("web", "extbad", "nosuch.db.svc.cluster.local"),
    external("web", "extip", "192.0.2.7"),
    service("web", "db0", ("c", 9042)),
    endpoints("web", "db0", ("10.9.0.1", "n", True), ("10.9.0.2", "n", True), ports=(("c", 9042),)),
]
