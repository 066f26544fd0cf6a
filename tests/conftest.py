"""`async def test_…` runs as it stands: on an ordinary loop, or in virtual time with `@pytest.mark.virtual`."""

import inspect

import pytest

from homeport.testing.loop import run, run_virtual


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
