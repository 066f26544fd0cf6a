"""Claims and volumes find each other: who matches whom, in which order things are written, what is said when not."""

from dataclasses import replace

import pytest

from homeport.api.quantity import parse_quantity
from homeport.api.selectors import label_selector_from_object
from homeport.controllers.volumes.model import (
    BIND_COMPLETED,
    BOUND_BY_CONTROLLER,
    PROVISIONED_BY,
    SELECTED_NODE,
    STORAGE_PROVISIONERS,
    Claim,
    ClaimRef,
    StorageClass,
    Volume,
)
from homeport.controllers.volumes.protection import CLAIM_FINALIZER, protected
from homeport.controllers.volumes.provisioner import PROVISIONER, growth, is_reclaimable, volume_body, wants_volume
from homeport.controllers.volumes.reconcile import (
    AnnounceProvisioner,
    AssignClass,
    BindClaim,
    BindVolume,
    DeleteVolume,
    Notice,
    ReleaseVolume,
    SetClaimPhase,
    SetVolumePhase,
    best_match,
    default_class,
    mismatch,
    reconcile_claim,
    reconcile_volume,
)

ONE = parse_quantity("1Gi")
CLAIM = Claim(
    namespace="ns",
    name="data",
    uid="claim-uid",
    class_name="local",
    requested=ONE,
    request_text="1Gi",
    access_modes=frozenset({"ReadWriteOnce"}),
    volume_mode="Filesystem",
    selector=None,
    volume_name="",
    phase="Pending",
    capacity=None,
    annotations={},
)
VOLUME = Volume(
    name="v",
    uid="volume-uid",
    class_name="local",
    capacity=ONE,
    access_modes=frozenset({"ReadWriteOnce", "ReadOnlyMany"}),
    volume_mode="Filesystem",
    labels={"tier": "x"},
    annotations={},
    claim=None,
    phase="Available",
    reclaim="Retain",
)
IMMEDIATE = StorageClass("local", "example.com/p", False, "Delete", True, False, "")
WAITING = replace(IMMEDIATE, waits_for_consumer=True)
NOTHING_THERE = "no persistent volumes available for this claim and no storage class is set"
BOUND_CLAIM = replace(CLAIM, volume_name="v", phase="Bound", annotations={BIND_COMPLETED: "yes"}, capacity=ONE)
BOUND_VOLUME = replace(VOLUME, claim=ClaimRef("ns", "data", "claim-uid"), phase="Bound")


def test_the_volume_is_written_before_the_claim() -> None:
    actions = reconcile_claim(CLAIM, {"v": VOLUME}, {"local": IMMEDIATE})
    assert actions == [
        BindVolume(VOLUME, CLAIM, by_controller=True),
        SetVolumePhase(VOLUME, "Bound"),
        BindClaim(CLAIM, VOLUME),
        SetClaimPhase(CLAIM, "Bound", VOLUME),
    ]


def test_a_binding_cut_off_goes_on_where_it_stopped() -> None:
    assert reconcile_claim(CLAIM, {"v": BOUND_VOLUME}, {"local": IMMEDIATE}) == [
        BindClaim(CLAIM, BOUND_VOLUME),
        SetClaimPhase(CLAIM, "Bound", BOUND_VOLUME),
    ]
    assert reconcile_claim(BOUND_CLAIM, {"v": BOUND_VOLUME}, {"local": IMMEDIATE}) == []


def test_a_reservation_by_name_is_completed_without_a_mark() -> None:
    reserved = replace(VOLUME, claim=ClaimRef("ns", "data"))
    assert reconcile_claim(CLAIM, {"v": reserved}, {})[0] == BindVolume(reserved, CLAIM, by_controller=False)


