"""Cells beyond those recorded: ages, endings, lists cut short."""

from typing import Any

import pytest
from tests.api.objects import NOW, POD, created, pod

from homeport.api import tables
from homeport.api.resources import RESOURCES, Gvk
from homeport.api.tables.cells import human_duration, some
from homeport.clock import rfc3339

DAY = 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-2, "<invalid>"), (-1, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (599, "9m59s"), (600, "10m"),
        (10799, "179m"), (10800, "3h"), (10860, "3h1m"), (28800, "8h"), (2 * DAY - 1, "47h"), (2 * DAY, "2d"),
        (2 * DAY + 3600, "2d1h"), (8 * DAY, "8d"), (729 * DAY, "729d"), (730 * DAY, "2y"), (731 * DAY, "2y1d"),
        (8 * 365 * DAY + 5, "8y"),
    ],
)  # fmt: skip
def test_ages(seconds: int, text: str) -> None:
    assert human_duration(seconds) == text


def test_long_lists_are_cut() -> None:
    assert some(["a", "b", "c"], "none") == "a,b,c"
    assert some(["a", "b", "c", "d", "e"], "none") == "a,b,c + 2 more..."
    assert some([], "none") == "none"


def cells(**status: Any) -> dict[str, Any]:
    tree = created(POD, pod(initContainers=[{"name": "i", "image": "a"}, {"name": "j", "image": "a"}]))
    tree["metadata"]["creationTimestamp"] = rfc3339(NOW - 90)
    tree["status"] |= status
    names = [column["name"] for column in tables.columns(POD)]
    return dict(zip(names, tables.row(POD, tree, NOW)["cells"], strict=True))


def test_restarts_stop_counting_at_the_init_container_at_work() -> None:
    stuck = {"name": "i", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    later = {"name": "j", "restartCount": 5, "state": {"waiting": {"reason": "PodInitializing"}}}
    shown = cells(initContainerStatuses=[stuck, later])
    assert (shown["Status"], shown["Restarts"], shown["Age"]) == ("Init:CrashLoopBackOff", "2", "90s")


def test_the_last_restart_is_dated() -> None:
    ended = {"terminated": {"exitCode": 1, "finishedAt": rfc3339(NOW - 30)}}
    running = {"name": "c", "ready": True, "restartCount": 3, "state": {"running": {}}, "lastState": ended}
    shown = cells(phase="Running", containerStatuses=[running])
    assert (shown["Ready"], shown["Restarts"]) == ("1/1", "3 (30s ago)")


@pytest.mark.parametrize("resource", RESOURCES, ids=lambda resource: f"{resource.kind}.{resource.group}")
def test_every_served_kind_has_as_many_cells_as_columns(resource: Any) -> None:
    template: dict[str, Any] = {"spec": {}}
    spec = {"template": template, "jobTemplate": {"spec": {"template": template}}}
    bare: dict[str, Any] = {"metadata": {"name": "x"}, "spec": spec, "template": template}
    unnamed = resource.kind == "IPAddress"  # its age has no column upstream
    assert len(tables.row(resource.gvk, bare, NOW)["cells"]) == len(tables.columns(resource.gvk)) + unnamed


def test_unknown_kinds_show_their_name_and_birth() -> None:
    thing = Gvk("example.com", "v1", "Thing")
    tree = {"metadata": {"name": "x", "creationTimestamp": rfc3339(NOW)}}
    assert [column["name"] for column in tables.columns(thing)] == ["Name", "Created At"]
    assert tables.row(thing, tree, NOW) == {"cells": ["x", rfc3339(NOW)]}
