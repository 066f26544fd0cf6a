from pathlib import Path

import pytest

from tests.store.sides import SIDES, Open


@pytest.fixture(params=sorted(SIDES))
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    return SIDES[request.param](tmp_path)
