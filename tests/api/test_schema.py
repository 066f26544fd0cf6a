"""The facts say what the published API says, and load in no time."""

import subprocess
import sys

import pytest

from homeport.api import schema
from homeport.api.resources import RESOURCES, Gvk


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda r: f"{r.kind}.{r.group}")
def test_every_served_kind_has_facts(resource) -> None:
    facts = schema.kind_type(resource.gvk)
    assert facts is not None
    assert "metadata" in facts.fields


@pytest.mark.parametrize(
    "kind",
    ["autoscaling/v1/Scale", "/v1/Binding", "policy/v1/Eviction", "authentication.k8s.io/v1/TokenRequest"],
)
def test_bodies_of_subresources_have_facts(kind: str) -> None:
    assert Gvk(*kind.split("/")) in schema.known_kinds()


@pytest.mark.parametrize(
    ("type_name", "field", "list_type", "list_keys", "strategy", "merge_key"),
    [
        ("core.v1.PodSpec", "containers", "map", ("name",), ("merge",), "name"),
        ("core.v1.PodSpec", "volumes", "map", ("name",), ("merge", "retainKeys"), "name"),
        ("core.v1.PodSpec", "tolerations", "atomic", (), (), ""),
        ("core.v1.PodSpec", "hostAliases", "map", ("ip",), ("merge",), "ip"),
        ("core.v1.Container", "ports", "map", ("containerPort", "protocol"), ("merge",), "containerPort"),
        ("core.v1.ServiceSpec", "ports", "map", ("port", "protocol"), ("merge",), "port"),
        ("meta.v1.ObjectMeta", "finalizers", "set", (), ("merge",), ""),
        ("meta.v1.ObjectMeta", "ownerReferences", "map", ("uid",), ("merge",), "uid"),
        ("core.v1.PodStatus", "hostIPs", "atomic", (), ("merge",), "ip"),
        ("apps.v1.DeploymentSpec", "strategy", "", (), ("retainKeys",), ""),
        ("apps.v1.StatefulSetSpec", "volumeClaimTemplates", "atomic", (), (), ""),
    ],
)  # fmt: skip
def test_list_metadata(type_name, field, list_type, list_keys, strategy, merge_key) -> None:
    facts = schema.struct(type_name).fields[field]
    assert (facts.list_type, facts.list_keys, facts.patch_strategy, facts.merge_key) == (
        list_type,
        list_keys,
        strategy,
        merge_key,
    )


def test_pointers_are_told_from_values() -> None:
    fields = schema.struct("apps.v1.DeploymentSpec").fields
    assert fields["replicas"].pointer
    assert not fields["paused"].pointer
    assert fields["paused"].omit_empty


def test_selectors_are_atomic() -> None:
    assert schema.struct("meta.v1.LabelSelector").atomic
    assert schema.struct("core.v1.PodSpec").fields["nodeSelector"].map_type == "atomic"


def test_importing_reads_no_facts() -> None:
    script = "import homeport.api.schema as s; print(s._facts.cache_info().misses)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
