"""How namespaces begin and end, and what each one holds. Source: workloads 16 and 18."""

import pytest

from homeport.testing.cluster import SimulatedCluster
from tests.controllers.requests import condition, create, delete, pod, put

LABEL = "kubernetes.io/metadata.name"
CONDITIONS = {
    "NamespaceDeletionDiscoveryFailure": "ResourcesDiscovered",
    "NamespaceDeletionGroupVersionParsingFailure": "ParsedGroupVersions",
    "NamespaceDeletionContentFailure": "ContentDeleted",
    "NamespaceContentRemaining": "SomeResourcesRemain",
    "NamespaceFinalizersRemaining": "SomeFinalizersRemain",
}


def namespace(homeport: SimulatedCluster, name: str = "n") -> None:
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": {LABEL: "wrong"}}}
    code, answer = create(homeport, body)
    assert (code, answer["metadata"]["labels"][LABEL]) == (201, name)
    assert (answer["spec"]["finalizers"], answer["status"]["phase"]) == (["kubernetes"], "Active")
    homeport.settle()


def config(name: str, *finalizers: str) -> dict[str, object]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "finalizers": list(finalizers)}}


@pytest.mark.parametrize("name", ["default", "kube-system", "kube-public"])
def test_some_namespaces_stay(homeport: SimulatedCluster, name: str) -> None:
    code, refusal = delete(homeport, f"namespace/{name}")
    assert code == 403
    assert "this namespace may not be deleted" in refusal["message"]


def test_nothing_new_comes_into_a_namespace_that_ends(homeport: SimulatedCluster) -> None:
    namespace(homeport)
    create(homeport, config("held", "example.com/hold"), "n")
    code, answer = delete(homeport, "namespace/n")
    assert (code, answer["status"]["phase"]) == (200, "Terminating")
    code, refusal = create(homeport, config("late"), "n")
    assert code == 403
    assert refusal["message"].endswith(
        "is forbidden: unable to create new content in namespace n because it is being terminated"
    )
    assert refusal["details"]["causes"] == [
        {"reason": "NamespaceTerminating", "message": "namespace n is being terminated", "field": "metadata.namespace"}
    ]
    homeport.settle()
    held = homeport.get("configmap/n/held")
    assert put(homeport, {**held, "data": {"still": "changes"}})[0] == 200
    assert delete(homeport, "configmap/n/held")[0] == 200


def test_nothing_comes_into_a_namespace_that_is_not(homeport: SimulatedCluster) -> None:
    code, refusal = create(homeport, config("x"), "nowhere")
    assert (code, refusal["message"]) == (404, 'namespaces "nowhere" not found')


def test_what_holds_a_namespace_up_is_told_and_its_end_follows_at_once(homeport: SimulatedCluster) -> None:
    namespace(homeport)
    for name in ("a", "b"):
        create(homeport, config(name, "example.com/hold"), "n")
    delete(homeport, "namespace/n")
    homeport.settle()
    tree = homeport.get("namespace/n")
    assert {one["type"]: one["reason"] for one in tree["status"]["conditions"]} == CONDITIONS
    remaining = condition(tree, "NamespaceContentRemaining")["message"]
    assert remaining == "Some resources are remaining: configmaps. has 2 resource instances"
    holding = condition(tree, "NamespaceFinalizersRemaining")["message"]
    assert holding.endswith("example.com/hold in 2 resource instances")
    for name in ("a", "b"):
        homeport.patch(f"configmap/n/{name}", {"metadata": {"finalizers": None}})
    homeport.wait("namespace/n", gone=True, timeout=20)


def test_pods_may_take_their_time_before_anything_else_goes(homeport: SimulatedCluster) -> None:
    namespace(homeport)
    create(homeport, pod("slow", finalizers=None, terminationGracePeriodSeconds=30), "n")
    create(homeport, config("a"), "n")
    homeport.settle()
    homeport.patch("pod/n/slow", {"metadata": {"finalizers": ["example.com/hold"]}})
    delete(homeport, "namespace/n")
    homeport.advance(minutes=2)
    assert "deletionTimestamp" in homeport.get("pod/n/slow")["metadata"]
    assert "deletionTimestamp" not in homeport.get("configmap/n/a")["metadata"]
    assert homeport.find("serviceaccount/n/default") is not None
    homeport.patch("pod/n/slow", {"metadata": {"finalizers": None}})
    homeport.wait("namespace/n", gone=True, timeout=60)


def test_what_every_namespace_has_comes_back_but_not_while_it_ends(homeport: SimulatedCluster) -> None:
    namespace(homeport)
    for target in ("serviceaccount/n/default", "configmap/n/kube-root-ca.crt"):
        before = homeport.get(target)["metadata"]["uid"]
        delete(homeport, target)
        homeport.wait(target, until=lambda tree: tree["metadata"]["uid"] != before, timeout=5)  # noqa: B023
    bundle = homeport.get("configmap/n/kube-root-ca.crt")
    assert "kubernetes.io/description" in bundle["metadata"]["annotations"]
    assert "secrets" not in homeport.get("serviceaccount/n/default")
    create(homeport, config("held", "example.com/hold"), "n")
    delete(homeport, "namespace/n")
    homeport.settle()
    assert homeport.find("serviceaccount/n/default") is None
    assert homeport.find("configmap/n/kube-root-ca.crt") is None


def test_a_pod_of_an_account_that_is_not_there_is_refused(homeport: SimulatedCluster) -> None:
    code, refusal = create(homeport, pod("p", serviceAccountName="ghost"))
    assert code == 403
    assert refusal["message"].endswith(
        'error looking up service account default/ghost: serviceaccount "ghost" not found'
    )


def test_pods_that_outlast_their_grace_are_a_failure(homeport: SimulatedCluster) -> None:
    namespace(homeport)
    containers = [{"name": "c", "image": "a"}]
    create(homeport, pod("a", containers=containers, terminationGracePeriodSeconds=10), "n")
    homeport.wait("pod/n/a")
    homeport.nodes[homeport.get("pod/n/a")["spec"]["nodeName"]].lose()
    delete(homeport, "namespace/n")
    homeport.advance(seconds=8)
    tree = homeport.get("namespace/n")
    assert {one["status"] for one in tree["status"]["conditions"]} == {"False"}
    homeport.advance(seconds=12)
    failure = condition(homeport.get("namespace/n"), "NamespaceDeletionContentFailure")
    assert (failure["status"], failure["reason"], failure["message"]) == (
        "True",
        "ContentDeletionFailed",
        "Failed to delete all resource types, 1 remaining: "
        "unexpected items still remain in namespace: n for gvr: /v1, Resource=pods",
    )
    delete(homeport, "pod/n/a", gracePeriodSeconds=0)
    homeport.wait("namespace/n", gone=True)
