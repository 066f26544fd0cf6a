"""Bodies become trees: pruned, typed, canonical; what is wrong with them is said in the words of a Go decoder."""

import copy

import msgspec
import pytest
from hypothesis import given
from tests.api.generated import bodies, json_values

from homeport.api import decode
from homeport.api.resources import Gvk
from homeport.errors import BadRequest

POD = Gvk("", "v1", "Pod")
CONFIG_MAP = Gvk("", "v1", "ConfigMap")
SERVICE = Gvk("", "v1", "Service")
STATEFUL_SET = Gvk("apps", "v1", "StatefulSet")
DEPLOYMENT = Gvk("apps", "v1", "Deployment")
SECRET = Gvk("", "v1", "Secret")


def test_unknown_fields_go_and_are_reported_in_document_order() -> None:
    body = {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": "c", "imagee": "x"}], "foo": 1},
        "bar": {},
    }
    decoded = decode.decode(POD, body)
    assert decoded.findings == (
        'unknown field "spec.containers[0].imagee"',
        'unknown field "spec.foo"',
        'unknown field "bar"',
    )
    assert "bar" not in decoded.tree
    assert "foo" not in decoded.tree["spec"]
    assert decode.strict_error(POD, decoded.findings).message == (
        'Pod in version "v1" cannot be handled as a Pod: strict decoding error: '
        'unknown field "spec.containers[0].imagee", unknown field "spec.foo", unknown field "bar"'
    )


@pytest.mark.parametrize(
    ("gvk", "body", "got", "field", "wanted"),
    [
        (CONFIG_MAP, {"metadata": {"name": 5}}, "number", "ObjectMeta.metadata.name", "string"),
        (CONFIG_MAP, {"metadata": {"labels": {"a": True}}}, "bool", "ObjectMeta.metadata.labels", "string"),
        (CONFIG_MAP, {"data": []}, "array", "ConfigMap.data", "map[string]string"),
        (STATEFUL_SET, {"spec": {"replicas": "3"}}, "string", "StatefulSetSpec.spec.replicas", "int32"),
        (STATEFUL_SET, {"spec": {"replicas": 1.5}}, "number 1.5", "StatefulSetSpec.spec.replicas", "int32"),
        (STATEFUL_SET, {"spec": {"replicas": 2**31}}, f"number {2**31}", "StatefulSetSpec.spec.replicas", "int32"),
        (SERVICE, {"spec": {"ports": [{"port": "eighty"}]}}, "string", "ServicePort.spec.ports.port", "int32"),
        (SERVICE, {"spec": {"ports": [{"port": 80.5}]}}, "number 80.5", "ServicePort.spec.ports.port", "int32"),
        (
            SERVICE,
            {"spec": {"ports": [{"port": 1, "targetPort": True}]}},
            "bool",
            "ServicePort.spec.ports.targetPort",
            "int32",
        ),
        (POD, {"spec": {"containers": {}}}, "object", "PodSpec.spec.containers", "[]v1.Container"),
        (POD, {"spec": {"restartPolicy": 1}}, "number", "PodSpec.spec.restartPolicy", "v1.RestartPolicy"),
        (POD, {"spec": []}, "array", "Pod.spec", "v1.PodSpec"),
        (POD, {"spec": {"hostNetwork": "yes"}}, "string", "PodSpec.spec.hostNetwork", "bool"),
    ],
)
def test_wrong_types_are_refused_in_the_words_of_encoding_json(
    gvk: Gvk, body: dict, got: str, field: str, wanted: str
) -> None:
    with pytest.raises(BadRequest) as refused:
        decode.decode(gvk, body)
    assert refused.value.message == (
        f'{gvk.kind} in version "v1" cannot be handled as a {gvk.kind}: '
        f"json: cannot unmarshal {got} into Go struct field {field} of type {wanted}"
    )


@pytest.mark.parametrize(
    ("gvk", "body", "why"),
    [
        (POD, {"spec": {"containers": [{"resources": {"limits": {"cpu": "lots"}}}]}}, "quantities must match"),
        (POD, {"metadata": {"creationTimestamp": "today"}}, 'parsing time "today"'),
        (SECRET, {"data": {"a": "$"}}, "illegal base64 data at input byte 0"),
    ],
)
def test_malformed_scalars_are_refused(gvk: Gvk, body: dict, why: str) -> None:
    with pytest.raises(BadRequest, match=why):
        decode.decode(gvk, body)


def test_null_is_absent() -> None:
    assert decode.decode(CONFIG_MAP, None).tree == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}}
    tree = decode.decode(CONFIG_MAP, {"metadata": None, "data": {"a": None}, "immutable": None}).tree
    assert tree == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}, "data": {"a": ""}}


def test_empty_values_go_where_upstream_would_not_write_them_and_stay_where_it_would() -> None:
    body = {
        "metadata": {"name": "d", "labels": {}, "finalizers": []},
        "spec": {"replicas": 0, "paused": False, "minReadySeconds": 0, "selector": {}, "template": {}},
    }
    tree = decode.decode(DEPLOYMENT, body).tree
    assert tree["metadata"] == {"name": "d"}
    assert tree["spec"] == {
        "replicas": 0,  # a pointer: zero is a value
        "selector": {},
        "template": {"metadata": {}, "spec": {"containers": None}},
        "strategy": {},
    }
    assert tree["status"] == {}


def test_values_take_their_stored_form() -> None:
    body = {
        "metadata": {"creationTimestamp": "2026-01-01T02:00:00.5+02:00"},
        "spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": 0.1, "memory": "1024Mi", "x": 2}}}]},
    }
    tree = decode.decode(POD, body).tree
    assert tree["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
    assert tree["spec"]["containers"][0]["resources"]["limits"] == {"cpu": "100m", "memory": "1Gi", "x": "2"}


def test_names_are_case_sensitive() -> None:
    decoded = decode.decode(CONFIG_MAP, {"Metadata": {"name": "x"}, "metadata": {"name": "y"}})
    assert decoded.tree["metadata"] == {"name": "y"}
    assert decoded.findings == ('unknown field "Metadata"',)


def test_parts_are_brought_into_the_same_form() -> None:
    assert decode.normalise("core.v1.ResourceRequirements", {"limits": {"cpu": "1000m"}}) == {"limits": {"cpu": "1"}}
    with pytest.raises(ValueError, match="cannot unmarshal string"):
        decode.normalise("core.v1.PodSpec", {"containers": "x"})


def test_zero_values_hold_what_is_always_written() -> None:
    assert decode.empty("apps.v1.StatefulSetStatus") == {"replicas": 0, "availableReplicas": 0}
    assert decode.empty("core.v1.ServiceStatus") == {"loadBalancer": {}}


@given(bodies("core.v1.Pod", 3))
def test_what_was_decoded_decodes_to_itself(body: dict) -> None:
    try:
        once = decode.decode(POD, copy.deepcopy(body)).tree
    except BadRequest:
        return
    stored = msgspec.json.encode(once)
    again = decode.decode(POD, msgspec.json.decode(stored))
    assert again.tree == once
    assert again.findings == ()


@given(json_values)
def test_any_json_is_decoded_or_refused(body: object) -> None:
    try:
        decode.decode(POD, body)
    except BadRequest:
        return
