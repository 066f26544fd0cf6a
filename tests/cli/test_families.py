"""`up --ip-families`: what may be said, and what a host without IPv6 makes of it."""

import pytest
from click.testing import CliRunner

from homeport.cli import doctor
from homeport.cli.up import _without_ipv6, up
from homeport.engine.settings import ClusterSettings, SettingsError


@pytest.mark.parametrize("said", ["ipv5", "ipv4,ipv4", "", "ipv4,ipv6,ipv4"])
def test_what_is_no_choice_of_families_is_refused(said: str) -> None:
    done = CliRunner().invoke(up, ["--ip-families", said])
    assert done.exit_code == 2
    assert "choose ipv4, ipv6, or both" in done.output


def test_a_host_without_ipv6_falls_back_where_it_can(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "has_ipv6", lambda: False)
    assert _without_ipv6(ClusterSettings(families=("IPv4", "IPv6"))).families == ("IPv4",)
    assert "has IPv6 switched off: the cluster speaks IPv4 alone" in capsys.readouterr().err
    with pytest.raises(SettingsError, match="use --ip-families ipv4"):
        _without_ipv6(ClusterSettings(families=("IPv6", "IPv4")))
    assert _without_ipv6(ClusterSettings()) == ClusterSettings()
    assert capsys.readouterr().err == ""


def test_a_host_with_ipv6_serves_what_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "has_ipv6", lambda: True)
    asked = ClusterSettings(families=("IPv6", "IPv4"))
    assert _without_ipv6(asked) == asked
    assert (asked.gateway, asked.name_servers) == ("fd00:10:244::1", ("fd00:10:96::a", "10.96.0.10"))
    assert ClusterSettings.from_json(asked.as_json()) == asked


def test_settings_name_families_there_are() -> None:
    for families in ((), ("IPv4", "IPv4"), ("IPv5",)):
        with pytest.raises(SettingsError, match="address families"):
            ClusterSettings(families=families)
