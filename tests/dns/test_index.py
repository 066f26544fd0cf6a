"""The index: what a change touches, and that it touches nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from homeport.dns import objects
from homeport.dns.index import Index
from homeport.dns.objects import Endpoint, Port, Slice
from tests.dns.worked import endpoints

LABELS = st.sampled_from(["pg-0", "pg-1", "PG-2", "10-0-0-1"])
ADDRESSES = st.integers(1, 5).map(lambda n: objects._address(f"10.0.0.{n}"))
ENDPOINTS = st.lists(st.builds(Endpoint, ADDRESSES, LABELS), max_size=4).map(tuple)
SLICES = st.builds(
    Slice,
    st.just("db"),
    st.sampled_from(["s1", "s2", "s3"]),
    st.sampled_from(["pg", "my"]),
    ENDPOINTS,
    st.sampled_from([(Port("pg", "TCP", 5432),), (Port("pg", "TCP", 5433),)]),
)
CHANGES = st.lists(st.one_of(SLICES, st.sampled_from(["s1", "s2", "s3"])), max_size=12)


def slice_of(*found: tuple[str, str, bool]) -> Slice:
    part = objects.slice_of(endpoints("db", "pg", *found, ports=(("pg", 5432),)))
    assert part is not None
    return part


def test_a_change_names_the_service_and_the_labels_that_differ() -> None:
    index = Index()
    index.put_slice(slice_of(("10.0.0.1", "pg-0", True), ("10.0.0.2", "pg-1", True)))
    touched = index.put_slice(slice_of(("10.0.0.1", "pg-0", True), ("10.0.0.3", "pg-1", True)))
    assert touched == {("db", "pg", ""), ("db", "pg", "pg-1")}


def test_another_port_touches_every_label() -> None:
    index = Index()
    index.put_slice(slice_of(("10.0.0.1", "pg-0", True)))
    moved = objects.slice_of(endpoints("db", "pg", ("10.0.0.1", "pg-0", True), ports=(("pg", 5433),)))
    assert moved is not None
    assert index.put_slice(moved) == {("db", "pg", ""), ("db", "pg", "pg-0")}


def test_the_same_slice_again_touches_nothing() -> None:
    index = Index()
    index.put_slice(slice_of(("10.0.0.1", "pg-0", True)))
    assert index.put_slice(slice_of(("10.0.0.1", "pg-0", True))) == set()


@given(CHANGES)
def test_every_way_in_agrees_with_a_walk_over_all_slices(changes: list[Slice | str]) -> None:
    index = Index()
    kept: dict[str, Slice] = {}
    for change in changes:
        if isinstance(change, str):
            index.drop_slice("db", change)
            kept.pop(change, None)
        else:
            index.put_slice(change)
            kept[change.name] = change
    ordered = [kept[name] for name in sorted(kept)]
    for service in ("pg", "my"):
        key = ("db", service)
        mine = [part for part in ordered if part.service == service]
        assert list(index.slices(key)) == mine
        for label in ("pg-0", "pg-1", "pg-2", "10-0-0-1"):
            expected = [(part, one) for part in mine for one in part.endpoints if one.label.lower() == label]
            assert list(index.labelled(key, label)) == expected
    for number in range(1, 6):
        address = objects._address(f"10.0.0.{number}")
        expected_behind = [
            (part.service_key, part, one)
            for part in sorted(ordered, key=lambda part: (part.service_key, part.name))
            for one in part.endpoints
            if one.address == address
        ]
        assert list(index.behind(address)) == expected_behind
    assert index.sizes()["slices"] == len(kept)


def test_an_emptied_index_keeps_nothing() -> None:
    index = Index()
    index.put_slice(slice_of(("10.0.0.1", "pg-0", True)))
    index.drop_slice("db", "pg-1")
    assert (index._labelled, index._holders, index._slices, index._homes) == ({}, {}, {}, {})
