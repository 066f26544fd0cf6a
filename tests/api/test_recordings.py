"""Recorded creates and updates of a real server, followed without one: decode, default, prepare, validate.

What a server adds (uids, times, allocated addresses and ports, admission's defaults) is left out on both sides.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.vectors.load import load

from homeport.api import decode, services, strategy, tables
from homeport.api.defaults import apply_defaults
from homeport.api.patch import apply_merge_patch
from homeport.api.resources import BY_GVK, BY_PATH, Gvk, Resource
from homeport.api.validation import invalid, validate_create, validate_update, warnings_for
from homeport.clock import rfc3339
from homeport.errors import ApiError

Tree = dict[str, Any]

TOPICS = (
    "defaults-pods", "defaults-workloads", "defaults-services", "defaults-kinds",
    "validation-pods", "validation-kinds", "validation-services",
)  # fmt: skip
ALLOCATION = ("already allocated", "valid range", "match the current range", "is forbidden")
PATH = re.compile(
    r"^/(?:api|apis/(?P<group>[^/]+))/(?P<version>v1)(?:/namespaces/[^/]+(?=/))?/(?P<plural>[a-z]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<sub>[a-z]+))?$"
)
NOW = 1_800_000_000.0


def scenarios(*topics: str, fit: Callable[[Any], bool] = bool) -> list[Any]:
    """Return the scenarios of some topics that fit: those about kinds served here, without the server's own part."""
    return [
        pytest.param(scenario, id=scenario["name"])
        for topic in topics
        for scenario in load("api", topic)["scenarios"]
        if fit(scenario)
    ]


def resource_of(path: str) -> tuple[Resource | None, str, str]:
    found = PATH.match(path.partition("?")[0])
    if found is None:
        return None, "", ""
    resource = BY_PATH.get((found["group"] or "", "v1", found["plural"]))
    return resource, found["name"] or "", found["sub"] or ""


def fill(value: Any) -> Any:
    """Put something in for placeholders of requests and stored objects."""
    if isinstance(value, dict):
        return {key: fill(each) for key, each in value.items()}
    if isinstance(value, list):
        return [fill(each) for each in value]
    if not isinstance(value, str):
        return value
    if value == "<time>":
        return rfc3339(NOW - 100)
    if value.startswith("<port:"):
        return 30000 + int(value[6:-1])
    text = re.sub(r"<repeat:(.):(\d+)>", lambda found: found[1] * int(found[2]), value)
    text = re.sub(r"<port:(\d+)>", lambda found: str(30000 + int(found[1])), text)
    text = re.sub(r"<uid:(\d+)>", r"00000000-0000-4000-8000-00000000000\1", text)
    return re.sub(r"<ip:(\d+)>", r"10.96.7.\1", text)


def create(gvk: Gvk, body: Tree, namespace: str) -> Tree:
    tree = decode.decode(gvk, fill(body)).tree
    if BY_GVK[gvk].namespaced:
        tree["metadata"]["namespace"] = namespace
    apply_defaults(gvk, tree)
    if gvk.kind == "Service":
        services.mirror_cluster_ip(tree)
        if violations := services.settle_families(tree, None, ("IPv4",)):
            raise invalid(gvk, tree["metadata"].get("name", ""), violations)
    tree["metadata"]["uid"] = fill("<uid:1>")
    strategy.prepare_for_create(gvk, tree, now=NOW)
    if violations := validate_create(gvk, tree):
        raise invalid(gvk, tree["metadata"].get("name", ""), violations)
    return tree


def without_the_servers_part(tree: Tree) -> Tree:
    out: Tree = re_timed(tree)
    metadata = {
        key: value
        for key, value in out["metadata"].items()
        if key not in ("uid", "creationTimestamp", "resourceVersion", "namespace", "managedFields")
    }
    out = {**out, "metadata": metadata}
    if out["kind"] == "Pod":
        admitted = ("priority", "preemptionPolicy", "tolerations")
        out["spec"] = {key: value for key, value in out["spec"].items() if key not in admitted}
    if out["kind"] == "Node":
        out["spec"] = {key: value for key, value in out["spec"].items() if key != "taints"}
    if out["kind"] == "Service":
        allocated = ("clusterIP", "clusterIPs", "healthCheckNodePort")
        spec = {key: value for key, value in out["spec"].items() if key not in allocated}
        if "ports" in spec:
            spec["ports"] = [{k: v for k, v in port.items() if k != "nodePort"} for port in spec["ports"]]
        out["spec"] = spec
    return out