def test_the_smallest_that_fits_is_taken_but_a_reserved_one_first() -> None:
    big, small = replace(VOLUME, name="a", capacity=parse_quantity("5Gi")), replace(VOLUME, name="b")
    assert best_match(CLAIM, [big, small]) == small
    reserved = replace(big, name="c", claim=ClaimRef("ns", "data"))
    assert best_match(CLAIM, [small, reserved]) == reserved
    assert best_match(CLAIM, [small], reserved_only=True) is None
    assert best_match(CLAIM, [replace(small, terminating=True), replace(small, phase="Released")]) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"capacity": parse_quantity("1Mi")}, "requested PV is too small"),
        ({"class_name": "other"}, "storageClassName does not match"),
        ({"volume_mode": "Block"}, "incompatible volumeMode"),
        ({"access_modes": frozenset({"ReadWriteMany"})}, "incompatible accessMode"),
        ({"terminating": True, "capacity": parse_quantity("1Mi")}, 'the volume is marked for deletion "v"'),
        ({}, ""),
    ],
)
def test_a_mismatch_is_named(change: dict[str, object], reason: str) -> None:
    assert mismatch(CLAIM, replace(VOLUME, **change)) == reason  # type: ignore[arg-type]


def volume(name: str, size: str, *modes: str, reserved: bool = False, class_name: str = "local") -> Volume:
    claim = ClaimRef("ns", "data") if reserved else None
    named = {"access_modes": frozenset(modes), "claim": claim, "class_name": class_name}
    return replace(VOLUME, name=name, capacity=parse_quantity(size), **named)  # type: ignore[arg-type]


RWO, ROX, RWX = "ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"


@pytest.mark.parametrize(
    ("volumes", "chosen"),
    [
        pytest.param([volume("a", "2Gi", RWO, RWX), volume("b", "9Gi", RWO)], "b", id="fewer modes before less space"),
        pytest.param([volume("a", "2Gi", RWO, RWX), volume("b", "1Gi", RWO, ROX, RWX)], "a", id="of more modes"),
        pytest.param([volume("a", "9Gi", RWO), volume("b", "2Gi", RWO)], "b", id="the smallest"),
        pytest.param([volume("a", "1Gi", RWO), volume("b", "9Gi", RWO, reserved=True)], "b", id="a reserved one"),
        pytest.param(
            [volume("a", "1Gi", RWO), volume("b", "9Gi", RWO, RWX, reserved=True)], "a", id="not one of more modes"
        ),
        pytest.param([volume("a", "1Gi", RWO, reserved=True, class_name="x")], "a", id="reserved in any class"),
        pytest.param([volume("a", "1Mi", RWO, reserved=True)], None, id="reserved and too small"),
        pytest.param([volume("a", "1Gi", RWX)], None, id="modes that are not there"),
    ],
)
def test_which_volume_a_claim_gets(volumes: list[Volume], chosen: str | None) -> None:
    found = best_match(CLAIM, volumes)
    assert (found.name if found else None) == chosen


def test_a_volume_asked_for_by_name_need_not_be_selected() -> None:
    selective = label_selector_from_object({"matchLabels": {"tier": "y"}})
    claim = replace(CLAIM, selector=selective, volume_name="v")
    assert reconcile_claim(claim, {"v": VOLUME}, {})[0] == BindVolume(VOLUME, claim, by_controller=True)


def test_a_static_volume_goes_before_a_default_class() -> None:
    claim, bare = replace(CLAIM, class_name=None), replace(VOLUME, class_name="")
    default = StorageClass("d", "p", False, "Delete", True, True, "")
    assert reconcile_claim(claim, {"v": bare}, {"d": default})[0] == BindVolume(bare, claim, by_controller=True)


def test_a_claim_whose_node_is_chosen_takes_no_volume_by_itself() -> None:
    chosen = replace(CLAIM, annotations={SELECTED_NODE: "node-1"})
    actions = reconcile_claim(chosen, {"v": VOLUME}, {"local": WAITING})
    assert AnnounceProvisioner(chosen, "example.com/p") in actions


