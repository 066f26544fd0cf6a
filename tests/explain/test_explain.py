"""One sentence for each thing that can be waited for, or be wrong."""

from functools import partial
from typing import Any

import pytest

from homeport.dns import objects as dns_objects
from homeport.dns.index import Index
from homeport.dns.name import from_text
from homeport.dns.records import Question, RRType
from homeport.dns.settings import DnsSettings
from homeport.dns.zone import resolve
from homeport.explain.claims import explain_claim
from homeport.explain.model import Explanation, Snapshot
from homeport.explain.names import asked, explain_name
from homeport.explain.pods import explain_pod
from homeport.explain.services import explain_service
from homeport.explain.workloads import explain_workload
from homeport.proxy.balance import ANNOTATION
from tests.explain.objects import claim, owned, pod, seen, service, slice_of, statefulset, warning

UNREADY = pod("web-0", ready=False)
PROBE = warning("Pod", "web-0", "Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", 4)
CRASHING = pod(
    "web-0",
    ready=False,
    state={"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}},
)
NO_NODE = pod(
    "web-0",
    phase="Pending",
    conditions=[
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes are fit."}
    ],
    spec={"volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "data-web-0"}}]},
)
LEAVING = pod(
    "web-0",
    metadata={"deletionTimestamp": "2026-01-01T00:00:30Z", "finalizers": ["example.com/keep"]},
    state={"terminated": {"exitCode": 0}},
)
VIRTUAL: dict[str, Any] = {"clusterIP": "10.96.1.1", "clusterIPs": ["10.96.1.1"]}
TEMPLATES = [{"metadata": {"name": "data"}}]


def holds(found: Explanation, fine: bool, sentence: str) -> None:
    assert (found.fine, found.sentence) == (fine, sentence)


@pytest.mark.parametrize(
    ("objects", "fine", "sentence"),
    [
        ([pod("web-0")], True, "Pod web-0 is ready; it waits for nothing."),
        (
            [UNREADY, PROBE],
            False,
            "Pod web-0 is not ready: container main: running, its readiness probe has not succeeded yet; last said: "
            "Readiness probe failed: HTTP probe failed with statuscode: 503.",
        ),
        (
            [CRASHING],
            False,
            "Pod web-0 is not ready: container main: CrashLoopBackOff: back-off 10s restarting failed container.",
        ),
        (
            [NO_NODE, claim("data-web-0", "Pending")],
            False,
            "Pod web-0 is not ready: not scheduled: 0/1 nodes are fit (claim data-web-0 is unbound).",
        ),
        (
            [NO_NODE],
            False,
            "Pod web-0 is not ready: not scheduled: 0/1 nodes are fit (claim data-web-0 does not exist).",
        ),
        ([LEAVING], False, "Pod web-0 is terminating: its finalizers keep it (example.com/keep)."),
        (
            [
                pod(
                    "web-0",
                    conditions=[{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}],
                    spec={"readinessGates": [{"conditionType": "example.com/in-pool"}]},
                )
            ],
            False,
            "Pod web-0 is not ready: its readiness gates are not met: example.com/in-pool.",
        ),
        (
            [statefulset()],
            False,
            "Pod web-0 does not exist: StatefulSet web has not made it yet.",
        ),
        (
            [statefulset(0)],
            False,
            "Pod web-0 does not exist: StatefulSet web wants 0 replicas, so no pods.",
        ),
        (
            [statefulset(), warning("StatefulSet", "web", "FailedCreate", "create Pod web-0 failed: quota")],
            False,
            "Pod web-0 does not exist: StatefulSet web could not make it: create Pod web-0 failed: quota.",
        ),
        (
            [pod("web-1")],
            False,
            "Pod web-0 does not exist: namespace default has no such pod (there is 'web-1').",
        ),
    ],
)
def test_pods(objects: list[dict[str, Any]], fine: bool, sentence: str) -> None:
    holds(explain_pod(seen(*objects), "web-0"), fine, sentence)


def test_a_pod_waits_for_those_before_it_in_order() -> None:
    found = explain_pod(seen(statefulset(), UNREADY, PROBE), "web-2")
    assert found.sentence.startswith(
        "Pod web-2 does not exist: StatefulSet web waits for web-0 first (container main: "
    )
    assert ("Event Unhealthy ×4", PROBE["message"]) in {(one.object, one.says) for one in found.evidence}
    at_once = seen(statefulset(podManagementPolicy="Parallel"), UNREADY)
    assert explain_pod(at_once, "web-2").sentence == "Pod web-2 does not exist: StatefulSet web has not made it yet."


@pytest.mark.parametrize(
    ("objects", "fine", "sentence"),
    [
        (
            [service(), slice_of("nginx", ("web-0", "10.244.0.2", "ready"))],
            True,
            "Service nginx works: its name leads to 1 of 1 endpoint.",
        ),
        (
            [
                service(**VIRTUAL),
                pod("web-0"),
                pod("web-1", ready=False),
                slice_of("nginx", ("web-0", "10.244.0.2", "ready"), ("web-1", "10.244.0.3", "unready")),
            ],
            False,
            "Service nginx works: connections to 10.96.1.1 (port 80) are spread over 1 of 2 endpoints; without web-1 "
            "(container main: running, its readiness probe has not succeeded yet).",
        ),
        (
            [service(**VIRTUAL), pod("db-0", metadata={"labels": {"app": "db"}})],
            False,
            "Service nginx has no ready endpoint, so connections to 10.96.1.1 are refused: no pod has the labels it "
            "selects (app=web); pod db-0 has app=db.",
        ),
        (
            [service(), UNREADY, slice_of("nginx", ("web-0", "10.244.0.2", "unready"))],
            False,
            "Service nginx has no ready endpoint, so its name does not resolve: pod web-0 is not ready "
            "(container main: "
            "running, its readiness probe has not succeeded yet).",
        ),
        (
            [service(**VIRTUAL), slice_of("nginx", ("web-0", "10.244.0.2", "leaving"))],
            False,
            "Service nginx has no ready endpoint; web-0, on the way out, serve until the last.",
        ),
        (
            [service(**VIRTUAL, ports=[{"port": 80, "targetPort": "grpc"}]), pod("web-0")],
            False,
            "Service nginx has no ready endpoint, so connections to 10.96.1.1 are refused: no container "
            "port of its pods "
            "is named 'grpc', which port 80 leads to.",
        ),
        (
            [service(selector=None, **VIRTUAL)],
            False,
            "Service nginx has no ready endpoint, so connections to 10.96.1.1 are refused: it has no selector, and "
            "nobody has made a ready endpoint for it.",
        ),
        (
            [service(type="ExternalName", externalName="db.example.com")],
            True,
            "Service nginx is an alias: its name leads to db.example.com (CNAME).",
        ),
        ([service("ngixn")], False, "Service nginx does not exist in namespace default (there is 'ngixn')."),
    ],
)
def test_services(objects: list[dict[str, Any]], fine: bool, sentence: str) -> None:
    holds(explain_service(seen(*objects), "nginx"), fine, sentence)


def test_a_service_tells_how_it_asks_to_be_balanced() -> None:
    tree = service()
    tree["metadata"]["annotations"] = {ANNOTATION: "round-robin"}
    assert f"{ANNOTATION} round-robin" in [one.says for one in explain_service(seen(tree), "nginx").evidence]
    tree["metadata"]["annotations"] = {ANNOTATION: "fair"}
    (said,) = [one.says for one in explain_service(seen(tree), "nginx").evidence if ANNOTATION in one.says]
    assert "none of random" in said


@pytest.mark.parametrize(
    ("objects", "fine", "sentence"),
    [
        (
            [statefulset(1, ready=1), owned(pod("web-0")), service()],
            True,
            "StatefulSet web is ready (1/1 pods); it waits for nothing.",
        ),
        (
            [statefulset(1, made=0), warning("StatefulSet", "web", "FailedCreate", "create Pod web-0 failed: quota")],
            False,
            "StatefulSet web waits for 1 more ready pods; last said: create Pod web-0 failed: quota (0/1 ready).",
        ),
        (
            [statefulset(2, ready=1), owned(UNREADY), PROBE],
            False,
            "StatefulSet web waits for pod web-0: container main: running, its readiness probe has not "
            "succeeded yet; last "
            "said: Readiness probe failed: HTTP probe failed with statuscode: 503 (1/2 ready).",
        ),
        (
            [statefulset(2, ready=1), owned(pod("web-0")), owned(pod("web-1", ready=False), "web-bad")],
            False,
            "StatefulSet web is stuck while web-1, of another revision, is not ready (container main: running, its "
            "readiness probe has not succeeded yet): in order, nothing is replaced before it is; delete web-1, and it "
            "comes back at the wanted revision.",
        ),
        ([], False, "StatefulSet web does not exist in namespace default."),
    ],
)
def test_statefulsets(objects: list[dict[str, Any]], fine: bool, sentence: str) -> None:
    holds(explain_workload(seen(*objects), "StatefulSet", "web"), fine, sentence)


@pytest.mark.parametrize(
    ("spec", "others", "fact"),
    [
        ({}, [], "serviceName nginx: there is no such Service, so its pods have no names of their own"),
        ({}, [service(**VIRTUAL)], "serviceName nginx: a Service with an address of its own, not a headless one"),
        (
            {"updateStrategy": {"type": "OnDelete"}},
            [],
            "updateStrategy OnDelete: a pod gets the newest template when somebody deletes it",
        ),
        (
            {"updateStrategy": {"rollingUpdate": {"partition": 2}}},
            [],
            "partition 2: pods below keep the older revision",
        ),
        (
            {"volumeClaimTemplates": TEMPLATES},
            [claim("data-web-3")],
            "left by a pod no longer wanted; kept, and used again when it is",
        ),
    ],
)
def test_what_is_behind_a_statefulset(spec: dict[str, Any], others: list[dict[str, Any]], fact: str) -> None:
    found = explain_workload(seen(statefulset(3, ready=3, **spec), *others), "StatefulSet", "web")
    assert fact in [one.says for one in found.evidence]


def test_a_deployment_waits_for_pods_of_its_replicasets() -> None:
    sets = {"kind": "ReplicaSet", "metadata": {"name": "web-abc", "uid": "uid-rs", "ownerReferences": [
        {"uid": "uid-deployment", "controller": True}]}}  # fmt: skip
    deployment = {"kind": "Deployment", "metadata": {"name": "web", "uid": "uid-deployment"}, "spec": {"replicas": 1}}
    slow = pod("web-0", ready=False)
    slow["metadata"]["ownerReferences"] = [{"uid": "uid-rs", "controller": True}]
    found = explain_workload(seen(deployment, sets, slow), "Deployment", "web")
    assert found.sentence == (
        "Deployment web waits for pod web-0: container main: running, its readiness probe has not "
        "succeeded yet (0/1 ready)."
    )


@pytest.mark.parametrize(
    ("objects", "fine", "sentence"),
    [
        ([claim("data-web-3")], True, "PersistentVolumeClaim data-web-3 is bound to volume pvc-1."),
        (
            [claim("data-web-3"), statefulset(volumeClaimTemplates=TEMPLATES)],
            True,
            "PersistentVolumeClaim data-web-3 is bound to volume pvc-1; StatefulSet web does not want its "
            "pod now, and uses "
            "it again when it does.",
        ),
        (
            [
                claim("data-web-3", "Pending"),
                warning("PersistentVolumeClaim", "data-web-3", "ProvisioningFailed", "no class."),
            ],
            False,
            "PersistentVolumeClaim data-web-3 waits for a volume: no class.",
        ),
        (
            [
                claim(
                    "data-web-3", deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["kubernetes.io/pvc-protection"]
                ),
                pod("web-3", spec={"volumes": [{"persistentVolumeClaim": {"claimName": "data-web-3"}}]}),
            ],
            False,
            "PersistentVolumeClaim data-web-3 is being deleted, but pod web-3 uses it.",
        ),
    ],
)
def test_claims(objects: list[dict[str, Any]], fine: bool, sentence: str) -> None:
    holds(explain_claim(seen(*objects), "data-web-3"), fine, sentence)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("web-0.nginx", ["default/nginx/web-0/", "nginx/web-0//"]),
        ("nginx.shop.svc.cluster.local", ["shop/nginx//"]),
        ("nginx.shop.svc", ["svc/shop/nginx/", "shop/nginx//"]),
        ("web-0.nginx.shop.svc.CLUSTER.local.", ["shop/nginx/web-0/"]),
        ("_http._tcp.nginx.shop.svc.cluster.local", ["shop/nginx//_http._tcp"]),
        ("nginx", ["default/nginx//"]),
        ("example.com.", []),
        ("svc.cluster.local.", []),
    ],
)
def test_what_a_name_may_mean(text: str, parts: list[str]) -> None:
    found = asked(text, "default", "cluster.local")
    assert [f"{one.namespace}/{one.service}/{one.host}/{one.port}" for one in found] == parts


