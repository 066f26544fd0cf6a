"""`async def test_…` runs as it stands: on an ordinary loop, or in virtual time with `@pytest.mark.virtual`."""

import inspect
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings

from homeport.server.objects import Stored
from homeport.testing.loop import run, run_virtual

settings.register_profile("busy machines", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machines")

_told = Stored.told


def _told_the_truth(stored: Stored, tree: dict[str, Any]) -> None:
    """In tests, a tree that spares the server decoding is what decoding would have given."""
    _told(stored, tree)
    decoded = msgspec.json.decode(stored.value)
    decoded["metadata"]["resourceVersion"] = str(stored.revision)
    assert stored.tree == decoded, stored.key


Stored.told = _told_the_truth  # type: ignore[method-assign]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    test = pyfuncitem.obj
    if not inspect.iscoroutinefunction(test):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    if pyfuncitem.get_closest_marker("virtual"):
        run_virtual(lambda: test(**arguments))
    else:
        run(test(**arguments))
    return True
