"""A cluster of an ordinary user, started by whoever runs the tests."""

import importlib.metadata
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import homeport
from tests.e2e.cluster import Cluster
from tests.isolated import ORDINARY_UID


@contextmanager
def ordinary_place() -> Iterator[Path]:
    """Give a directory an ordinary user owns; those of pytest are for the user who runs it alone."""
    path = Path(tempfile.mkdtemp(prefix="homeport-rootless-"))
    if os.geteuid() == 0:
        os.chown(path, ORDINARY_UID, ORDINARY_UID)
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def ordinary_cluster(name: str, place: Path) -> Cluster:
    """Return a cluster of an ordinary user, with the code it runs, in a directory of `ordinary_place`."""
    state = place / "state"
    environment = {"HOME": str(place), "USER": "", "LOGNAME": "", "PATH": "/usr/local/bin:/usr/bin:/bin"}
    if os.geteuid() != 0:
        return Cluster(name, state, environment)
    _copy_code(place / "code")
    environment |= {"PYTHONPATH": str(place / "code"), "PYTHONDONTWRITEBYTECODE": "1"}
    prefix = ("setpriv", f"--reuid={ORDINARY_UID}", f"--regid={ORDINARY_UID}", "--clear-groups", "--no-new-privs")
    return Cluster(name, state, environment, os.path.realpath(sys.executable), prefix)


def _copy_code(target: Path) -> None:
    """Copy the product and what it needs to run, for a user who may not read this checkout."""
    shutil.copytree(Path(homeport.__file__).parent, target / "homeport", ignore=shutil.ignore_patterns("__pycache__"))
    wanted, seen = ["homeport"], set[str]()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
        for requirement in distribution.requires or ():
            if "extra ==" not in requirement:
                wanted += re.findall(r"^[\w.-]+", requirement)
        for file in (distribution.files or ()) if name != "homeport" else ():
            source = Path(str(distribution.locate_file(file)))
            if ".." not in file.parts and "__pycache__" not in file.parts and source.exists():
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target / file)
