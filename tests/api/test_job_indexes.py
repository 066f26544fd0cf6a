"""Sets of completion indexes, as text and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeport.api.job_indexes import BadIndexes, format_indexes, parse_indexes, read_indexes


@given(st.frozensets(st.integers(0, 60)))
def test_what_is_written_is_read(indexes):
    text = format_indexes(indexes)
    assert parse_indexes(text, 61) == read_indexes(text, 61) == indexes


def test_two_neighbours_are_listed_three_are_a_run():
    assert format_indexes({0, 2, 3, 5, 6, 7}) == "0,2,3,5-7"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("3-1", "non-increasing order, previous: 3, current: 1"),
        ("2,2", "non-increasing order, previous: 2, current: 2"),
        ("9", 'too large index: "9"'),
        ("a", 'cannot convert string to integer for index: "a"'),
        ("1-2-3", "the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts "
         "separated by '-'"),
    ],
)  # fmt: skip
def test_other_texts_are_refused(text, why):
    with pytest.raises(BadIndexes) as refused:
        parse_indexes(text, 9)
    assert str(refused.value) == why


def test_a_job_made_smaller_forgets_the_indexes_beyond():
    assert read_indexes("0,2-9,x", 4) == {0, 2, 3}
