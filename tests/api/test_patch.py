import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.api.patch import apply_json_patch, apply_merge_patch, apply_strategic_patch
from homeport.api.patch.merge_facts import MergeFacts, merge_facts
from homeport.api.resources import Gvk
from homeport.api.schema import struct
from homeport.errors import ApiError, BadRequest, Invalid, RequestTooLarge

DEPLOYMENT = merge_facts(Gvk("apps", "v1", "Deployment"))
assert DEPLOYMENT is not None

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ([], {"a": {"b": 1}, "l": [1, 2]}),
        ([{"op": "add", "path": "/a/c", "value": 2}], {"a": {"b": 1, "c": 2}, "l": [1, 2]}),
        ([{"op": "add", "path": "/l/1", "value": 9}], {"a": {"b": 1}, "l": [1, 9, 2]}),
        ([{"op": "add", "path": "/l/-", "value": 9}], {"a": {"b": 1}, "l": [1, 2, 9]}),
        ([{"op": "add", "path": "/l/2", "value": 9}], {"a": {"b": 1}, "l": [1, 2, 9]}),
        ([{"op": "add", "path": "/x~1y~0z", "value": 1}], {"a": {"b": 1}, "l": [1, 2], "x/y~z": 1}),
        ([{"op": "replace", "path": "/l/0", "value": 9}], {"a": {"b": 1}, "l": [9, 2]}),
        ([{"op": "replace", "path": "/absent", "value": 9}], {"a": {"b": 1}, "l": [1, 2], "absent": 9}),
        ([{"op": "replace", "path": "", "value": {}}], {}),
        ([{"op": "remove", "path": "/l/-1"}], {"a": {"b": 1}, "l": [1]}),
        ([{"op": "remove", "path": "/a/b"}], {"a": {}, "l": [1, 2]}),
        ([{"op": "move", "from": "/a", "path": "/z"}], {"z": {"b": 1}, "l": [1, 2]}),
        ([{"op": "copy", "from": "/a", "path": "/a/c"}], {"a": {"b": 1, "c": {"b": 1}}, "l": [1, 2]}),
        ([{"op": "test", "path": "/a", "value": {"b": 1.0}}], {"a": {"b": 1}, "l": [1, 2]}),
        ([{"op": "test", "path": "/absent", "value": None}], {"a": {"b": 1}, "l": [1, 2]}),
    ],
)
def test_json_patch_gives(patch: Any, expected: Any) -> None:
    assert apply_json_patch({"a": {"b": 1}, "l": [1, 2]}, patch) == expected


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/l/3", "value": 1},
        {"op": "add", "path": "/l/01", "value": 1},
        {"op": "add", "path": "/a"},
        {"op": "remove", "path": "/x"},
        {"op": "remove", "path": "/l/2"},
        {"op": "remove", "path": "/l/-"},
        {"op": "remove"},
        {"op": "remove", "path": "a"},
        {"op": "move", "from": "/x", "path": "/y"},
        {"op": "move", "from": "/a", "path": "/a/b/c"},
        {"op": "test", "path": "/l/0", "value": True},
        {"op": "test", "path": "/a", "value": 8},
        {"op": "frob", "path": "/a"},
    ],
)
def test_a_json_patch_that_cannot_be_done_is_invalid(operation: Any) -> None:
    with pytest.raises(Invalid) as refused:
        apply_json_patch({"a": {"b": 1}, "l": [1, 2]}, [operation])
    assert refused.value.message == "the server rejected our request due to an error in our request"
    assert refused.value.as_status()["details"] == {}


def test_json_patch_limits() -> None:
    with pytest.raises(RequestTooLarge):
        apply_json_patch({}, [{"op": "test", "path": "", "value": {}}] * 10_001)
    doubling = [{"op": "add", "path": "/0", "value": "x" * 1000}]
    doubling += [{"op": "copy", "from": "", "path": f"/{n}"} for n in range(1, 30)]
    with pytest.raises(Invalid):
        apply_json_patch({}, doubling)
    for patch in ({}, "x", [1]):
        with pytest.raises(BadRequest, match="cannot unmarshal"):
            apply_json_patch({}, patch)


