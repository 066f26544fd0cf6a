import pytest

from homeport.node.runtime.versions import outdated


@pytest.mark.parametrize(
    ("name", "version", "fine"),
    [
        ("crun", "1.8.1", False),
        ("crun", "1.26", False),
        ("crun", "1.27", True),
        ("crun", "1.27.1", True),
        ("crun", "2.0", True),
        ("runc", "1.1.5+ds1", False),
        ("runc", "1.2.7", False),
        ("runc", "1.2.8", True),
        ("runc", "1.3.2", False),
        ("runc", "1.3.3", True),
        ("runc", "1.4.0-rc.3", False),
        ("runc", "1.4.0", True),
        ("runc", "1.10.0", True),
        ("runc", "unknown", True),
        ("youki", "0.1.0", True),
    ],
)
def test_a_runtime_older_than_its_mend_is_noticed(name: str, version: str, fine: bool) -> None:
    assert (outdated(name, version) == "") is fine


def test_it_says_what_to_look_for() -> None:
    assert outdated("crun", "1.8.1").startswith("crun 1.8.1 is older than 1.27: unless your distribution has mended it")
    assert "older than 1.2.8 or 1.3.3 or 1.4:" in outdated("runc", "1.1.5")
