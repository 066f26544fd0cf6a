"""EndpointSlices and Endpoints: made for Services, written by hand, mirrored."""

from typing import Any

from tests.conformance.service.test_services import endpoints, full, pod, service
from tests.conformance.world import World

MIRRORED = "endpointslice.kubernetes.io/managed-by=endpointslicemirroring-controller.k8s.io"


def parts(world: World, name: str) -> list[Any]:
    """Return the slices of a Service."""
    return list(world.items("endpointslices", f"kubernetes.io/service-name={name}"))


def written(name: str, service_name: str, *endpoints: Any, ports: tuple[tuple[str, int], ...] = (("http", 80),)) -> Any:
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": name, "labels": {"kubernetes.io/service-name": service_name, "by": "hand"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [one]} for one in endpoints],
        "ports": [{"name": port, "port": number, "protocol": "TCP"} for port, number in ports],
    }


def test_should_create_and_delete_endpointslices_for_a_service_with_a_selector_that_matches_no_pods(
    world: World,
) -> None:
    """EndpointSlice should create and delete EndpointSlices for a Service with a selector that matches no pods"""
    world.create(service("example-empty-selector", {"does-not-match-anything": "x"}))
    world.until(lambda: len(parts(world, "example-empty-selector")) == 1, "one slice stands for none")
    (part,) = parts(world, "example-empty-selector")
    assert not part["endpoints"]
    assert not part["ports"]
    assert endpoints(world, "example-empty-selector") == {}
    world.delete("svc/example-empty-selector")
    world.until(lambda: not parts(world, "example-empty-selector"), "the slice goes with the Service")
    world.until(lambda: not world.find("endpoints/example-empty-selector"), "and so do the Endpoints")


def test_should_create_endpoints_and_endpointslices_for_pods_matching_a_service(world: World) -> None:
    """EndpointSlice should create Endpoints and EndpointSlices for Pods matching a Service"""
    for name, labels, number in (("pod1", {"foo": "bar"}, 3000), ("pod2", {"foo": "bar"}, 3001)):
        world.create(pod(world, name, labels | ({"baz": "qux"} if name == "pod2" else {}), number))
    ports = [{"name": "example-name", "port": 80, "targetPort": 3000}]
    world.create(service("example-int-port", {"foo": "bar", "baz": "qux"}, ports=ports))
    named = [{"name": "http", "port": 80, "targetPort": "portname1"}]
    world.create(service("example-named-port", {"foo": "bar"}, ports=named))
    world.create(service("example-no-match", {"foo": "nothing"}))
    world.until(lambda: endpoints(world, "example-int-port") == {"pod2": [3000]}, "the pod with both labels")
    both = {"pod1": [3000], "pod2": [3001]}
    world.until(lambda: endpoints(world, "example-named-port") == both, "each pod by the number of its port")
    assert endpoints(world, "example-no-match") == {}

    def shown(name: str) -> list[tuple[list[int], list[str]]]:
        return sorted(
            ([port["port"] for port in part["ports"]], [one["targetRef"]["name"] for one in part["endpoints"]])
            for part in parts(world, name)
        )

    world.until(lambda: shown("example-int-port") == [([3000], ["pod2"])], "one slice")
    world.until(lambda: shown("example-named-port") == [([3000], ["pod1"]), ([3001], ["pod2"])], "a slice per number")
    (part,) = parts(world, "example-int-port")
    (endpoint,) = part["endpoints"]
    assert endpoint["nodeName"] == world.get("pod/pod2")["spec"]["nodeName"]
    assert endpoint["conditions"] == {"ready": True, "serving": True, "terminating": False}


def test_should_support_creating_endpointslice_api_operations(world: World) -> None:
    """EndpointSlice should support creating EndpointSlice API operations"""
    with world.watching("endpointslices", "by=hand") as log:
        for name in ("one", "two", "three"):
            world.create(written(name, "nobody", "10.0.0.1"))
        world.patch("endpointslice/one", {"metadata": {"annotations": {"patched": "true"}}})
        world.change("endpointslice/one", lambda tree: tree["metadata"]["annotations"].update(updated="true"))
        world.delete("endpointslice/one")
        world.delete_collection("endpointslices", "by=hand")
        world.until(lambda: log.kinds().count("DELETED") == 3, "the watch tells of all ends")
    assert log.kinds()[:5] == ["ADDED", "ADDED", "ADDED", "MODIFIED", "MODIFIED"]
    assert not world.items("endpointslices", "by=hand")


def test_should_support_a_service_with_multiple_ports_specified_in_multiple_endpointslices(world: World) -> None:
    """EndpointSlice should support a Service with multiple ports specified in multiple EndpointSlices"""
    ports = [{"name": "port80", "port": 80, "targetPort": 8090}, {"name": "port81", "port": 81, "targetPort": 9090}]
    world.create(service("example-custom-endpoints", clusterIP="None", ports=ports))
    for name, port in (("a", ("port80", 8090)), ("b", ("port81", 9090))):
        world.create(written(f"custom-{name}", "example-custom-endpoints", "10.0.0.7", ports=(port,)))
    name = full(world, "example-custom-endpoints")
    world.until(lambda: world.resolve(name) == {"10.0.0.7"}, "one address from both slices")
    found = {text.split()[2] for text in world.resolve(name, "SRV")}
    assert found == {"8090", "9090"}


