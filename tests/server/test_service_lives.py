"""Services from their first defaults to their end, as a server treats them (services-dns 1, 6, 8)."""

import asyncio
from typing import Any

import pytest

from tests.server.inprocess import MERGE, SERVICES, Asker, running
from tests.server.test_service_rules import body, port

pytestmark = pytest.mark.virtual

STRATEGIC = "application/strategic-merge-patch+json"
ENDPOINTS = "/api/v1/namespaces/default/endpoints"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
TEN_SECONDS = 11.0
HOURS = {"clientIP": {"timeoutSeconds": 10800}}

DEFAULTS: list[tuple[str, Any, dict[str, Any]]] = [
    (
        "nothing said",
        body("s"),
        {"type": "ClusterIP", "sessionAffinity": "None", "internalTrafficPolicy": "Cluster"},
    ),
    ("affinity", body("s", sessionAffinity="ClientIP"), {"sessionAffinityConfig": HOURS}),
    ("half an affinity", body("s", sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {}}),
     {"sessionAffinityConfig": HOURS}),
    ("an affinity unasked", body("s", sessionAffinityConfig=HOURS), {"sessionAffinityConfig": None}),
    ("targets", body("s", ports=[port(1, name="a"), port(2, name="b", targetPort=0), port(3, name="c", targetPort="")]),
     {"targets": [1, 2, 3], "protocols": ["TCP", "TCP", "TCP"]}),
    ("headless targets", body("s", clusterIP="None"), {"targets": [80]}),
    ("elsewhere", body("s", type="ExternalName", externalName="a.b"),
     {"targets": [80], "internalTrafficPolicy": None, "externalTrafficPolicy": None, "ipFamilies": None}),
    ("elsewhere, with a policy", body("s", type="ExternalName", externalName="a.b", internalTrafficPolicy="Local"),
     {"internalTrafficPolicy": None}),
    ("external addresses", body("s", externalIPs=["192.0.2.1"]), {"externalTrafficPolicy": "Cluster"}),
    ("balancer", body("s", type="LoadBalancer"),
     {"externalTrafficPolicy": "Cluster", "allocateLoadBalancerNodePorts": True, "internalTrafficPolicy": "Cluster"}),
    ("node port", body("s", type="NodePort"), {"allocateLoadBalancerNodePorts": None}),
    ("an empty selector", body("s", selector={}), {"selector": None}),
    ("a protocol's protocol", body("s", ports=[port(appProtocol="kubernetes.io/h2c")]),
     {"applications": ["kubernetes.io/h2c"]}),
]  # fmt: skip


def shown(spec: Any) -> dict[str, Any]:
    ports = spec.get("ports", ())
    return {
        **spec,
        "targets": [one["targetPort"] for one in ports],
        "protocols": [one["protocol"] for one in ports],
        "applications": [one.get("appProtocol") for one in ports],
    }


async def test_defaults_row_by_row() -> None:
    async with running() as ask:
        for row, tree, expected in DEFAULTS:
            made = await ask.create(SERVICES, {**tree, "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.9"}]}}})
            found = shown(made["spec"])
            assert {field: found.get(field) for field in expected} == expected, row
            assert made["status"] == {"loadBalancer": {}}, row
            assert (await ask.get(f"{SERVICES}/s"))["spec"] == made["spec"], row
            gone = await ask("DELETE", f"{SERVICES}/s")
            assert (gone.body["kind"], gone.body["metadata"]["name"]) == ("Service", "s"), row


async def test_a_put_creates_and_needs_no_version() -> None:
    async with running() as ask:
        assert (await ask("PUT", f"{SERVICES}/s", body("s"))).status == 201
        assert (await ask("PUT", f"{SERVICES}/s", body("s", sessionAffinity="ClientIP"))).status == 200


@pytest.mark.parametrize(
    ("selector", "names"),
    [
        ("spec.type=NodePort", ["n"]),
        ("spec.clusterIP=None", ["h"]),
        ("spec.clusterIP=10.96.0.7", ["c"]),
        ("metadata.name!=n,spec.type!=NodePort", ["c", "h", "kubernetes"]),
        ("metadata.namespace=other", []),
    ],
)
async def test_services_are_selected_by_fields(selector: str, names: list[str]) -> None:
    async with running() as ask:
        for tree in (body("n", type="NodePort"), body("h", clusterIP="None"), body("c", clusterIP="10.96.0.7")):
            await ask.create(SERVICES, tree)
        found = await ask.get(f"{SERVICES}?fieldSelector={selector}")
        assert [one["metadata"]["name"] for one in found["items"]] == names


