"""The names of pods that a headless Service governs, as the cluster's DNS and the pods themselves know them."""

from tests.conformance.workloads import bare_pod, headless
from tests.conformance.world import World, also_on_real_pods

LABELS = {"dns-test-hostname-attribute": "true"}
SERVICE = "dns-test-service-2"
HOST = "dns-querier-2"


def _querier(world: World) -> str:
    """Create a headless Service and a pod with a host name in it; return the pod's address."""
    world.create(headless(SERVICE, LABELS))
    world.create(bare_pod("dns-test", world.images[0], LABELS, hostname=HOST, subdomain=SERVICE))
    world.until(lambda: world.ready("dns-test"), "the pod runs")
    return str(world.get("pod/dns-test")["status"]["podIP"])


def _looked_up(world: World, name: str) -> set[str]:
    """Return the addresses a program in the pod gets for a name."""
    words = world.execute("dns-test", "nslookup", "-type=a", name).partition("Name:")[2].split()
    return {word for word in words if word.count(".") == 3 and word.replace(".", "").isdigit()}


@also_on_real_pods
def test_should_provide_dns_for_pods_for_hostname(world: World) -> None:
    """DNS should provide DNS for pods for Hostname"""
    address = _querier(world)
    full = f"{HOST}.{SERVICE}.{world.namespace}.svc.cluster.local"
    world.until(lambda: world.resolve(full) == {address}, "the pod's own name leads to it")
    if world.runs_programs:
        assert world.execute("dns-test", "hostname").strip() == HOST
        hosts = [line.split() for line in world.execute("dns-test", "cat", "/etc/hosts").splitlines()]
        assert [address, full, HOST] in hosts
        assert _looked_up(world, full) == {address}


@also_on_real_pods
def test_should_provide_dns_for_pods_for_subdomain(world: World) -> None:
    """DNS should provide DNS for pods for Subdomain"""
    address = _querier(world)
    subdomain = f"{SERVICE}.{world.namespace}.svc.cluster.local"
    world.until(lambda: world.resolve(subdomain) == {address}, "the Service's name leads to its pods")
    if world.runs_programs:
        assert _looked_up(world, subdomain) == {address}
