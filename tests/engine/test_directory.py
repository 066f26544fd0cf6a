"""The data directory: settings that stay, versions that are refused, one engine at a time, processes recognised."""

import json
import os
from pathlib import Path

import pytest

from homeport.engine.directory import DataDirectory, DirectoryError
from homeport.engine.kubeconfig import MergeError, merge_into
from homeport.engine.ports import Ports, PortTaken
from homeport.engine.settings import ClusterSettings, SettingsError, default_data_directory


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    made = DataDirectory(tmp_path / "cluster")
    made.create()
    return made


def test_settings_come_back_as_they_were(directory: DataDirectory) -> None:
    settings = ClusterSettings(name="a", without=("dns", "proxy"), api_port=7443)
    directory.save(settings, "0.1.0")
    assert DataDirectory(directory.path).load() == settings


def test_it_is_for_its_owner_alone(directory: DataDirectory) -> None:
    directory.save(ClusterSettings(), "0.1.0")
    for path in (directory.path, directory.run, directory.path / "engine.json"):
        assert path.stat().st_mode & 0o077 == 0


def test_a_newer_format_is_refused_with_the_remedy(directory: DataDirectory) -> None:
    (directory.path / "engine.json").write_text(json.dumps({"format": 99, "version": "9.0.0", "settings": {}}))
    with pytest.raises(DirectoryError, match=r"written by homeport 9\.0\.0.*upgrade"):
        directory.load()


def test_damage_is_told_apart_from_absence(directory: DataDirectory) -> None:
    assert directory.load() is None
    (directory.path / "engine.json").write_text("{")
    with pytest.raises(DirectoryError, match="cannot be read"):
        directory.load()


def test_a_second_engine_is_refused(directory: DataDirectory) -> None:
    directory.lock()
    with pytest.raises(DirectoryError, match="another engine runs"):
        DataDirectory(directory.path).lock()


def test_a_process_is_known_by_its_start_too(directory: DataDirectory) -> None:
    directory.record("node", os.getpid(), port=1)
    found = directory.process("node")
    assert found is not None
    assert found.details == {"port": 1}
    record = directory.run / "node.process"
    tree = json.loads(record.read_text())
    record.write_text(json.dumps({**tree, "start": tree["start"] + 1}))
    assert directory.process("node") is None, "the pid belongs to another process now"


@pytest.mark.parametrize("name", ["", "-a", "A", "a_b", "x" * 41, "a/b"])
def test_names_that_cannot_be(name: str) -> None:
    with pytest.raises(SettingsError, match="cluster name"):
        ClusterSettings(name=name)


def test_an_unknown_part_lists_the_known() -> None:
    with pytest.raises(SettingsError, match="choose from node, scheduler"):
        ClusterSettings(without=("kubelet",))


def test_where_data_lives() -> None:
    assert default_data_directory("a", {"XDG_STATE_HOME": "/s"}) == Path("/s/homeport/a")
    assert default_data_directory("a", {"HOME": "/h"}) == Path("/h/.local/state/homeport/a")


async def test_the_last_port_is_kept_while_it_is_free(directory: DataDirectory) -> None:
    ports, taken = Ports(directory), set[int]()

    async def listen(port: int) -> int:
        if port in taken:
            raise OSError(98, "Address already in use")
        return port or 40000 + len(taken)

    assert await ports.bind("api", 0, listen) == 40000
    assert await ports.bind("api", 0, listen) == 40000
    taken.add(40000)
    assert await ports.bind("api", 0, listen) == 40001
    assert ports.last("api") == 40001
    with pytest.raises(PortTaken, match=r"port 40000 for the api is not free.*--api-port"):
        await ports.bind("api", 40000, listen)


def entry(name: str, server: str) -> str:
    return json.dumps(
        {
            "clusters": [{"name": name, "cluster": {"server": server}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "users": [{"name": name, "user": {}}],
            "current-context": name,
        }
    )


def test_merging_keeps_what_others_have(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "config", tmp_path / "ours"
    theirs.write_text(entry("work", "https://work"))
    for server in ("https://old", "https://new"):
        ours.write_text(entry("homeport-default", server))
        assert merge_into(theirs, ours) == "homeport-default"
    import yaml

    merged = yaml.safe_load(theirs.read_text())
    assert {c["name"]: c["cluster"]["server"] for c in merged["clusters"]} == {
        "work": "https://work",
        "homeport-default": "https://new",
    }
    assert merged["current-context"] == "homeport-default"
    assert theirs.stat().st_mode & 0o077 == 0


def test_merging_into_something_else_changes_nothing(tmp_path: Path) -> None:
    theirs, ours = tmp_path / "config", tmp_path / "ours"
    theirs.write_text("- not a kubeconfig\n")
    ours.write_text(entry("homeport-default", "https://x"))
    with pytest.raises(MergeError, match="nothing was changed"):
        merge_into(theirs, ours)
    assert theirs.read_text() == "- not a kubeconfig\n"