def test_should_support_a_service_with_multiple_endpoint_ips_specified_in_multiple_endpointslices(
    world: World,
) -> None:
    """EndpointSlice should support a Service with multiple endpoint IPs specified in multiple EndpointSlices"""
    world.create(service("example-custom-endpoints", clusterIP="None"))
    for name, address, number in (("a", "10.0.0.7", 8090), ("b", "10.0.0.8", 9090)):
        world.create(written(f"custom-{name}", "example-custom-endpoints", address, ports=(("http", number),)))
    name = full(world, "example-custom-endpoints")
    world.until(lambda: world.resolve(name) == {"10.0.0.7", "10.0.0.8"}, "the addresses of both slices")


def mirror(world: World, *subsets: Any) -> None:
    """Write Endpoints by hand for a Service without a selector."""
    tree = {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "example-custom-endpoints"}}
    world.create({**tree, "subsets": list(subsets)})


def subset(address: str, *ports: tuple[str, int]) -> dict[str, Any]:
    return {"addresses": [{"ip": address}], "ports": [{"name": name, "port": number} for name, number in ports]}


def mirrored(world: World) -> list[tuple[list[str], list[int]]]:
    """Return addresses and ports of each slice that mirrors."""
    found = world.items("endpointslices", f"kubernetes.io/service-name=example-custom-endpoints,{MIRRORED}")
    return sorted(
        ([one["addresses"][0] for one in part["endpoints"]], sorted(port["port"] for port in part["ports"]))
        for part in found
    )


def test_should_mirror_a_custom_endpoints_resource_through_create_update_and_delete(world: World) -> None:
    """EndpointSliceMirroring should mirror a custom Endpoints resource through create update and delete"""
    world.create(service("example-custom-endpoints"))
    mirror(world, subset("10.1.2.3", ("http", 80)))
    world.until(lambda: mirrored(world) == [(["10.1.2.3"], [80])], "the Endpoints are mirrored")
    (part,) = parts(world, "example-custom-endpoints")
    assert [one["kind"] for one in part["metadata"]["ownerReferences"]] == ["Endpoints"]
    moved = subset("10.2.3.4", ("http", 9000))
    world.change("endpoints/example-custom-endpoints", lambda tree: tree.update(subsets=[moved]))
    world.until(lambda: mirrored(world) == [(["10.2.3.4"], [9000])], "and their change")
    assert [one["metadata"]["uid"] for one in parts(world, "example-custom-endpoints")] == [part["metadata"]["uid"]]
    world.delete("endpoints/example-custom-endpoints")
    world.until(lambda: mirrored(world) == [], "and their end")


def test_should_mirror_a_custom_endpoint_with_multiple_subsets_and_same_ip_address(world: World) -> None:
    """EndpointSliceMirroring should mirror a custom Endpoint with multiple subsets and same IP address"""
    ports = [{"name": "port8090", "port": 8090}, {"name": "port9090", "port": 9090}]
    world.create(service("example-custom-endpoints", ports=ports))
    mirror(world, subset("10.1.2.3", ("port8090", 8090)), subset("10.1.2.3", ("port9090", 9090)))
    world.until(lambda: mirrored(world) == [(["10.1.2.3"], [8090, 9090])], "both ports of the one address")


def test_should_test_the_lifecycle_of_an_endpoint(world: World) -> None:
    """Endpoints should test the lifecycle of an Endpoint"""
    tree = {
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "testservice", "labels": {"test-endpoint-static": "true"}},
        "subsets": [subset("10.0.0.24", ("http", 80))],
    }
    with world.watching("endpoints", "test-endpoint-static=true") as log:
        world.create(tree)
        assert [one["metadata"]["name"] for one in world.items("endpoints", "test-endpoint-static=true")] == [
            "testservice"
        ]
        world.change(
            "endpoints/testservice", lambda found: found["metadata"]["labels"].update({"test-service": "updated"})
        )
        patch = {
            "metadata": {"labels": {"test-service": "patched"}},
            "subsets": [subset("10.0.0.25", ("http-test", 8080))],
        }
        patched = world.patch("endpoints/testservice", patch)
        assert patched["metadata"]["labels"]["test-service"] == "patched"
        (only,) = patched["subsets"]
        assert (only["addresses"][0]["ip"], only["ports"][0]["port"]) == ("10.0.0.25", 8080)
        world.delete_collection("endpoints", "test-endpoint-static=true")
        world.until(lambda: log.kinds()[-1:] == ["DELETED"], "the watch tells of the end")
    assert log.kinds() == ["ADDED", "MODIFIED", "MODIFIED", "DELETED"]
