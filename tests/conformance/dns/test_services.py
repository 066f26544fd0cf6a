"""The names of Services and of the cluster itself, as pods look them up."""

from ipaddress import ip_address

from tests.conformance.service.test_services import full, service
from tests.conformance.workloads import bare_pod, headless
from tests.conformance.world import PORT, World

LABELS = {"dns-test": "true"}


def served(world: World) -> str:
    """Create a pod behind a headless Service and one with an address; return the pod's address."""
    world.create(headless("dns-test-service", LABELS))
    world.create(service("test-service-2", LABELS))
    world.create(bare_pod("dns-test", world.images[0], LABELS))
    world.until(lambda: world.ready("dns-test"), "the pod runs")
    return str(world.get("pod/dns-test")["status"]["podIP"])


def test_should_provide_dns_for_the_cluster(world: World) -> None:
    """DNS should provide DNS for the cluster"""
    api = world.resolve("kubernetes.default.svc.cluster.local")
    assert {str(ip_address(one)) for one in api} == api
    assert len(api) == 1


def test_should_provide_dns_for_services(world: World) -> None:
    """DNS should provide DNS for services"""
    pod = served(world)
    address = world.get("svc/test-service-2")["spec"]["clusterIP"]
    many, single = full(world, "dns-test-service"), full(world, "test-service-2")
    world.until(lambda: world.resolve(many) == {pod}, "the headless name leads to the pod")
    assert world.resolve(single) == {address}
    dashed = pod.replace(".", "-")
    assert world.resolve(f"_http._tcp.{many}", "SRV") == {f"0 100 {PORT} {dashed}.{many}."}
    assert world.resolve(f"_http._tcp.{single}", "SRV") == {f"0 100 80 {single}."}
    assert world.resolve(ip_address(address).reverse_pointer, "PTR") == {f"{single}."}
    assert f"{dashed}.{many}." in world.resolve(ip_address(pod).reverse_pointer, "PTR")


def test_should_resolve_dns_of_partial_qualified_names_for_services(world: World) -> None:
    """DNS should resolve DNS of partial qualified names for services"""
    served(world)
    address = world.get("svc/test-service-2")["spec"]["clusterIP"]
    for name in ("test-service-2", f"test-service-2.{world.namespace}", f"test-service-2.{world.namespace}.svc"):
        world.until(lambda name=name: world.resolve(name) == {address}, f"{name} is completed")
        assert world.resolve(f"_http._tcp.{name}", "SRV") == {f"0 100 80 {full(world, 'test-service-2')}."}


def test_should_provide_dns_for_externalname_services(world: World) -> None:
    """DNS should provide DNS for ExternalName services"""
    world.create(service("dns-test-service-3", type="ExternalName", externalName="foo.example.com", ports=[]))
    name = full(world, "dns-test-service-3")
    world.until(lambda: world.resolve(name, "CNAME") == {"foo.example.com."}, "the alias")
    world.patch("svc/dns-test-service-3", {"spec": {"externalName": "bar.example.com"}})
    world.until(lambda: world.resolve(name, "CNAME") == {"bar.example.com."}, "the other alias")
    plain = world.patch("svc/dns-test-service-3", {"spec": {"type": "ClusterIP", "ports": [{"port": 80}]}})
    world.until(lambda: world.resolve(name) == {plain["spec"]["clusterIP"]}, "the address")


def test_should_work_with_a_service_name_that_starts_with_a_digit(world: World) -> None:
    """DNS should work with a service name that starts with a digit"""
    world.create(service("1kubernetes"))
    address = world.get("svc/1kubernetes")["spec"]["clusterIP"]
    world.until(lambda: world.resolve(full(world, "1kubernetes")) == {address}, "the name leads to it")