@pytest.mark.parametrize(
    ("tree", "patch", "expected"),
    [  # RFC 7386, appendix A, as far as documents are objects
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({}, {"a": [{"b": None}]}, {"a": [{}]}),
        ({"a": 1}, None, {"a": 1}),
    ],
)
def test_merge_patch_gives(tree: Any, patch: Any, expected: Any) -> None:
    assert apply_merge_patch(tree, patch) == expected


def test_a_merge_patch_is_an_object() -> None:
    with pytest.raises(BadRequest) as refused:
        apply_merge_patch({}, [1])
    assert refused.value.message == (
        "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
    )


def containers(*items: Any, **more: Any) -> dict[str, Any]:
    return {"spec": {"template": {"spec": {"containers": list(items), **more}}}}


def named(*names: str) -> list[dict[str, str]]:
    return [{"name": name} for name in names]


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        (containers({"name": "b", "image": "b:2"}), "a b=b:2 c"),
        (containers({"name": "n"}), "n a b c"),
        (containers({"name": "n"}, {"name": "a"}), "n a b c"),
        (containers({"name": "c"}, {"name": "n"}), "a b c n"),
        (containers({"name": "c"}, {"name": "a"}), "b c a"),
        (containers({"name": "b", "$patch": "delete"}), "a c"),
        (containers({"name": "n"}, {"$patch": "replace"}), "n"),
        (containers({"$patch": "replace"}), ""),
        (containers(**{"$setElementOrder/containers": named("c", "b", "a")}), "c b a"),
        (containers(**{"$setElementOrder/containers": named("c", "a")}), "b c a"),
        (
            containers({"name": "n"}, {"name": "b", "$patch": "delete"},
                       **{"$setElementOrder/containers": named("a", "n", "c")}),
            "a n c",
        ),
        ({"spec": {"template": {"spec": {"containers": None}}}}, None),
        ({"spec": {"template": {"$patch": "delete"}}}, None),
    ],
)  # fmt: skip
def test_strategic_merge_of_containers(patch: Any, expected: str | None) -> None:
    patch = copy.deepcopy(patch)
    spec = patch["spec"]["template"].get("spec", {})
    if spec.get("containers") == [] and "$setElementOrder/containers" in spec:
        del spec["containers"]
    tree = containers(*named("a", "b", "c"))
    merged = apply_strategic_patch(tree, patch, DEPLOYMENT)
    found = merged["spec"]["template"].get("spec", {}).get("containers")
    text = None if found is None else " ".join(c["name"] + ("=" + c["image"] if "image" in c else "") for c in found)
    assert text == expected