def test_a_bound_claim_whose_volume_forgot_it_is_lost() -> None:
    forgetful = replace(BOUND_VOLUME, claim=ClaimRef("ns", "data"))
    notice, phase = reconcile_claim(BOUND_CLAIM, {"v": forgetful}, {})
    assert isinstance(notice, Notice)
    assert (notice.reason, phase) == ("ClaimMisbound", SetClaimPhase(BOUND_CLAIM, "Lost"))


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/x", "host_path deleter only supports /tmp/.+ but received provided /x"),
        ("/tmp/", "host_path deleter only supports /tmp/.+ but received provided /tmp/"),
        ("/tmp/x", None),
        ("", 'error getting deleter volume plugin for volume "v": no deletable volume plugin matched'),
    ],
)
def test_only_a_temporary_directory_is_deleted_with_its_claim(path: str, message: str | None) -> None:
    released = replace(BOUND_VOLUME, phase="Released", reclaim="Delete", host_path=path)
    actions = reconcile_volume(released, None)
    if message is None:
        assert actions == [DeleteVolume(released)]
    else:
        assert actions == [
            SetVolumePhase(released, "Failed", message),
            Notice("VolumeFailedDelete", message, warning=True),
        ]


def test_a_selector_chooses() -> None:
    claim = replace(CLAIM, selector=label_selector_from_object({"matchLabels": {"tier": "y"}}))
    assert best_match(claim, [VOLUME, replace(VOLUME, name="w", labels={"tier": "y"})]).name == "w"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("claim", "classes", "consumers", "reason", "message"),
    [
        (
            CLAIM,
            {"local": WAITING},
            [],
            "WaitForFirstConsumer",
            "waiting for first consumer to be created before binding",
        ),
        (CLAIM, {"local": WAITING}, ["x"], "WaitForPodScheduled", "waiting for pod x to be scheduled"),
        (CLAIM, {"local": WAITING}, ["x", "y"], "WaitForPodScheduled", "waiting for pods x,y to be scheduled"),
        (CLAIM, {}, [], "ProvisioningFailed", 'storageclass.storage.k8s.io "local" not found'),
        (
            CLAIM,
            {"local": replace(IMMEDIATE, provisioner="kubernetes.io/no-provisioner")},
            [],
            "ProvisioningFailed",
            "no volume plugin matched name: kubernetes.io/no-provisioner",
        ),
        (replace(CLAIM, class_name=""), {"local": IMMEDIATE}, [], "FailedBinding", NOTHING_THERE),
        (replace(CLAIM, class_name=None), {}, [], "FailedBinding", NOTHING_THERE),
    ],
)
def test_a_claim_without_volume_is_told_why(
    claim: Claim, classes: dict[str, StorageClass], consumers: list[str], reason: str, message: str
) -> None:
    (notice,) = reconcile_claim(claim, {}, classes, consumers)
    assert isinstance(notice, Notice)
    assert (notice.reason, notice.message) == (reason, message)


def test_a_provisioner_is_asked_at_once_or_when_a_node_is_chosen() -> None:
    assert AnnounceProvisioner(CLAIM, "example.com/p") in reconcile_claim(CLAIM, {}, {"local": IMMEDIATE})
    chosen = replace(CLAIM, annotations={SELECTED_NODE: "node-1"})
    assert AnnounceProvisioner(chosen, "example.com/p") in reconcile_claim(chosen, {}, {"local": WAITING})


def test_a_claim_without_class_gets_the_newest_default() -> None:
    old = StorageClass("a", "p", False, "Delete", True, True, "2026-01-01T00:00:00Z")
    new = replace(old, name="b", created="2026-02-01T00:00:00Z")
    twin = replace(new, name="c")
    assert default_class([old, twin, new]) == new
    claim = replace(CLAIM, class_name=None)
    assert reconcile_claim(claim, {}, {"a": old, "b": new}) == [AssignClass(claim, "b")]


def test_a_claim_whose_volume_is_gone_is_lost_once() -> None:
    notice, phase = reconcile_claim(BOUND_CLAIM, {}, {})
    assert isinstance(notice, Notice)
    assert (notice.reason, phase) == ("ClaimLost", SetClaimPhase(BOUND_CLAIM, "Lost"))
    assert reconcile_claim(replace(BOUND_CLAIM, phase="Lost"), {}, {}) == []