HOST = "web-0.nginx.default.svc.cluster.local"
NAMES: list[tuple[str, list[dict[str, Any]], bool, str]] = [
    (
        HOST,
        [service(), slice_of("nginx", ("web-0", "10.244.0.2", "ready"))],
        True,
        f"{HOST} resolves to 10.244.0.2: pod web-0 is a ready endpoint of Service nginx.",
    ),
    (
        HOST,
        [service(), UNREADY, slice_of("nginx", ("web-0", "10.244.0.2", "unready"))],
        False,
        f"{HOST} does not resolve: pod web-0 is not ready (container main: running, its readiness probe "
        "has not succeeded "
        "yet), and only ready endpoints have names.",
    ),
    (
        HOST,
        [service(), pod("web-0", spec={"subdomain": "other"})],
        False,
        f"{HOST} does not resolve: the subdomain of pod web-0 is other, so its own name is "
        "web-0.other.default.svc.cluster.local.",
    ),
    (
        HOST,
        [service(selector={"app": "db"}), pod("web-0")],
        False,
        f"{HOST} does not resolve: Service nginx selects app=db, which pod web-0 is not labelled with.",
    ),
    (
        HOST,
        [service(), statefulset(0)],
        False,
        f"{HOST} does not resolve: pod web-0 does not exist: StatefulSet web wants 0 replicas, so no pods.",
    ),
    (
        HOST,
        [pod("web-0")],
        False,
        f"{HOST} does not resolve: namespace default has no Service nginx, which its pods' names need.",
    ),
    (
        "nginx",
        [service(), slice_of("nginx", ("web-0", "10.244.0.2", "ready"), ("web-1", "10.244.0.3", "gone"))],
        True,
        "nginx.default.svc.cluster.local resolves to 10.244.0.2: the ready endpoints of headless Service "
        "nginx, 1 of 2.",
    ),
    (
        "nginx",
        [service(**VIRTUAL)],
        True,
        "nginx.default.svc.cluster.local resolves to 10.96.1.1, the virtual address of Service nginx, with 0 ready "
        "endpoints behind it.",
    ),
    (
        "nginx",
        [service(type="ExternalName", externalName="db.example.com")],
        True,
        "nginx.default.svc.cluster.local is an alias of db.example.com: Service nginx says so.",
    ),
    (
        "_grpc._tcp.nginx",
        [service()],
        False,
        "_grpc._tcp.nginx.default.svc.cluster.local does not resolve: Service nginx has no port named "
        "grpc over tcp (it has "
        "http/tcp).",
    ),
    (
        "example.com.",
        [],
        False,
        "example.com. is no name of a Service or a pod of this cluster; names outside its domain are "
        "asked of the host's "
        "resolver.",
    ),
]