@pytest.mark.parametrize(
    ("tree", "patch", "expected"),
    [
        ({"spec": {"replicas": 2}}, {"spec": {"replicas": None}}, {"spec": {}}),
        ({"spec": {"a": 1}}, {"spec": {"$patch": "replace", "b": 2}}, {"spec": {"b": 2}}),
        ({"spec": {"a": 1}}, {"spec": {"$patch": "merge", "b": 2}}, {"spec": {"a": 1, "b": 2}}),
        (
            {"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {}}}},
            {"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}},
            {"spec": {"strategy": {"type": "Recreate"}}},
        ),
        (
            {"metadata": {"finalizers": ["a", "b"]}},
            {"metadata": {"finalizers": ["c", "b"]}},
            {"metadata": {"finalizers": ["c", "a", "b"]}},
        ),
        (
            {"metadata": {"finalizers": ["a", "b", "c"]}},
            {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a", "c", "x"]}},
            {"metadata": {"finalizers": ["b"]}},
        ),
        ({"metadata": {"labels": {"a": "1"}}}, {"metadata": {"labels": {"b": "2", "c": None}}},
         {"metadata": {"labels": {"a": "1", "b": "2"}}}),
        (containers({"name": "a", "args": ["x", "y"]}), containers({"name": "a", "args": ["z"]}),
         containers({"name": "a", "args": ["z"]})),
        ({}, {"metadata": {"annotations": {"$keep": "yes", "$patch": "merge", "gone": None}}},
         {"metadata": {"annotations": {"$keep": "yes"}}}),
    ],
)  # fmt: skip
def test_strategic_merge_gives(tree: Any, patch: Any, expected: Any) -> None:
    assert apply_strategic_patch(tree, patch, DEPLOYMENT) == expected


@pytest.mark.parametrize(
    ("patch", "code", "message"),
    [
        ([1], 400, "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"),
        ({"spec": {"$patch": "frobnicate"}}, 500, "unknown patch type: frobnicate in map: map[$patch:frobnicate]"),
        ({"spec": {"$retainKeys": ["a"], "b": 1}}, 400, "invalid patch format of retainKeys"),
        ({"spec": {"$retainKeys": "a"}}, 400, "invalid patch format of retainKeys"),
        ({"$setElementOrder/x": 1}, 400, "invalid patch format of setElementOrder list"),
        ({"$deleteFromPrimitiveList/x": 1}, 400, "invalid patch format of primitive list"),
        (containers({"image": "x"}), 500, "map: map[image:x] does not contain declared merge key: name"),
        (containers([1]), 422, "lists of lists are not supported"),
        (containers({"$patch": "merge", "name": "a"}), 500, "merging lists cannot yet be specified in the patch"),
        (
            containers({"name": "n"}, **{"$setElementOrder/containers": [{"name": "a"}]}),
            500,
            "The order in patch list:\n[map[name:n]]\n doesn't match $setElementOrder list:\n[map[name:a]]\n",
        ),
    ],
)
def test_a_strategic_patch_is_refused_with_the_servers_words(patch: Any, code: int, message: str) -> None:
    with pytest.raises(ApiError) as refused:
        apply_strategic_patch(containers(*named("a", "b")), patch, DEPLOYMENT)
    assert (refused.value.status_code, refused.value.message) == (code, message)
    assert ("reason" in refused.value.as_status()) is (code != 500)


@pytest.mark.parametrize(
    ("type_name", "field", "key"),
    [
        ("meta.v1.ObjectMeta", "ownerReferences", "uid"),
        ("meta.v1.ObjectMeta", "finalizers", ""),
        ("core.v1.PodSpec", "volumes", "name"),
        ("core.v1.PodSpec", "hostAliases", "ip"),
        ("core.v1.PodSpec", "topologySpreadConstraints", "topologyKey"),
        ("core.v1.Container", "ports", "containerPort"),
        ("core.v1.Container", "volumeMounts", "mountPath"),
        ("core.v1.PodStatus", "conditions", "type"),
        ("core.v1.ServiceSpec", "ports", "port"),
        ("core.v1.NodeStatus", "addresses", "type"),
        ("core.v1.ServiceAccount", "secrets", "name"),
        ("apps.v1.StatefulSetStatus", "conditions", "type"),
    ],
)
def test_lists_that_merge(type_name: str, field: str, key: str) -> None:
    rule = MergeFacts(struct(type_name)).rule(field)
    assert (rule.merge, rule.key) == (True, key)


@pytest.mark.parametrize(
    ("type_name", "field"),
    [
        ("core.v1.PodSpec", "tolerations"),
        ("core.v1.PodSpec", "readinessGates"),
        ("core.v1.Container", "args"),
        ("core.v1.Container", "envFrom"),
        ("core.v1.PodStatus", "containerStatuses"),
        ("apps.v1.StatefulSetSpec", "volumeClaimTemplates"),
        ("core.v1.ServiceAccount", "imagePullSecrets"),
    ],
)
def test_lists_that_are_replaced(type_name: str, field: str) -> None:
    assert not MergeFacts(struct(type_name)).rule(field).merge


@given(st.dictionaries(st.sampled_from("abc"), json_values), st.dictionaries(st.sampled_from("abc"), json_values))
def test_patching_never_changes_what_it_is_given(tree: dict[str, Any], patch: dict[str, Any]) -> None:
    before = json.dumps([tree, patch])
    merged = apply_merge_patch(tree, patch)
    apply_strategic_patch(tree, patch, DEPLOYMENT)
    assert json.dumps([tree, patch]) == before
    assert apply_merge_patch(merged, patch) == merged
