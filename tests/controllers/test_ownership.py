"""Who keeps, adopts and lets go of whom."""

import pytest

from homeport.controllers.ownership import adoption_patch, claim, release_patch

OWNER = {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "web", "uid": "owner"}}
GOING = {**OWNER, "metadata": {**OWNER["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}}


def child(owner: str | None, *, app: str = "web", terminating: bool = False):
    metadata = {"name": "x", "uid": "child", "labels": {"app": app}}
    if owner is not None:
        metadata["ownerReferences"] = [{"kind": "StatefulSet", "name": "web", "uid": owner, "controller": True}]
    if terminating:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    return {"metadata": metadata}


@pytest.mark.parametrize(
    ("owner", "subject", "verdict"),
    [
        pytest.param(OWNER, child("other"), "ignored", id="another's"),
        pytest.param(OWNER, child("owner"), "kept", id="ours"),
        pytest.param(OWNER, child("owner", terminating=True), "kept", id="ours, on its way out"),
        pytest.param(OWNER, child("owner", app="x"), "released", id="ours no more"),
        pytest.param(GOING, child("owner", app="x"), "ignored", id="ours no more, but we go too"),
        pytest.param(GOING, child("owner"), "kept", id="ours to the end"),
        pytest.param(OWNER, child(None), "adopted", id="an orphan that fits"),
        pytest.param(OWNER, child(None, app="x"), "ignored", id="an orphan that does not"),
        pytest.param(OWNER, child(None, terminating=True), "ignored", id="an orphan on its way out"),
        pytest.param(GOING, child(None), "ignored", id="an orphan, but we go"),
    ],
)
def test_claims(owner, subject, verdict):
    claimed = claim(owner, [subject], lambda each: each["metadata"]["labels"]["app"] == "web")
    found = {
        "kept": claimed.kept,
        "adopted": claimed.adopt,
        "released": claimed.release,
    }
    assert [name for name, children in found.items() if children] == ([] if verdict == "ignored" else [verdict])


def test_patches_are_meant_for_one_child_only():
    assert adoption_patch(OWNER, child(None))["metadata"] == {
        "uid": "child",
        "ownerReferences": [
            {
                "apiVersion": "apps/v1",
                "kind": "StatefulSet",
                "name": "web",
                "uid": "owner",
                "controller": True,
                "blockOwnerDeletion": True,
            }
        ],
    }
    assert release_patch(OWNER, child("owner"))["metadata"] == {
        "uid": "child",
        "ownerReferences": [{"$patch": "delete", "uid": "owner"}],
    }
