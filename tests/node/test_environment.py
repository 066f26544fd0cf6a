"""Environment, expansion, argv and what the downward API says, by table."""

import base64
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.node.command import NoCommand, argv, expand
from homeport.node.environment import ConfigError, Facts, build_environment, service_variables
from homeport.node.fields import format_map
from homeport.node.pod import Pod, parse_pod
from homeport.node.resources import container_limits


class Known:
    """ConfigMaps and Secrets by name."""

    def __init__(self, **objects: Mapping[str, str]) -> None:
        self._objects = objects

    def config_map(self, namespace: str, name: str) -> Any:
        return {"data": self._objects[name]} if name in self._objects else None

    def secret(self, namespace: str, name: str) -> Any:
        if name not in self._objects:
            return None
        return {"data": {k: base64.b64encode(v.encode()).decode() for k, v in self._objects[name].items()}}


def pod(container: Mapping[str, Any], **spec: Any) -> Pod:
    return parse_pod(
        {
            "metadata": {
                "name": "web-0",
                "namespace": "db",
                "uid": "u-1",
                "labels": {"app": "web", "tier": 'a"b'},
                "annotations": {"note": "x\ny"},
            },
            "spec": {"containers": [{"name": "main", "image": "app:1", **container}], "nodeName": "n1", **spec},
        }
    )


def variables(container: Mapping[str, Any], known: Known | None = None, **spec: Any) -> dict[str, str]:
    of = pod(container, **spec)
    facts = Facts(("10.244.0.1",), ("10.244.0.7",), {"cpu": "4", "memory": "8Gi"})
    return dict(build_environment(of, of.containers[0], known or Known(), facts).own)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"), ("$(A)$(B)", "12"), ("$$(A)", "$(A)"), ("$$$(A)", "$1"), ("$(NONE)", "$(NONE)"), ("$A", "$A"),
        ("$(A", "$(A"), ("$", "$"), ("$$", "$"), ("a$b", "a$b"), ("$()", "$()"), ("$(A) $(A)", "1 1"), ("$(B)", "2"),
    ],
)  # fmt: skip
def test_expansion(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


@given(st.text(alphabet="$()AB ", max_size=30))
def test_text_without_references_is_kept(text: str) -> None:
    assert expand(text.replace("$", ""), {"A": "1"}) == text.replace("$", "")


@pytest.mark.parametrize(
    ("entrypoint", "image", "command", "args", "expected"),
    [
        (("e",), ("c",), None, None, ("e", "c")),
        (("e",), ("c",), None, ["a"], ("e", "a")),
        (("e",), ("c",), ["x"], None, ("x",)),
        (("e",), ("c",), ["x"], ["a"], ("x", "a")),
        ((), ("c",), None, None, ("c",)),
        (("$(V)",), (), None, ["$(V)"], ("$(V)", "1")),
    ],
)
def test_image_and_spec_make_the_command(
    entrypoint: tuple[str, ...], image: tuple[str, ...], command: Any, args: Any, expected: tuple[str, ...]
) -> None:
    assert argv(entrypoint, image, command, args, {"V": "1"}) == expected


def test_no_command_at_all() -> None:
    with pytest.raises(NoCommand, match="no command specified"):
        argv((), (), None, None, {})


def field(path: str) -> dict[str, Any]:
    return {"name": "V", "valueFrom": {"fieldRef": {"fieldPath": path}}}


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("metadata.name", "web-0"), ("metadata.namespace", "db"), ("metadata.uid", "u-1"),
        ("metadata.labels['app']", "web"), ("metadata.labels['none']", ""), ("metadata.annotations['note']", "x\ny"),
        ("spec.nodeName", "n1"), ("spec.serviceAccountName", "default"), ("status.hostIP", "10.244.0.1"),
        ("status.podIP", "10.244.0.7"), ("status.podIPs", "10.244.0.7"),
    ],
)  # fmt: skip
def test_field_references(path: str, expected: str) -> None:
    assert variables({"env": [field(path)]}) == {"V": expected}


@pytest.mark.parametrize(
    ("resource", "divisor", "expected"),
    [
        ("limits.cpu", None, "1"), ("limits.cpu", "1m", "250"), ("requests.memory", "1Mi", "64"),
        ("limits.memory", None, str(8 << 30)), ("requests.cpu", "0", "1"), ("limits.ephemeral-storage", None, "0"),
    ],
)  # fmt: skip
def test_resource_references_round_up(resource: str, divisor: str | None, expected: str) -> None:
    reference = {"resource": resource, **({"divisor": divisor} if divisor else {})}
    container = {
        "resources": {"limits": {"cpu": "250m"}, "requests": {"memory": "64Mi", "cpu": "10m"}},
        "env": [{"name": "V", "valueFrom": {"resourceFieldRef": reference}}],
    }
    assert variables(container) == {"V": expected}