@pytest.mark.parametrize(("text", "objects", "fine", "sentence"), NAMES)
def test_names(text: str, objects: list[dict[str, Any]], fine: bool, sentence: str) -> None:
    meanings = [one for one in asked(text, "default", "cluster.local") if one.namespace == "default"]
    holds(explain_name(text, meanings, {"default": seen(*objects)}), fine, sentence)


def test_of_several_meanings_the_one_counts_of_which_most_is_there() -> None:
    meanings = asked("nginx.shop", "default", "cluster.local")
    shop = Snapshot("shop", "cluster.local", {"Service": (service(),)})
    found = explain_name("nginx.shop", meanings, {"default": seen(), "shop": shop})
    assert found.sentence.startswith(
        "nginx.shop.svc.cluster.local does not resolve: headless Service nginx has no ready"
    )
    nowhere = Snapshot("shop", "cluster.local", {}, exists=False)
    found = explain_name("nginx.shop", meanings, {"default": seen(), "shop": nowhere})
    assert found.sentence == (
        "nginx.shop is no name of this cluster (namespace default has no Service shop);"
        " the host's resolver is asked for it."
    )


@pytest.mark.parametrize(("text", "objects", "fine", "sentence"), NAMES)
def test_the_server_answers_as_explained(text: str, objects: list[dict[str, Any]], fine: bool, sentence: str) -> None:
    meanings = asked(text, "default", "cluster.local")
    if not meanings or meanings[0].port:
        return  # not names with addresses
    index = Index()
    index.put_namespace("default")
    for obj in objects:
        if obj["kind"] == "Service":
            index.put_service(dns_objects.service(obj))
        if obj["kind"] == "EndpointSlice":
            index.put_slice(dns_objects.slice_of(obj))
    steps = partial(resolve, Question(from_text(meanings[0].text), RRType.A), index, DnsSettings())
    asks_others = next(steps(), None)  # an alias of a name outside
    if asks_others is None:
        with pytest.raises(StopIteration) as done:
            next(steps())
        assert bool(done.value.value.answer) == fine