def test_a_volume_follows_its_claim() -> None:
    assert reconcile_volume(replace(VOLUME, phase="Pending"), None) == [
        SetVolumePhase(replace(VOLUME, phase="Pending"), "Available")
    ]
    assert reconcile_volume(BOUND_VOLUME, BOUND_CLAIM) == []
    assert reconcile_volume(BOUND_VOLUME, None) == [SetVolumePhase(BOUND_VOLUME, "Released")]
    assert reconcile_volume(BOUND_VOLUME, replace(BOUND_CLAIM, uid="another")) == [
        SetVolumePhase(BOUND_VOLUME, "Released")
    ]
    elsewhere = replace(BOUND_CLAIM, volume_name="w")
    assert reconcile_volume(BOUND_VOLUME, elsewhere) == [ReleaseVolume(BOUND_VOLUME, whole=False)]
    ours = replace(BOUND_VOLUME, annotations={BOUND_BY_CONTROLLER: "yes"})
    assert reconcile_volume(ours, elsewhere) == [ReleaseVolume(ours, whole=True)]


def test_nobody_deletes_what_an_administrator_made() -> None:
    released = replace(BOUND_VOLUME, phase="Released", reclaim="Delete")
    failed, notice = reconcile_volume(released, None)
    assert isinstance(notice, Notice)
    assert (failed, notice.reason) == (SetVolumePhase(released, "Failed", notice.message), "VolumeFailedDelete")
    assert reconcile_volume(replace(released, annotations={PROVISIONED_BY: "p"}), None) == []
    assert reconcile_volume(replace(released, reclaim="Retain"), None) == []


def test_the_provisioner_serves_claims_announced_to_it_with_a_node() -> None:
    mine = replace(WAITING, provisioner=PROVISIONER)
    announced = dict.fromkeys(STORAGE_PROVISIONERS, PROVISIONER)
    assert not wants_volume(CLAIM, mine)
    assert not wants_volume(replace(CLAIM, annotations=announced), mine)
    assert wants_volume(replace(CLAIM, annotations={**announced, SELECTED_NODE: "node-1"}), mine)
    assert not wants_volume(replace(CLAIM, annotations={**announced, SELECTED_NODE: "n"}, terminating=True), mine)


def test_a_volume_is_what_the_claim_asked_for_on_the_node_of_its_directory() -> None:
    body = volume_body(CLAIM, replace(WAITING, provisioner=PROVISIONER), "/data/x", "node-1")
    assert body["metadata"]["name"] == "pvc-claim-uid"
    assert body["spec"]["capacity"] == {"storage": "1Gi"}
    assert body["spec"]["claimRef"]["uid"] == "claim-uid"
    (term,) = body["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"]
    assert term["matchExpressions"][0]["values"] == ["node-1"]


def test_growth_needs_the_class_and_reclaim_the_policy() -> None:
    mine = replace(BOUND_VOLUME, annotations={PROVISIONED_BY: PROVISIONER})
    bigger = replace(BOUND_CLAIM, requested=parse_quantity("2Gi"))
    assert growth(bigger, mine, IMMEDIATE) == parse_quantity("2Gi")
    assert growth(bigger, mine, replace(IMMEDIATE, expandable=False)) is None
    assert growth(BOUND_CLAIM, mine, IMMEDIATE) is None
    assert not is_reclaimable(replace(mine, phase="Released"))
    assert is_reclaimable(replace(mine, phase="Released", reclaim="Delete"))
    assert not is_reclaimable(replace(mine, reclaim="Delete"))


def test_protection_is_put_back_and_lifted_when_unused() -> None:
    plain = {"metadata": {"finalizers": ["example.com/x"]}}
    assert protected(plain, CLAIM_FINALIZER, used=False) == ["example.com/x", CLAIM_FINALIZER]
    going = {"metadata": {"deletionTimestamp": "t", "finalizers": [CLAIM_FINALIZER, "example.com/x"]}}
    assert protected(going, CLAIM_FINALIZER, used=True) is None
    assert protected(going, CLAIM_FINALIZER, used=False) == ["example.com/x"]
