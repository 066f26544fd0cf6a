"""What people ask with: dig, drill, kdig. Each where it is installed."""

import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest


@pytest.fixture(scope="module")
def port() -> Iterator[str]:
    command = [sys.executable, "-m", "tests.dns.serve_worked", "127.0.0.1", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    yield process.stdout.readline().strip()
    process.terminate()
    process.wait(10)
    process.stdout.close()


def said(*command: str) -> list[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr + done.stdout
    return sorted(line for line in done.stdout.splitlines() if line and not line.startswith(";"))


def needs(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")


@pytest.mark.parametrize("tool", ["dig", "kdig"])
@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("pg.db.svc.cluster.local A", ["10.244.1.10", "10.244.1.11"]),
        ("dual.web.svc.cluster.local AAAA", ["fd00:96::33"]),
        ("_pg._tcp.pg-rw.db.svc.cluster.local SRV", ["0 100 5432 pg-rw.db.svc.cluster.local."]),
        ("ext.web.svc.cluster.local A", ["192.0.2.53", "www.example.net."]),
        ("1.0.96.10.in-addr.arpa PTR", ["kubernetes.default.svc.cluster.local."]),
        ("dns-version.cluster.local TXT", ['"1.1.0"']),
        ("nosuch.db.svc.cluster.local A", []),
    ],
)
def test_dig(tool: str, port: str, transport: str, question: str, expected: list[str]) -> None:
    needs(tool)
    name, kind = question.split()
    assert said(tool, "@127.0.0.1", "-p", port, transport, "+short", name, kind) == expected


@pytest.mark.parametrize("options", [["+dnssec"], ["+bufsize=512"], ["+noedns"], ["+cookie"], ["+norecurse"], ["+cd"]])
def test_dig_with_other_bits(port: str, options: list[str]) -> None:
    needs("dig")
    name = "pg-0.pg.db.svc.cluster.local"
    assert said("dig", "@127.0.0.1", "-p", port, *options, "+short", name) == ["10.244.1.10"]


def test_dig_asks_several_questions_on_one_connection(port: str) -> None:
    needs("dig")
    names = ["pg-0.pg.db.svc.cluster.local", "pg-1.pg.db.svc.cluster.local", "pg-rw.db.svc.cluster.local"]
    found = said("dig", "@127.0.0.1", "-p", port, "+tcp", "+keepopen", "+short", *names)
    assert found == ["10.244.1.10", "10.244.1.11", "10.96.7.7"]


@pytest.mark.parametrize("tool", ["dig", "kdig"])
def test_a_zone_is_transferred(tool: str, port: str) -> None:
    needs(tool)
    lines = [" ".join(line.split()) for line in said(tool, "@127.0.0.1", "-p", port, "cluster.local", "AXFR")]
    assert "pg-0.pg.db.svc.cluster.local. 5 IN A 10.244.1.10" in lines
    assert sum(" SOA " in line for line in lines) == 2


def test_drill(port: str) -> None:
    needs("drill")
    lines = said("drill", "-p", port, "pg-0.pg.db.svc.cluster.local", "@127.0.0.1", "A")
    assert [line.split()[-1] for line in lines] == ["10.244.1.10"]
