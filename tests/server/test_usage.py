"""`metrics.k8s.io`: rates between two looks, whatever is known of what lies before."""

from typing import Any

import pytest

from homeport.server.usage import _Counter, _measured


@pytest.mark.parametrize(
    ("before", "last", "expected"),
    [
        (_Counter(10.0, 0, 5, 0.0), _Counter(20.0, 5 * 10**9, 7, 0.0), (10.0, "500m", "7")),
        (None, _Counter(20.0, 10**9, 1024, 10.0), (10.0, "100m", "1Ki")),  # started in between
        (_Counter(10.0, 9 * 10**9, 5, 0.0), _Counter(20.0, 10**9, 5, 15.0), (5.0, "200m", "5")),  # started anew
        (None, _Counter(20.0, 10**9, 5, None), None),  # a node, seen for the first time
        (_Counter(10.0, 1, 5, 0.0), _Counter(10.0, 1, 5, 0.0), None),
        (_Counter(10.0, 0, 5, 0.0), None, None),
    ],
)
def test_rates(before: _Counter | None, last: _Counter | None, expected: Any) -> None:
    looks = [{} if one is None else {("c",): one} for one in (before, last)]
    found = _measured(("c",), *looks)
    assert (found and (found.window, found.usage["cpu"], found.usage["memory"])) == expected
