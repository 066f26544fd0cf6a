"""Accounts of namespaces and their tokens in pods: tests named after upstream's."""

from pathlib import Path
from typing import Any

from homeport.client.manifests import resource_of
from homeport.client.rest import object_path
from tests.conformance.programs import RUN, container
from tests.conformance.simulated import SimulatedWorld
from tests.conformance.steps import Tree, delete_collection, eventually, gone, settle, wait
from tests.conformance.world import World, also_on_real_pods

MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
CA = "kube-root-ca.crt"


def pod(name: str = "p", account: str = "mounttest", **spec: Any) -> Tree:
    body = {"serviceAccountName": account, "terminationGracePeriodSeconds": 0, "containers": [container(RUN)], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": body}


def account(name: str, **more: Any) -> Tree:
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}, **more}


def mounted(world: World, name: str, file: str, directory: str = MOUNT) -> str:
    """Return what a pod finds in its token's directory."""
    if not isinstance(world, SimulatedWorld):
        return world.execute(name, "cat", f"{directory}/{file}")
    tree = world.get(f"pod/{name}")
    machine = world.cluster.simulation.machines[tree["spec"]["nodeName"]]
    (spec,) = [one for one in machine.runtime.specs() if one.labels["pod-uid"] == tree["metadata"]["uid"]]
    (mount,) = [one for one in spec.mounts if one.target == directory]
    return (Path(mount.source) / file).read_text()


def review(world: World, token: str) -> Any:
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
    return world.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body)["status"]


def test_should_guarantee_kube_root_ca_crt_exist_in_any_namespace(world: World) -> None:
    """ServiceAccounts should guarantee kube-root-ca.crt exist in any namespace"""
    first = world.until(lambda: world.find(f"configmap/{CA}"), "the bundle is there")
    bundle = first["data"]["ca.crt"]
    world.delete(f"configmap/{CA}")
    again = wait(world, f"configmap/{CA}", lambda tree: tree["metadata"]["uid"] != first["metadata"]["uid"], 10)
    assert again["data"] == {"ca.crt": bundle}
    world.change(f"configmap/{CA}", lambda tree: tree.update(data={"ca.crt": ""}))
    wait(world, f"configmap/{CA}", lambda tree: tree["data"] == {"ca.crt": bundle}, 10)


@also_on_real_pods
def test_should_mount_an_api_token_into_pods(world: World) -> None:
    """ServiceAccounts should mount an API token into pods"""
    world.create(account("mounttest"))
    world.create(pod())
    eventually(world, lambda: world.ready("p"))
    token, bundle, namespace = (mounted(world, "p", file) for file in ("token", "ca.crt", "namespace"))
    assert bundle == world.get(f"configmap/{CA}")["data"]["ca.crt"]
    assert namespace == world.namespace
    seen = review(world, token)
    assert seen["authenticated"]
    assert seen["user"]["username"] == f"system:serviceaccount:{world.namespace}:mounttest"
    assert set(seen["user"]["groups"]) == {
        "system:authenticated",
        "system:serviceaccounts",
        f"system:serviceaccounts:{world.namespace}",
    }


def test_should_allow_opting_out_of_api_token_automount(world: World) -> None:
    """ServiceAccounts should allow opting out of API token automount"""
    choices = (None, True, False)
    for of_account in choices:
        name = f"a-{of_account}".lower()
        world.create(account(name, **({} if of_account is None else {"automountServiceAccountToken": of_account})))
        for of_pod in choices:
            more = {} if of_pod is None else {"automountServiceAccountToken": of_pod}
            made = world.create(pod(f"{name}-{of_pod}".lower(), name, **more))
            mounts = [one["mountPath"] for one in made["spec"]["containers"][0].get("volumeMounts", ())]
            wanted = of_pod if of_pod is not None else of_account is not False
            assert mounts == ([MOUNT] if wanted else [])


@also_on_real_pods
def test_should_mount_projected_service_account_token(world: World) -> None:
    """ServiceAccounts should mount projected service account token"""
    directory = "/test-volume"
    token = {"serviceAccountToken": {"path": "token", "expirationSeconds": 600}}
    tree = pod(account="default", volumes=[{"name": "v", "projected": {"sources": [token]}}])
    tree["spec"]["containers"][0]["volumeMounts"] = [{"name": "v", "mountPath": directory}]
    world.create(tree)
    eventually(world, lambda: world.ready("p"))
    seen = review(world, mounted(world, "p", "token", directory))
    assert seen["user"]["username"] == f"system:serviceaccount:{world.namespace}:default"
    made = world.get("pod/p")
    assert seen["user"]["extra"]["authentication.kubernetes.io/pod-uid"] == [made["metadata"]["uid"]]


def test_should_create_a_serviceaccounttoken_and_ensure_a_successful_tokenreview(world: World) -> None:
    """ServiceAccounts should create a serviceAccountToken and ensure a successful TokenReview"""
    made = world.create(account("e2e-sa"))
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    path = object_path(resource_of("serviceaccount"), world.namespace, "e2e-sa", "token")
    token = world.request("POST", path, body)["status"]["token"]
    seen = review(world, token)
    assert (seen["authenticated"], seen["user"]["uid"]) == (True, made["metadata"]["uid"])
    assert not review(world, token[:-4] + "AAAA").get("authenticated", False)


def test_should_run_through_the_lifecycle_of_a_serviceaccount(world: World) -> None:
    """ServiceAccounts should run through the lifecycle of a ServiceAccount"""
    labels = {"test-serviceaccount-static": "true"}
    with world.watching("serviceaccount", "test-serviceaccount-static=true") as log:
        made = account("testserviceaccount")
        made["metadata"]["labels"] = labels
        world.create(made)
        world.patch(
            "serviceaccount/testserviceaccount",
            {"metadata": {"labels": {"test-serviceaccount": "patched"}}, "automountServiceAccountToken": False},
        )
        found = world.items("serviceaccount", "test-serviceaccount-static=true", everywhere=True)
        assert [(one["metadata"]["name"], one["automountServiceAccountToken"]) for one in found] == [
            ("testserviceaccount", False)
        ]
        delete_collection(world, "serviceaccount", "test-serviceaccount-static=true")
        eventually(world, lambda: log.kinds() == ["ADDED", "MODIFIED", "DELETED"], 10)
    gone(world, "serviceaccount/testserviceaccount", 10)


def test_should_update_a_serviceaccount(world: World) -> None:
    """ServiceAccounts should update a ServiceAccount"""
    made = world.create(account("e2e-sa"))
    assert "automountServiceAccountToken" not in made
    updated = world.change("serviceaccount/e2e-sa", lambda tree: tree.update(automountServiceAccountToken=True))
    assert updated["automountServiceAccountToken"] is True
    settle(world)
    assert world.get("serviceaccount/e2e-sa")["automountServiceAccountToken"] is True
