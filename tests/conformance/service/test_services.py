"""Services: endpoints, types, node ports, status, collections; all but the traffic itself."""

from typing import Any

import pytest

from homeport.client.contract import PatchType
from homeport.errors import Invalid
from tests.conformance.workloads import bare_pod
from tests.conformance.world import PORT, World

EXTERNAL = "foo.example.com"


def service(name: str, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    selector = {"selector": labels} if labels else {}
    ports = [{"name": "http", "port": 80, "targetPort": PORT}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": {"ports": ports, **selector, **spec},
    }


def pod(world: World, name: str, labels: dict[str, str], *numbers: int, **spec: Any) -> dict[str, Any]:
    made = bare_pod(name, world.images[0], labels, **spec)
    if numbers:
        ports = [{"name": f"portname{index}", "containerPort": number} for index, number in enumerate(numbers, 1)]
        made["spec"]["containers"][0]["ports"] = ports
    return made


def endpoints(world: World, name: str, *, ready: bool = True) -> dict[str, list[int]]:
    """Return the ports of every pod in a Service's Endpoints."""
    found: dict[str, list[int]] = {}
    for subset in world.get(f"endpoints/{name}").get("subsets") or ():
        for address in subset.get("addresses" if ready else "notReadyAddresses") or ():
            numbers = [port["port"] for port in subset.get("ports") or ()]
            found.setdefault(address["targetRef"]["name"], []).extend(numbers)
    return {name: sorted(numbers) for name, numbers in found.items()}


def full(world: World, name: str) -> str:
    return f"{name}.{world.namespace}.svc.cluster.local"


def test_should_serve_a_basic_endpoint_from_pods(world: World) -> None:
    """Services should serve a basic endpoint from pods"""
    labels = {"testid": "basic"}
    world.create(service("endpoint-test2", labels))
    world.until(lambda: endpoints(world, "endpoint-test2") == {}, "a Service without pods has empty endpoints")
    for names in (["pod1"], ["pod1", "pod2"]):
        world.create(pod(world, names[-1], labels))
        wanted = {each: [PORT] for each in names}
        world.until(lambda wanted=wanted: endpoints(world, "endpoint-test2") == wanted, "each pod that is there")
    for gone, left in (("pod1", {"pod2": [PORT]}), ("pod2", {})):
        world.delete(f"pod/{gone}", grace=0)
        world.until(lambda left=left: endpoints(world, "endpoint-test2") == left, "no pod that is gone")


def test_should_serve_multiport_endpoints_from_pods(world: World) -> None:
    """Services should serve multiport endpoints from pods"""
    labels = {"testid": "multiport"}
    ports = [
        {"name": "portname1", "port": 80, "targetPort": "portname1"},
        {"name": "portname2", "port": 81, "targetPort": "portname2"},
    ]
    world.create(service("multi-endpoint-test", labels, ports=ports))
    first = pod(world, "pod1", labels, 100)
    second = pod(world, "pod2", labels, 101)
    second["spec"]["containers"][0]["ports"][0]["name"] = "portname2"
    for made, wanted in ((first, {"pod1": [100]}), (second, {"pod1": [100], "pod2": [101]})):
        world.create(made)
        world.until(lambda wanted=wanted: endpoints(world, "multi-endpoint-test") == wanted, "each port by its name")
    world.delete("pod/pod1", grace=0)
    world.until(lambda: endpoints(world, "multi-endpoint-test") == {"pod2": [101]}, "the other port's pod is left")


def test_should_support_named_targetports_that_resolve_to_different_ports_on_different_endpoints(world: World) -> None:
    """Services should support named targetPorts that resolve to different ports on different endpoints"""
    labels = {"testid": "named"}
    world.create(service("svc-named", labels, ports=[{"port": 80, "targetPort": "portname1"}]))
    for name, number in (("pod1", 8080), ("pod2", 9090)):
        world.create(pod(world, name, labels, number))
    world.until(lambda: endpoints(world, "svc-named") == {"pod1": [8080], "pod2": [9090]}, "each its own")
    ports = sorted(
        (part["ports"][0]["port"], [one["targetRef"]["name"] for one in part["endpoints"]])
        for part in world.items("endpointslices", "kubernetes.io/service-name=svc-named")
    )
    assert ports == [(8080, ["pod1"]), (9090, ["pod2"])]


def test_should_create_endpoints_for_unready_pods(world: World) -> None:
    """Services should create endpoints for unready pods"""
    labels = {"testid": "unready"}
    world.create(service("tolerate-unready", labels, clusterIP="None", publishNotReadyAddresses=True))
    waiting = pod(world, "pod1", labels)
    waiting["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"path": "/", "port": PORT}, "periodSeconds": 1}
    world.create(waiting)
    world.break_http_probe("pod1")
    world.until(lambda: endpoints(world, "tolerate-unready") == {"pod1": [PORT]}, "published although not ready")
    address = world.get("pod/pod1")["status"]["podIP"]
    world.until(lambda: world.resolve(full(world, "tolerate-unready")) == {address}, "and found by name")
    world.patch("svc/tolerate-unready", {"spec": {"publishNotReadyAddresses": False}})
    world.until(lambda: endpoints(world, "tolerate-unready") == {}, "no more when readiness counts")
    assert endpoints(world, "tolerate-unready", ready=False) == {"pod1": [PORT]}
    world.patch("svc/tolerate-unready", {"spec": {"publishNotReadyAddresses": True}})
    world.until(lambda: endpoints(world, "tolerate-unready") == {"pod1": [PORT]}, "again when it does not")
    name = full(world, "tolerate-unready")
    world.delete("pod/pod1", grace=30)
    world.stays(lambda: world.resolve(name) == {address} or not world.find("pod/pod1"), "found while it terminates")


def test_should_be_able_to_change_the_type_from_externalname_to_clusterip(world: World) -> None:
    """Services should be able to change the type from ExternalName to ClusterIP"""
    world.create(service("externalname-service", type="ExternalName", externalName=EXTERNAL, ports=[]))
    changed = world.patch("svc/externalname-service", {"spec": {"type": "ClusterIP", "ports": [{"port": 80}]}})
    address = changed["spec"]["clusterIP"]
    assert changed["spec"]["clusterIPs"] == [address]
    world.until(lambda: world.resolve(full(world, "externalname-service")) == {address}, "the name leads to it")


def test_should_be_able_to_change_the_type_from_externalname_to_nodeport(world: World) -> None:
    """Services should be able to change the type from ExternalName to NodePort"""
    world.create(service("externalname-service", type="ExternalName", externalName=EXTERNAL, ports=[]))
    changed = world.patch("svc/externalname-service", {"spec": {"type": "NodePort", "ports": [{"port": 80}]}})["spec"]
    assert 30000 <= changed["ports"][0]["nodePort"] <= 32767
    name = full(world, "externalname-service")
    world.until(lambda: world.resolve(name) == {changed["clusterIP"]}, "the name leads to its address")


def to_externalname(world: World, kind: str) -> None:
    """Change a Service of some type to an ExternalName; what it had is free then."""
    target = world.create(service("target"))["spec"]["clusterIP"]
    before = world.create(service("clusterip-service", type=kind))["spec"]
    change = {"spec": {"type": "ExternalName", "externalName": full(world, "target")}}
    after = world.patch("svc/clusterip-service", change, kind=PatchType.MERGE)["spec"]
    assert not {"clusterIP", "clusterIPs", "ipFamilies", "externalTrafficPolicy"} & after.keys()
    assert "nodePort" not in after["ports"][0]
    name = full(world, "clusterip-service")
    world.until(lambda: world.resolve(name, "CNAME") == {full(world, "target") + "."}, "the name is an alias now")
    assert target in world.resolve(name)
    ports = [
        {"name": "http", "port": 80, **({"nodePort": before["ports"][0]["nodePort"]} if kind == "NodePort" else {})}
    ]
    world.create(service("heir", type=kind, clusterIP=before["clusterIP"], ports=ports))


def test_should_be_able_to_change_the_type_from_clusterip_to_externalname(world: World) -> None:
    """Services should be able to change the type from ClusterIP to ExternalName"""
    to_externalname(world, "ClusterIP")


def test_should_be_able_to_change_the_type_from_nodeport_to_externalname(world: World) -> None:
    """Services should be able to change the type from NodePort to ExternalName"""
    to_externalname(world, "NodePort")


def test_should_prevent_nodeport_collisions(world: World) -> None:
    """Services should prevent NodePort collisions"""
    first = world.create(service("nodeport-collision-1", type="NodePort"))["spec"]["ports"][0]
    asked = {"name": "http", "port": 80, "nodePort": first["nodePort"]}
    with pytest.raises(Invalid, match="provided port is already allocated"):
        world.create(service("nodeport-collision-2", type="NodePort", ports=[asked]))
    world.delete("svc/nodeport-collision-1")
    world.create(service("nodeport-collision-2", type="NodePort", ports=[asked]))


def test_should_check_nodeport_out_of_range(world: World) -> None:
    """Services should check NodePort out-of-range"""
    outside = {"name": "http", "port": 80, "nodePort": 40000}
    world.create(service("nodeport-range-test", type="NodePort"))
    with pytest.raises(Invalid, match="The range of valid ports is 30000-32767"):
        world.change("svc/nodeport-range-test", lambda tree: tree["spec"].update(ports=[outside]))
    world.delete("svc/nodeport-range-test")
    with pytest.raises(Invalid, match="provided port is not in the valid range"):
        world.create(service("nodeport-range-test", type="NodePort", ports=[outside]))


def test_should_release_nodeports_on_delete(world: World) -> None:
    """Services should release NodePorts on delete"""
    number = world.create(service("nodeport-reuse", type="NodePort"))["spec"]["ports"][0]["nodePort"]
    world.delete("svc/nodeport-reuse")
    again = [{"name": "http", "port": 80, "nodePort": number}]
    assert (
        world.create(service("nodeport-reuse", type="NodePort", ports=again))["spec"]["ports"][0]["nodePort"] == number
    )


def test_should_be_able_to_update_service_type_to_nodeport_listening_on_same_port_number_but_different_protocols(
    world: World,
) -> None:
    """
    Services should be able to update service type to NodePort listening on same port number but different protocols
    """
    world.create(service("nodeport-update-service", ports=[{"name": "tcp-port", "port": 80}]))

    def both(tree: Any) -> None:
        tree["spec"] |= {"type": "NodePort"}
        tree["spec"]["ports"] = [
            {"name": "tcp-port", "port": 80, "protocol": "TCP"},
            {"name": "udp-port", "port": 80, "protocol": "UDP"},
        ]

    first, second = world.change("svc/nodeport-update-service", both)["spec"]["ports"]
    assert first["nodePort"]
    assert second["nodePort"]
    assert (first["protocol"], second["protocol"]) == ("TCP", "UDP")


def test_should_be_updated_after_adding_or_deleting_ports(world: World) -> None:
    """Services should be updated after adding or deleting ports"""
    labels = {"testid": "ports"}
    world.create(service("edge-port-multiport", labels))
    world.create(pod(world, "pod1", labels))
    world.until(lambda: endpoints(world, "edge-port-multiport") == {"pod1": [PORT]}, "the first port")
    more = [{"name": "http", "port": 80, "targetPort": PORT}, {"name": "more", "port": 81, "targetPort": 9376}]
    world.change("svc/edge-port-multiport", lambda tree: tree["spec"].update(ports=more))
    world.until(lambda: endpoints(world, "edge-port-multiport") == {"pod1": [PORT, 9376]}, "the second as well")
    world.change("svc/edge-port-multiport", lambda tree: tree["spec"].update(ports=more[1:]))
    world.until(lambda: endpoints(world, "edge-port-multiport") == {"pod1": [9376]}, "the first no more")


def test_should_serve_endpoints_on_same_port_and_different_protocols(world: World) -> None:
    """Services should serve endpoints on same port and different protocols"""
    labels = {"app": "multiprotocol"}
    protocols = ("TCP", "UDP")
    ports = [{"name": one.lower(), "port": 80, "targetPort": PORT, "protocol": one} for one in protocols]
    world.create(service("multiprotocol-test", labels, ports=ports))
    world.create(pod(world, "pod1", labels))

    def served() -> list[str]:
        (part,) = world.items("endpointslices", "kubernetes.io/service-name=multiprotocol-test")
        return sorted(port["protocol"] for port in part["ports"]) if part["endpoints"] else []

    world.until(lambda: served() == ["TCP", "UDP"], "both protocols")
    world.change("svc/multiprotocol-test", lambda tree: tree["spec"].update(ports=ports[:1]))
    world.until(lambda: served() == ["TCP"], "one of them")


def test_should_find_a_service_from_listing_all_namespaces(world: World) -> None:
    """Services should find a service from listing all namespaces"""
    found = [
        (one["metadata"]["namespace"], one["metadata"]["name"]) for one in world.items("services", everywhere=True)
    ]
    assert ("default", "kubernetes") in found


def test_should_complete_a_service_status_lifecycle(world: World) -> None:
    """Services should complete a service status lifecycle"""
    labels = {"test-service-static": "true"}
    balancer = service("test-service", labels, type="LoadBalancer", loadBalancerClass="example.com/internal-vip")
    with world.watching("services", "test-service-static=true") as log:
        world.create(balancer)
        assert world.get("svc/test-service", "status")["status"]["loadBalancer"] == {}
        ingress = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}}
        noted = {"metadata": {"annotations": {"patchedstatus": "true"}}, **ingress}
        patched = world.patch("svc/test-service", noted, kind=PatchType.MERGE, subresource="status")
        assert patched["status"]["loadBalancer"]["ingress"] == [{"ip": "203.0.113.1", "ipMode": "VIP"}]
        condition = {
            "type": "StatusUpdate",
            "status": "True",
            "reason": "E2E",
            "message": "Set from e2e test",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        updated = world.change("svc/test-service", lambda tree: tree["status"].update(conditions=[condition]), "status")
        assert [one["reason"] for one in updated["status"]["conditions"]] == ["E2E"]
        labelled = world.patch("svc/test-service", {"metadata": {"labels": {"test-service": "patched"}}})
        assert labelled["metadata"]["labels"]["test-service"] == "patched"
        assert [one["reason"] for one in labelled["status"]["conditions"]] == ["E2E"]
        world.delete("svc/test-service")
        world.until(lambda: log.kinds()[-1:] == ["DELETED"], "the watch tells of the end")
    assert log.kinds() == ["ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "DELETED"]


def test_should_delete_a_collection_of_services(world: World) -> None:
    """Services should delete a collection of services"""
    collected = {"e2e-test-service": "collected"}
    for name in ("svc-0", "svc-1"):
        world.create(service(name, collected))
    world.create(service("svc-2", {"e2e-test-service": "other"}))
    world.delete_collection("services", "e2e-test-service=collected")
    world.until(lambda: not world.items("services", "e2e-test-service=collected"), "the collection is gone")
    assert [one["metadata"]["name"] for one in world.items("services")] == ["svc-2"]


def test_should_provide_secure_master_service(world: World) -> None:
    """API Server should provide secure master service"""
    found = next(one for one in world.items("services", everywhere=True) if one["metadata"]["name"] == "kubernetes")
    assert found["metadata"]["namespace"] == "default"
    assert [(port["name"], port["port"]) for port in found["spec"]["ports"]] == [("https", 443)]


def test_should_have_endpoints_and_endpointslices_pointing_to_api_server(world: World) -> None:
    """API Server should have Endpoints and EndpointSlices pointing to API Server"""

    def at(kind: str, name: str) -> Any:
        return next(
            one
            for one in world.items(kind, everywhere=True)
            if (one["metadata"]["namespace"], one["metadata"]["name"]) == ("default", name)
        )

    (subset,) = at("endpoints", "kubernetes")["subsets"]
    part = at("endpointslices", "kubernetes")
    assert [one["addresses"] for one in part["endpoints"]] == [[one["ip"]] for one in subset["addresses"]]
    assert [(one["name"], one["port"]) for one in part["ports"]] == [
        (one["name"], one["port"]) for one in subset["ports"]
    ]


def ready(obj: Any) -> bool:
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)


def test_should_support_servicecidr_api_operations(world: World) -> None:
    """ServiceCIDR and IPAddress API should support ServiceCIDR API operations"""
    labels = {"e2e-test": "servicecidr"}
    body = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {"name": "test-svc-cidr", "labels": labels},
        "spec": {"cidrs": ["10.153.0.0/24"]},
    }
    with world.watching("servicecidrs", "e2e-test=servicecidr") as log:
        world.create(body)
        world.until(lambda: ready(world.get("servicecidr/test-svc-cidr")), "the range is ready")
        world.patch("servicecidr/test-svc-cidr", {"metadata": {"annotations": {"patched": "true"}}})
        condition = {
            "type": "E2E",
            "status": "True",
            "reason": "E2E",
            "message": "Set from an e2e test",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        told = world.change(
            "servicecidr/test-svc-cidr", lambda tree: tree["status"]["conditions"].append(condition), "status"
        )
        assert [one["type"] for one in told["status"]["conditions"]] == ["Ready", "E2E"]
        assert world.create(service("far", clusterIP="10.153.0.7"))["spec"]["clusterIP"] == "10.153.0.7"
        world.delete("servicecidr/test-svc-cidr")
        world.stays(lambda: world.get("servicecidr/test-svc-cidr"), "a range in use stays", 30.0)
        assert not ready(world.get("servicecidr/test-svc-cidr"))
        world.delete("svc/far")
        world.until(lambda: log.kinds()[-1:] == ["DELETED"], "the range goes when nobody has an address of it")


def test_should_support_ipaddress_api_operations(world: World) -> None:
    """ServiceCIDR and IPAddress API should support IPAddress API operations"""
    labels = {"e2e-test": "ipaddress"}
    body = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {"name": "192.168.7.2", "labels": labels},
        "spec": {"parentRef": {"resource": "services", "namespace": "foo", "name": "bar"}},
    }
    world.create(body)
    patched = world.patch("ipaddress/192.168.7.2", {"metadata": {"annotations": {"patched": "true"}}})
    assert patched["metadata"]["annotations"] == {"patched": "true"}
    world.change("ipaddress/192.168.7.2", lambda tree: tree["metadata"]["annotations"].update(updated="true"))
    with pytest.raises(Invalid, match="field is immutable"):
        world.change("ipaddress/192.168.7.2", lambda tree: tree["spec"]["parentRef"].update(name="other"))
    assert [one["metadata"]["name"] for one in world.items("ipaddresses", "e2e-test=ipaddress")] == ["192.168.7.2"]
    world.create({**body, "metadata": {"name": "192.168.7.4", "labels": labels}})
    world.delete("ipaddress/192.168.7.2")
    assert len(world.items("ipaddresses", "e2e-test=ipaddress")) == 1
    world.delete_collection("ipaddresses", "e2e-test=ipaddress")
    assert not world.items("ipaddresses", "e2e-test=ipaddress")
