"""The DNS server as a program of its own: over HTTPS, with no more rights than its manifest gives."""

import asyncio
import random
import subprocess
import sys
from pathlib import Path

from homeport.dns.exchange import Resolver, exchange
from homeport.dns.message import FormatError
from homeport.dns.name import from_text
from homeport.dns.presentation import as_json, parse_type
from homeport.dns.records import Question
from tests.e2e.alone import prepared
from tests.e2e.cluster import Make
from tests.e2e.conftest import needs
from tests.e2e.observe import kill, pids, until

BOTH = """
apiVersion: v1
kind: Service
metadata: {name: both}
spec:
  ipFamilyPolicy: RequireDualStack
  ports: [{name: http, port: 80}]
"""


def test_it_plays_the_part_the_engine_leaves_out(make_cluster: Make, tmp_path: Path) -> None:
    """In both families, over a killed API server."""
    needs("kubectl")
    cluster = make_cluster("dns-alone")
    up = ("up", "--without", "dns,node,scheduler,proxy", "--ip-families", "ipv4,ipv6")
    cluster.homeport(*up)
    kubeconfig = prepared(cluster, "dns", tmp_path)
    words = ("--kubeconfig", str(kubeconfig), "--listen", "127.0.0.1:0", "--upstream", "", "--pods", "verified")
    command = [sys.executable, "-m", "homeport", "dns", *words]
    with subprocess.Popen(command, env=cluster.env, stderr=subprocess.PIPE, text=True) as own:
        assert own.stderr is not None
        try:
            port = int(own.stderr.readline().rsplit(":", 1)[1])
            until(lambda: answer(port, "kubernetes.default", "A") == {"10.96.0.1"}, "the API's Service to have a name")
            kill([pids(cluster)["control"]])
            assert answer(port, "kubernetes.default", "A") == {"10.96.0.1"}
            cluster.homeport(*up)
            cluster.homeport("apply", "-f", "-", stdin=BOTH)
            four, six = cluster.objects("svc/both")[0]["spec"]["clusterIPs"]
            until(lambda: answer(port, "both.default", "AAAA") == {six}, "a new Service to have a name")
            assert answer(port, "both.default", "A") == {four}
        finally:
            own.terminate()
            said = own.stderr.read()
    assert own.returncode == 0
    assert "forbidden" not in said


def answer(port: int, name: str, kind: str) -> set[str]:
    """Return the data of an answer; nothing while there is none."""
    question = Question(from_text(f"{name}.svc.cluster.local."), parse_type(kind))

    async def ask() -> set[str]:
        async with asyncio.timeout(5):
            _, found = await exchange(Resolver("127.0.0.1", port), question, random.Random(1))
        return {record["data"] for record in as_json(question, found)["answer"]}

    try:
        return asyncio.run(ask())
    except (OSError, FormatError):
        return set()
