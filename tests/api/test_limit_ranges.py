"""LimitRanges: defaults they give, bounds they hold, in upstream's words."""

from typing import Any

import pytest

from homeport.api.limit_ranges import ANNOTATION, claim_violations, pod_violations, set_defaults


def pod(*containers: dict[str, Any], init: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
    named = [{"name": f"c{number}", "resources": each} for number, each in enumerate(containers)]
    first = [{"name": f"i{number}", "resources": each} for number, each in enumerate(init)]
    return {"metadata": {"name": "p"}, "spec": {"containers": named, **({"initContainers": first} if first else {})}}


def limits(**item: Any) -> dict[str, Any]:
    return {"spec": {"limits": [{"type": "Container", **item}]}}


def test_defaults_fill_what_is_not_stated_and_say_so() -> None:
    subject = pod({}, {"requests": {"cpu": "2"}}, init=({"limits": {"cpu": "1"}},))
    set_defaults(subject, limits(default={"cpu": "500m", "memory": "1Gi"}, defaultRequest={"cpu": "100m"}))
    first, second = subject["spec"]["containers"]
    assert first["resources"] == {"requests": {"cpu": "100m"}, "limits": {"cpu": "500m", "memory": "1Gi"}}
    assert second["resources"]["requests"] == {"cpu": "2"}
    assert subject["metadata"]["annotations"][ANNOTATION] == (
        "LimitRanger plugin set: cpu request for container c0; cpu, memory limit for container c0; "
        "cpu, memory limit for container c1; cpu request for init container i0; memory limit for init container i0"
    )


def test_nothing_to_add_leaves_no_annotation() -> None:
    subject = pod({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}})
    set_defaults(subject, limits(default={"cpu": "2"}, defaultRequest={"cpu": "2"}))
    assert "annotations" not in subject["metadata"]


@pytest.mark.parametrize(
    ("item", "resources", "found"),
    [
        ({"max": {"cpu": "1"}}, {"limits": {"cpu": "1"}}, []),
        ({"max": {"cpu": "1"}}, {}, ["maximum cpu usage per Container is 1.  No limit is specified"]),
        (
            {"max": {"cpu": "1"}},
            {"limits": {"cpu": "1100m"}},
            ["maximum cpu usage per Container is 1, but limit is 1100m"],
        ),
        (
            {"max": {"memory": "1Gi"}},
            {"limits": {"memory": "1Gi"}, "requests": {"memory": "2Gi"}},
            ["maximum memory usage per Container is 1Gi, but request is 2Gi"],
        ),
        ({"min": {"cpu": "1"}}, {}, ["minimum cpu usage per Container is 1.  No request is specified"]),
        (
            {"min": {"cpu": "1"}},
            {"requests": {"cpu": "1"}, "limits": {"cpu": "500m"}},
            ["minimum cpu usage per Container is 1, but limit is 500m"],
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"requests": {"cpu": "200m"}, "limits": {"cpu": "500m"}},
            ["cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000"],
        ),
        (
            {"maxLimitRequestRatio": {"cpu": "2"}},
            {"limits": {"cpu": "1"}},
            ["cpu max limit to request ratio per Container is 2, but no request is specified or request is 0"],
        ),
        ({"maxLimitRequestRatio": {"cpu": "2500m"}}, {"requests": {"cpu": "2"}, "limits": {"cpu": "5"}}, []),
    ],
)
def test_bounds_of_a_container(item: dict[str, Any], resources: dict[str, Any], found: list[str]) -> None:
    assert pod_violations(pod(resources), limits(**item)) == found


def test_the_same_violation_of_two_containers_is_told_once() -> None:
    assert len(pod_violations(pod({}, {}), limits(max={"cpu": "1"}))) == 1


def test_a_pod_is_as_large_as_its_hungriest_moment() -> None:
    bound = {"spec": {"limits": [{"type": "Pod", "max": {"cpu": "1"}}]}}
    hungry = pod({"limits": {"cpu": "400m"}}, {"limits": {"cpu": "500m"}}, init=({"limits": {"cpu": "1200m"}},))
    assert pod_violations(hungry, bound) == ["maximum cpu usage per Pod is 1, but limit is 1200m"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("500Mi", ["minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi"]),
        ("5Gi", ["maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 5Gi"]),
        ("2Gi", []),
    ],
)
def test_claims(asked: str, found: list[str]) -> None:
    bound = {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}}
    claim = {"spec": {"resources": {"requests": {"storage": asked}}}}
    assert claim_violations(claim, {"spec": {"limits": [bound]}}) == found