async def test_ports_are_merged_by_their_numbers_alone() -> None:
    async with running() as ask:
        both = [port(53, name="t"), port(53, name="u", protocol="UDP"), port(80, name="w")]
        await ask.create(SERVICES, body("s", ports=both))
        patch = {"spec": {"ports": [{"port": 80, "targetPort": 8080}, {"port": 81, "name": "x"}]}}
        merged = (await ask("PATCH", f"{SERVICES}/s", patch, content_type=STRATEGIC)).body["spec"]["ports"]
        assert sorted((one["name"], one["targetPort"]) for one in merged) == [
            ("t", 53), ("u", 53), ("w", 8080), ("x", 81),
        ]  # fmt: skip
        replaced = (await ask("PATCH", f"{SERVICES}/s", {"spec": {"ports": [port(9)]}}, content_type=MERGE)).body
        assert [one["port"] for one in replaced["spec"]["ports"]] == [9]


async def test_conditions_of_a_status_are_merged_by_type() -> None:
    async with running() as ask:
        await ask.create(SERVICES, body("s"))

        async def told(kind: str, status: str) -> list[tuple[str, str]]:
            condition = {"type": kind, "status": status, "reason": "R", "message": "", "lastTransitionTime": None}
            condition["lastTransitionTime"] = "2026-01-01T00:00:00Z"
            patch = {"status": {"conditions": [condition]}}
            answer = await ask("PATCH", f"{SERVICES}/s/status", patch, content_type=STRATEGIC)
            return sorted((one["type"], one["status"]) for one in answer.body["status"]["conditions"])

        assert await told("A", "True") == [("A", "True")]
        assert await told("B", "True") == [("A", "True"), ("B", "True")]
        assert await told("A", "False") == [("A", "False"), ("B", "True")]


async def test_services_are_deleted_as_a_collection_with_their_endpoints() -> None:
    async with running() as ask:
        for name in ("a", "b", "c"):
            await ask.create(SERVICES, {**body(name), "metadata": {"name": name, "labels": {"x": name}}})
            await ask.create(ENDPOINTS, {"metadata": {"name": name}})
        address = (await ask.get(f"{SERVICES}/b"))["spec"]["clusterIP"]
        await ask("DELETE", f"{SERVICES}?labelSelector=x in (b,c)&dryRun=All")
        assert len((await ask.get(ENDPOINTS))["items"]) == 4
        await ask("DELETE", f"{SERVICES}?labelSelector=x in (b,c)")
        assert [one["metadata"]["name"] for one in (await ask.get(SERVICES))["items"]] == ["a", "kubernetes"]
        assert [one["metadata"]["name"] for one in (await ask.get(ENDPOINTS))["items"]] == ["a", "kubernetes"]
        assert (await ask("POST", SERVICES, body("d", clusterIP=address))).status == 201


async def published(ask: Asker) -> tuple[Any, Any, Any]:
    return tuple([await ask.get(f"{path}/kubernetes") for path in (SERVICES, ENDPOINTS, SLICES)])  # type: ignore[return-value]


async def test_the_api_says_where_it_is() -> None:
    async with running() as ask:
        service, endpoints, part = await published(ask)
        spec = service["spec"]
        assert service["metadata"]["labels"] == {"component": "apiserver", "provider": "kubernetes"}
        assert (spec["clusterIP"], spec["ipFamilyPolicy"], spec["sessionAffinity"]) == (
            "10.96.0.1",
            "SingleStack",
            "None",
        )
        (only,) = spec["ports"]
        assert (only["name"], only["port"], only["protocol"]) == ("https", 443, "TCP")
        assert "selector" not in spec
        assert endpoints["metadata"]["labels"] == {"endpointslice.kubernetes.io/skip-mirror": "true"}
        (subset,) = endpoints["subsets"]
        assert [one["name"] for one in subset["ports"]] == ["https"]
        assert part["metadata"]["labels"] == {"kubernetes.io/service-name": "kubernetes"}
        (endpoint,) = part["endpoints"]
        assert endpoint == {"addresses": [subset["addresses"][0]["ip"]], "conditions": {"ready": True}}


async def test_the_api_comes_back_within_ten_seconds_of_being_taken_away() -> None:
    async with running() as ask:
        before = await published(ask)
        for path in (SERVICES, ENDPOINTS, SLICES):
            await ask("DELETE", f"{path}/kubernetes")
        await asyncio.sleep(TEN_SECONDS)
        after = await published(ask)
        assert [one.get("spec", {}).get("clusterIP") for one in after] == ["10.96.0.1", None, None]
        assert after[1]["subsets"] == before[1]["subsets"]
        assert after[2]["endpoints"] == before[2]["endpoints"]