def re_timed(value: Any) -> Any:
    """Blank out every time."""
    if isinstance(value, dict):
        return {key: re_timed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [re_timed(each) for each in value]
    if isinstance(value, str) and re.match(r"^\d{4}-\d\d-\d\dT", value):
        return "<time>"
    return value


def is_plain_create(scenario: Any) -> bool:
    request, response = scenario["steps"][0]["request"], scenario["steps"][0]["response"]
    resource, name, _ = resource_of(request["path"])
    plain = request["method"] == "POST" and "?" not in request["path"] and isinstance(request.get("body"), dict)
    message = response["body"].get("message", "") if plain else ""
    return resource is not None and not name and plain and not any(word in message for word in ALLOCATION)


@pytest.mark.parametrize("scenario", scenarios(*TOPICS, fit=is_plain_create))
def test_a_create_leads_to_the_recorded_object_or_refusal(scenario: Any) -> None:
    request, response = scenario["steps"][0]["request"], scenario["steps"][0]["response"]
    body, expected = request["body"], response["body"]
    group, _, version = body.get("apiVersion", "v1").rpartition("/")
    gvk = Gvk(group, version, body["kind"])
    tree = outcome(lambda: create(gvk, body, scenario.get("namespace", "")))
    if expected["kind"] == "Status":
        assert tree == fill(expected)
        return
    assert without_the_servers_part(tree) == without_the_servers_part(fill(expected))
    recorded = [line.removeprefix('299 - "').removesuffix('"') for line in response["headers"].get("Warning", [])]
    said = [text.replace("\\", "\\\\").replace('"', '\\"') for text in warnings_for(gvk, tree)]
    if body["kind"] != "Endpoints":  # deprecated as a whole, whatever the object: the server says so
        assert said == recorded


def is_update(scenario: Any) -> bool:
    """A revision's update is left out: upstream compares the spelling of its data, which does not survive here."""
    resource, _, _ = resource_of(scenario["steps"][0]["request"]["path"])
    return resource is not None and scenario["name"] != "validation-updates-controllerrevisions-revision"


@pytest.mark.parametrize("scenario", scenarios("validation-updates", fit=is_update))
def test_an_update_leads_to_the_recorded_object_or_refusal(scenario: Any) -> None:
    first, second = scenario["steps"][0], scenario["steps"][1]
    resource, _, _ = resource_of(first["request"]["path"])
    assert resource is not None
    gvk, old = resource.gvk, fill(first["response"]["body"])
    expected = fill(second["response"]["body"])
    new = outcome(lambda: update(gvk, old, fill(second["request"]["body"])))
    if expected["kind"] == "Status":
        assert new == expected
    else:
        assert without_the_servers_part(new) == without_the_servers_part(expected)


def update(gvk: Gvk, old: Tree, patch: Tree) -> Tree:
    new = decode.decode(gvk, apply_merge_patch(old, patch)).tree
    apply_defaults(gvk, new)
    if gvk.kind == "Service":
        services.carry_over(new, old)
        if violations := services.settle_families(new, old, ("IPv4",)):
            raise invalid(gvk, new["metadata"]["name"], violations)
    strategy.prepare_for_update(gvk, new, old, now=NOW)
    if violations := validate_update(gvk, new, old):
        raise invalid(gvk, new["metadata"]["name"], violations)
    return new


def outcome(attempt: Callable[[], Tree]) -> Tree:
    """Return what an attempt gives: the object, or the Status of its refusal."""
    try:
        return attempt()
    except ApiError as error:
        return error.as_status()


def replayed(scenario: Any) -> Iterator[tuple[Resource, Tree, Tree]]:
    """Yield (resource, object, recorded row) for every row of a table scenario."""
    objects: dict[str, Tree] = {}
    for step in scenario["steps"]:
        request, answer = step["request"], step["response"].get("body")
        resource, name, _ = resource_of(request["path"])
        if resource is None or not isinstance(answer, dict):
            return
        body = request.get("body")
        match request["method"]:
            case "POST" if answer.get("kind") == resource.kind:
                objects[answer["metadata"]["name"]] = fill(answer)
            case "PATCH" if name in objects:
                patched = decode.decode(resource.gvk, apply_merge_patch(objects[name], fill(body))).tree
                apply_defaults(resource.gvk, patched)
                objects[name] = patched
            case "DELETE" if name in objects:
                objects[name]["metadata"]["deletionTimestamp"] = rfc3339(NOW)
            case "GET" if answer.get("kind") == "Table":
                for row in answer["rows"]:
                    shown = (row["object"] or {}).get("metadata", {}).get("name", name)
                    if shown in objects:
                        yield resource, objects[shown], {**row, "columns": answer["columnDefinitions"]}


@pytest.mark.parametrize("scenario", scenarios("tables-1", "tables-2"))
def test_a_row_reads_as_recorded(scenario: Any) -> None:
    for resource, tree, recorded in replayed(scenario):
        columns = [{k: v for k, v in each.items() if k != "description"} for each in tables.columns(resource.gvk)]
        assert columns == recorded["columns"]
        row = tables.row(resource.gvk, tree, NOW)
        assert row.get("conditions") == recorded.get("conditions")
        assert len(row["cells"]) == len(recorded["cells"])
        for cell, expected in zip(row["cells"], recorded["cells"], strict=True):
            if isinstance(expected, str):
                pattern = re.sub("<age>", r"[0-9a-z]+", re.escape(fill(expected)))
                assert re.fullmatch(pattern, cell) or expected.startswith("<time")
            else:
                assert cell == expected
                assert type(cell) is type(expected)