def test_later_sources_win_and_earlier_names_can_be_used() -> None:
    container = {
        "envFrom": [
            {"configMapRef": {"name": "one"}},
            {"prefix": "P_", "secretRef": {"name": "two"}},
            {"configMapRef": {"name": "none", "optional": True}},
        ],
        "env": [
            {"name": "B", "value": "$(A)-$(P_X)"},
            {"name": "A", "value": "own"},
            {"name": "C", "value": "$(A) $(LATER)"},
            {"name": "LATER", "value": "x"},
        ],
    }
    found = variables(container, Known(one={"A": "map"}, two={"X": "secret"}))
    assert found == {"A": "own", "P_X": "secret", "B": "map-secret", "C": "own $(LATER)", "LATER": "x"}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMapKeyRef": {"name": "x", "key": "k"}}, 'configmap "x" not found'),
        ({"secretKeyRef": {"name": "x", "key": "k"}}, 'secret "x" not found'),
        ({"configMapKeyRef": {"name": "one", "key": "k"}}, "couldn't find key k in ConfigMap db/one"),
        ({"secretKeyRef": {"name": "one", "key": "k"}}, "couldn't find key k in Secret db/one"),
    ],
)
def test_what_is_missing_is_named_unless_optional(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        variables({"env": [{"name": "V", "valueFrom": source}]}, Known(one={}))
    assert str(caught.value) == message
    ((kind, reference),) = source.items()
    optional = {kind: {**reference, "optional": True}}
    assert variables({"env": [{"name": "V", "valueFrom": optional}]}, Known(one={})) == {}


SERVICES = [
    {
        "metadata": {"namespace": "db", "name": "redis-primary"},
        "spec": {"clusterIP": "10.0.0.11", "ports": [{"name": "db", "port": 6379, "protocol": "TCP"}]},
    },
    {"metadata": {"namespace": "db", "name": "headless"}, "spec": {"clusterIP": "None", "ports": [{"port": 1}]}},
    {"metadata": {"namespace": "other", "name": "far"}, "spec": {"clusterIP": "10.0.0.12", "ports": [{"port": 1}]}},
    {
        "metadata": {"namespace": "default", "name": "kubernetes"},
        "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "https", "port": 443}]},
    },
]


def test_service_variables_are_those_of_the_namespace_and_of_kubernetes() -> None:
    found = service_variables(pod({}), SERVICES)
    assert {name: value for name, value in found.items() if name.startswith("REDIS")} == {
        "REDIS_PRIMARY_SERVICE_HOST": "10.0.0.11",
        "REDIS_PRIMARY_SERVICE_PORT": "6379",
        "REDIS_PRIMARY_SERVICE_PORT_DB": "6379",
        "REDIS_PRIMARY_PORT": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP": "tcp://10.0.0.11:6379",
        "REDIS_PRIMARY_PORT_6379_TCP_PROTO": "tcp",
        "REDIS_PRIMARY_PORT_6379_TCP_PORT": "6379",
        "REDIS_PRIMARY_PORT_6379_TCP_ADDR": "10.0.0.11",
    }
    assert found["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"
    assert not any(name.startswith(("HEADLESS", "FAR")) for name in found)
    without = service_variables(pod({}, enableServiceLinks=False), SERVICES)
    assert {name.split("_")[0] for name in without} == {"KUBERNETES"}


def test_a_namespaces_own_kubernetes_and_other_families() -> None:
    """Services-dns 16.3: it replaces the default one where links are on; brackets are for addresses in URLs alone."""
    own = {
        "metadata": {"namespace": "db", "name": "kubernetes"},
        "spec": {"clusterIP": "fd00::7", "ports": [{"port": 1}]},
    }
    linked = service_variables(pod({}), [*SERVICES, own])
    assert linked["KUBERNETES_SERVICE_HOST"] == "fd00::7"
    assert linked["KUBERNETES_PORT"] == linked["KUBERNETES_PORT_1_TCP"] == "tcp://[fd00::7]:1"
    assert linked["KUBERNETES_PORT_1_TCP_ADDR"] == "fd00::7"
    assert service_variables(pod({}), [own, *SERVICES])["KUBERNETES_SERVICE_HOST"] == "fd00::7"
    alone = service_variables(pod({}, enableServiceLinks=False), [*SERVICES, own])
    assert alone["KUBERNETES_SERVICE_HOST"] == "10.96.0.1"


def test_explicit_variables_win_over_services_and_image() -> None:
    of = pod({"env": [{"name": "REDIS_PRIMARY_PORT", "value": "6379"}]})
    built = build_environment(of, of.containers[0], Known(), Facts(services=SERVICES))
    whole = dict(built.over([("PATH", "/bin"), ("REDIS_PRIMARY_SERVICE_HOST", "image")]))
    assert whole["REDIS_PRIMARY_PORT"] == "6379"
    assert whole["REDIS_PRIMARY_SERVICE_HOST"] == "10.0.0.11"
    assert whole["PATH"] == "/bin"


def test_maps_are_sorted_and_quoted_as_go_does() -> None:
    assert format_map({"b": 'say "hi"', "a": "x\ny"}) == 'a="x\\ny"\nb="say \\"hi\\""'


@pytest.mark.parametrize(
    ("resources", "shares", "quota", "memory"),
    [
        ({}, 2, 0, 0),
        ({"requests": {"cpu": "1"}}, 1024, 0, 0),
        ({"limits": {"cpu": "250m", "memory": "64Mi"}}, 256, 25_000, 64 << 20),
        ({"limits": {"cpu": "5m"}}, 5, 1000, 0),
    ],
)
def test_limits_for_the_kernel(resources: dict[str, Any], shares: int, quota: int, memory: int) -> None:
    of = pod({"resources": resources})
    limits = container_limits(of, of.containers[0], 8 << 30)
    assert (limits.cpu_shares, limits.cpu_quota_microseconds, limits.memory_bytes) == (shares, quota, memory)
