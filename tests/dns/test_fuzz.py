"""A while of coverage-guided fuzzing: no octets from the network break the server. See `tests.dns.fuzz`."""

import os
import re
import subprocess
import sys
from pathlib import Path

import dns.edns
import dns.message
import dns.rcode
import pytest

from homeport.dns.message import parse_query
from homeport.dns.settings import DnsSettings
from homeport.dns.transfer import transfer
from tests.dns.test_zone import served

SECONDS = int(os.environ.get("HOMEPORT_FUZZ_SECONDS", "60" if os.environ.get("CI") else "5"))


@pytest.mark.timeout(SECONDS + 120)
def test_no_octets_break_the_server(tmp_path: Path) -> None:
    pytest.importorskip("atheris")
    command = [sys.executable, "-m", "tests.dns.fuzz", "--seconds", str(SECONDS), "--corpus", str(tmp_path / "corpus")]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-8000:] + done.stdout[-8000:]
    tried = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert tried is not None
    assert int(tried[1]) > 100 * SECONDS
    assert int(re.findall(r"new_units_added: +(\d+)", done.stderr)[0]) > 20  # it does see coverage


@pytest.mark.parametrize(
    ("klass", "version", "code"), [("IN", 1, "BADVERS"), ("CH", 0, "REFUSED"), ("IN", 0, "NOERROR")]
)
def test_a_transfer_minds_version_and_class_and_repeats_no_option(klass: str, version: int, code: str) -> None:
    query = dns.message.make_query("cluster.local.", "AXFR", klass)
    query.use_edns(version, options=[dns.edns.GenericOption(8, b"no family")])
    first = transfer(parse_query(query.to_wire()), served().index, DnsSettings(transfer=True))[0]
    reply = dns.message.from_wire(first)
    assert dns.rcode.to_text(reply.rcode()) == code
    assert not reply.options
