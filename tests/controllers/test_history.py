"""Revisions: bytes, names, numbers and what is kept of them."""

import pytest

from homeport.controllers import history
from homeport.controllers.history import ApplyNumber, NewRevision, Revision

CONTAINER = {
    "name": "test",
    "image": "test",
    "resources": {},
    "terminationMessagePath": "/dev/termination-log",
    "terminationMessagePolicy": "File",
    "imagePullPolicy": "Always",
}
TEMPLATE = {
    "metadata": {"annotations": {"test": "value"}, "labels": {"app": "foo"}, "creationTimestamp": None},
    "spec": {
        "containers": [CONTAINER],
        "restartPolicy": "Always",
        "terminationGracePeriodSeconds": 30,
        "dnsPolicy": "ClusterFirst",
        "securityContext": {},
        "schedulerName": "default-scheduler",
    },
}


def revision(name: str, number: int, data: bytes = b"") -> Revision:
    return Revision(name, name, number, "2026-01-01T00:00:00Z", data or name.encode(), {})


def test_vector_3_1_data_and_hash_are_upstreams_to_the_bit():
    data = history.canonical(history.template_data(TEMPLATE))
    assert len(data) == 432
    assert history.hash_of(data, 0) == "776999688b"


def test_characters_that_mean_something_to_html_are_escaped():
    assert history.canonical({"b": "<&>\u2028", "a": "é"}) == '{"a":"é","b":"\\u003c\\u0026\\u003e\\u2028"}'.encode()


def test_a_collision_moves_the_name():
    data = history.canonical(history.template_data(TEMPLATE))
    assert len({history.hash_of(data, collisions) for collisions in range(20)}) == 20


def test_a_long_owner_name_is_cut():
    assert len(history.revision_name("x" * 300, "776999688b")) == 234


@pytest.mark.parametrize(
    ("numbers", "data", "expected"),
    [
        ("", b"a", NewRevision(1)),
        ("a", b"a", revision("a", 1)),
        ("ab", b"b", revision("b", 2)),
        ("ab", b"a", ApplyNumber(revision("a", 1), 3)),
        ("ab", b"c", NewRevision(3)),
    ],
)
def test_the_template_finds_its_revision(numbers, data, expected):
    known = [revision(name, number) for number, name in enumerate(numbers, 1)]
    assert history.choose(known, data) == expected


@pytest.mark.parametrize(
    ("live", "limit", "deleted"),
    [("e", 10, ""), ("e", 2, "ab"), ("ae", 1, "bc"), ("e", 0, "abcd"), ("", -1, ""), ("abcde", 0, "")],
)
def test_history_keeps_what_is_in_use_and_the_newest_of_the_rest(live, limit, deleted):
    known = [revision(name, number) for number, name in enumerate("abcde", 1)]
    assert "".join(each.name for each in history.surplus(known, set(live), limit)) == deleted
