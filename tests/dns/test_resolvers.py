"""What programs resolve names with: the C libraries glibc and musl, a Java virtual machine, gRPC, Python."""

import os
import shutil
from pathlib import Path

import pytest

from tests.dns.resolving import resolving

pytestmark = pytest.mark.real
CLIENTS = Path(__file__).parent / "clients"
EXAMPLES = Path(__file__).parents[2] / "examples" / "discovery"

SHORT_NAMES = {
    "pg-0.pg": "10.244.1.10",
    "pg": "10.244.1.10 10.244.1.11",
    "pg-rw.db": "10.96.7.7",
    "pg-1.pg.db.svc.cluster.local": "10.244.1.11",
    "pg-rw.db.svc.cluster.local.": "10.96.7.7",
}
"""A name as a pod of `db` writes it, and the addresses it stands for."""

ABSENT = "nobody.db.svc.cluster.local."


def needs(tool: str, package: str) -> None:
    if shutil.which(tool) is None:
        message = f"{tool} is not installed (package {package})"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)


def found(lines: list[str]) -> dict[str, str]:
    split = [line.split() for line in lines]
    return {name: " ".join(sorted(rest)) for name, *rest in split}


def test_the_c_library_resolves_short_names(tmp_path: Path) -> None:
    lines = resolving(
        tmp_path,
        "for name in pg-0.pg pg-rw.db dual.web 10.244.1.12; do getent hosts $name; done; getent ahostsv4 pg-1.pg",
    )
    assert [" ".join(line.split()) for line in lines][:5] == [
        "10.244.1.10 pg-0.pg.db.svc.cluster.local",
        "10.96.7.7 pg-rw.db.svc.cluster.local",
        "fd00:96::33 dual.web.svc.cluster.local",
        "10.244.1.12 10-244-1-12.pg-peers.db.svc.cluster.local",
        "10.244.1.11 STREAM pg-1.pg.db.svc.cluster.local",
    ]


@pytest.mark.parametrize("compiler", ["cc", "musl-gcc"])
def test_getaddrinfo(compiler: str, tmp_path: Path) -> None:
    needs(compiler, "musl-tools")
    names = " ".join([*SHORT_NAMES, ABSENT])
    lines = resolving(
        tmp_path, f'{compiler} -static-pie -o "$WORK/lookup" {CLIENTS}/lookup.c 2>/dev/null\n"$WORK/lookup" {names}'
    )
    assert found(lines) == {**SHORT_NAMES, ABSENT: "-2 error"}


def test_a_java_virtual_machine(tmp_path: Path) -> None:
    needs("java", "default-jre-headless")
    needs("ecj", "ecj")
    names = " ".join([*SHORT_NAMES, ABSENT, "_pg._tcp.pg.db.svc.cluster.local"])
    compiled = f'ecj -17 -proc:none -d "$WORK" {CLIENTS}/Lookup.java'
    run = f'java -XX:TieredStopAtLevel=1 -cp "$WORK" Lookup {names}'
    lines = resolving(tmp_path, f"{compiled}\n{run}")
    assert lines.pop() == (
        "_pg._tcp.pg.db.svc.cluster.local "
        "0 50 5432 pg-0.pg.db.svc.cluster.local. | 0 50 5432 pg-1.pg.db.svc.cluster.local."
    )
    assert found(lines) == {**SHORT_NAMES, ABSENT: "unknown"}


@pytest.mark.parametrize("target", ["dns:///pg:50051", "dns:///pg.db.svc.cluster.local.:50051"])
def test_grpc_balances_over_a_headless_name(target: str, tmp_path: Path) -> None:
    pytest.importorskip("grpc")
    lines = resolving(tmp_path, f'"$PYTHON" {EXAMPLES}/balance.py {target} 10.244.1.10 10.244.1.11')
    assert lines == ["10.244.1.10 10.244.1.11"]


def test_python(tmp_path: Path) -> None:
    script = "import socket; print(*socket.gethostbyname_ex('pg')[2])"
    (line,) = resolving(tmp_path, f'"$PYTHON" -c "{script}"')
    assert sorted(line.split()) == ["10.244.1.10", "10.244.1.11"]
