"""What `up` and `status` show on screens wide and narrow."""

from typing import Any

import pytest

from homeport.cli import overview
from homeport.cli.output import fitting, table_text
from homeport.cli.overview import print_overview
from homeport.cli.status import set_up
from homeport.engine.settings import ClusterSettings


def seen(*, namespaces: tuple[str, ...] = ("default",)) -> dict[str, Any]:
    pods = [
        {
            "namespace": namespace,
            "name": f"web-{number}",
            "ready": "1/1",
            "status": "Running",
            "addresses": [f"10.244.255.{number}", f"fd00:10:244::ffff:ffff:ff{number}"],
            "dnsName": f"web-{number}.web.{namespace}.svc.cluster.local",
            "claims": [f"data-web-{number}", f"wal-web-{number}"],
        }
        for namespace in namespaces
        for number in (0, 1)
    ]
    claims = [
        {"namespace": "default", "name": one, "phase": "Bound", "volume": f"pvc-{36 * 'f'}", "capacity": "16Mi"}
        for pod in pods[:1]
        for one in pod["claims"]
    ]
    services = [
        {
            "namespace": "default",
            "name": "web",
            "type": "LoadBalancer",
            "addresses": ["10.96.255.255", "fd00:10:96::ffff"],
            "ports": ["80/TCP", "443/TCP", "8080/TCP"],
            "dnsName": "web.default.svc.cluster.local",
            "readyEndpoints": 2,
        }
    ]
    return {"pods": pods, "claims": claims, "services": services}


def printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int | None, **options: Any
) -> str:
    monkeypatch.setattr(overview, "screen_columns", lambda: columns)
    print_overview(seen(**options))
    return capsys.readouterr().out


@pytest.mark.parametrize("columns", [80, 100, 120, 160])
def test_it_is_no_wider_than_the_screen(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    text = printed(monkeypatch, capsys, columns)
    assert max(map(len, text.splitlines())) <= columns
    assert "fd00:10:244::ffff:ffff:ff1" in text


def test_on_80_columns_what_can_be_spared_is_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        printed(monkeypatch, capsys, 80)
        == """\
POD     READY   STATUS    ADDRESS                      DNS NAME
web-0   1/1     Running   10.244.255.0                 web-0.web.default.svc
                          fd00:10:244::ffff:ffff:ff0
web-1   1/1     Running   10.244.255.1                 web-1.web.default.svc
                          fd00:10:244::ffff:ffff:ff1

CLAIM        STATUS   VOLUME                                     CAPACITY
data-web-0   Bound    pvc-ffffffffffffffffffffffffffffffffffff   16Mi
wal-web-0    Bound    pvc-ffffffffffffffffffffffffffffffffffff   16Mi

SERVICE   TYPE           ADDRESS            PORTS      DNS NAME          READY
web       LoadBalancer   10.96.255.255      80/TCP     web.default.svc   2
                         fd00:10:96::ffff   443/TCP
                                            8080/TCP
"""
    )


def test_what_is_piped_is_whole(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(monkeypatch, capsys, None, namespaces=("default", "other"))
    first = text.splitlines()[1].split()
    assert first == [
        "default", "web-0", "1/1", "Running", "10.244.255.0,fd00:10:244::ffff:ffff:ff0",
        "web-0.web.default.svc.cluster.local", "data-web-0,wal-web-0",
    ]  # fmt: skip


def test_nothing_is_no_line(capsys: pytest.CaptureFixture[str]) -> None:
    print_overview({"pods": [], "claims": [], "services": []})
    assert capsys.readouterr().out == ""


def test_the_last_form_is_taken_where_none_fits() -> None:
    assert fitting(["a" * 9, "b" * 5], 4) == "b" * 5
    assert fitting(["a" * 9, "b" * 4, "c"], 4) == "b" * 4
    assert table_text(("A", "B"), [("1\n2", "x"), ("3", "y")]) == "A   B\n1   x\n2\n3   y"


def test_how_a_cluster_is_set_up() -> None:
    shown = set_up(ClusterSettings(families=("IPv6", "IPv4"), node_ports=True, without=("dns",)))
    assert [one["family"] for one in shown["families"]] == ["IPv6", "IPv4"]
    assert shown["families"][0]["balancers"] == "fd00:10:98::/120"
    assert shown["nodePorts"] == {"inside": ["fd00:10:244::1", "10.244.0.1"], "host": ["127.0.0.1", "::1"]}
    assert shown["without"] == ["dns"]
