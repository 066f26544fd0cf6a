"""Files of volumes: what they contain, how they change all at once, how subPaths never leave."""

import base64
import os
from pathlib import Path
from typing import Any

import pytest

from homeport.node.environment import Facts
from homeport.node.volumes.atomic import write_atomically
from homeport.node.volumes.failure import SubPathFailure, VolumeFailure
from homeport.node.volumes.hostpath import prepare_host_path
from homeport.node.volumes.ids import IdMaps, parse_map
from homeport.node.volumes.mounts import mounted_below
from homeport.node.volumes.ownership import give_to_group
from homeport.node.volumes.payload import File, TokenRequest, payload, token_places
from homeport.node.volumes.subpath import opened_subpath
from tests.node.test_environment import Known, pod


def files(volume: dict[str, Any], known: Known | None = None, **spec: Any) -> dict[str, File]:
    tokens = {request: "t0ken" for _, request in token_places(volume)}
    return payload(pod({}, **spec), {"name": "v", **volume}, known or Known(one={"a": "1", "b": "2"}), Facts(), tokens)


def test_a_config_map_is_a_file_per_key() -> None:
    assert files({"configMap": {"name": "one"}}) == {"a": File(b"1"), "b": File(b"2")}


def test_items_select_rename_and_set_modes() -> None:
    items = [{"key": "a", "path": "deep/a.txt", "mode": 0o400}, {"key": "b", "path": "b"}]
    found = files({"secret": {"secretName": "one", "items": items, "defaultMode": 0o440}})
    assert found == {"deep/a.txt": File(b"1", 0o400), "b": File(b"2", 0o440)}


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        ({"configMap": {"name": "none"}}, 'configmap "none" not found'),
        ({"secret": {"secretName": "none"}}, 'secret "none" not found'),
        (
            {"configMap": {"name": "one", "items": [{"key": "z", "path": "z"}]}},
            "references non-existent config key: z",
        ),
        (
            {"secret": {"secretName": "one", "items": [{"key": "z", "path": "z"}]}},
            "references non-existent secret key: z",
        ),
        (
            {"projected": {"sources": [{"clusterTrustBundle": {"name": "ca", "path": "ca"}}]}},
            "projected source clusterTrustBundle is not supported by this node",
        ),
        ({"configMap": {"name": "one", "items": [{"key": "a", "path": "../a"}]}}, "invalid path: ../a"),
        ({"configMap": {"name": "one", "items": [{"key": "a", "path": "x/../../a"}]}}, "invalid path: x/../../a"),
        ({"configMap": {"name": "one", "items": [{"key": "a", "path": "/a"}]}}, "invalid path: /a"),
    ],
)
def test_what_is_wrong_with_a_source(volume: dict[str, Any], message: str) -> None:
    with pytest.raises(VolumeFailure) as caught:
        files(volume)
    assert str(caught.value) == message


def test_optional_sources_may_be_missing() -> None:
    assert files({"configMap": {"name": "none", "optional": True}}) == {}


def test_projected_volumes_join_their_sources() -> None:
    sources = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
        {"configMap": {"name": "one", "items": [{"key": "a", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
        {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
    ]
    volume = {"projected": {"sources": sources, "defaultMode": 420}}
    assert token_places(volume) == [("token", TokenRequest("", 3607))]
    found = files(volume)
    assert found["token"] == File(b"t0ken")
    assert found["ca.crt"] == File(b"1")
    assert found["namespace"] == File(b"db")
    assert found["labels"] == File(b'app="web"\ntier="a\\"b"')
    assert files(volume, securityContext={"runAsUser": 7})["token"].mode == 0o600


def test_binary_data_is_decoded() -> None:
    class Binary(Known):
        def config_map(self, namespace: str, name: str) -> Any:
            return {"binaryData": {"x": base64.b64encode(b"\xff\x00").decode()}}

    assert files({"configMap": {"name": "any"}}, Binary()) == {"x": File(b"\xff\x00")}


def test_an_update_is_one_rename(tmp_path: Path) -> None:
    assert write_atomically(tmp_path, {"a": File(b"1"), "d/b": File(b"2", 0o600)}, "one")
    assert os.readlink(tmp_path / "a") == "..data/a"
    assert os.readlink(tmp_path / "d") == "..data/d"
    assert (tmp_path / "d" / "b").stat().st_mode & 0o777 == 0o600
    first = os.readlink(tmp_path / "..data")
    assert not write_atomically(tmp_path, {"a": File(b"1"), "d/b": File(b"2", 0o600)}, "two")
    assert os.readlink(tmp_path / "..data") == first
    assert write_atomically(tmp_path, {"a": File(b"9"), "c": File(b"3")}, "three")
    assert (tmp_path / "a").read_bytes() == b"9"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["..data", "..three", "a", "c"]


def test_a_reader_holding_the_old_version_keeps_reading_it(tmp_path: Path) -> None:
    write_atomically(tmp_path, {"a": File(b"old")}, "one")
    with (tmp_path / "a").open("rb") as reader:
        write_atomically(tmp_path, {"a": File(b"new")}, "two")
        assert reader.read() == b"old"


def test_a_crash_between_steps_is_mended(tmp_path: Path) -> None:
    write_atomically(tmp_path, {"a": File(b"old")}, "one")
    (tmp_path / "..half").mkdir()
    (tmp_path / "..data_tmp").symlink_to("..half")
    write_atomically(tmp_path, {"a": File(b"new")}, "two")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["..data", "..two", "a"]


def target_of(root: Path, subpath: str) -> Path:
    with opened_subpath(str(root), subpath, "it") as found:
        return Path(os.readlink(f"/proc/self/fd/{found}"))


def test_subpaths_are_made_with_the_volumes_mode(tmp_path: Path) -> None:
    root = tmp_path / "volume"
    root.mkdir()
    root.chmod(0o2770)
    assert target_of(root, "a/b") == root / "a" / "b"
    assert (root / "a").stat().st_mode & 0o7777 == 0o2770
    (root / "file").write_text("x")
    assert target_of(root, "file") == root / "file"


@pytest.mark.parametrize("subpath", ["../x", "/etc", "out", "out/passwd", "out/new", "up/x", "a/../../x"])
def test_subpaths_never_leave_the_volume(tmp_path: Path, subpath: str) -> None:
    root = tmp_path / "volume"
    root.mkdir()
    (root / "out").symlink_to("/etc")
    (root / "up").symlink_to("..")
    with pytest.raises(SubPathFailure) as caught:
        target_of(root, subpath)
    assert str(caught.value) == "failed to prepare subPath for it"
    assert not (tmp_path / "x").exists()


def test_links_inside_the_volume_may_be_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert target_of(tmp_path, "link") == tmp_path / "real"
    assert target_of(tmp_path, "link/new") == tmp_path / "real" / "new"


def test_host_paths_are_checked_by_type(tmp_path: Path) -> None:
    prepare_host_path(tmp_path / "made", "DirectoryOrCreate")
    prepare_host_path(tmp_path / "file", "FileOrCreate")
    prepare_host_path(tmp_path / "any", "")
    assert (tmp_path / "made").is_dir()
    assert (tmp_path / "file").is_file()
    for kind, complaint in [
        ("Directory", "is not a directory"), ("Socket", "is not a socket file"),
        ("CharDevice", "is not a character device"), ("BlockDevice", "is not a block device"),
    ]:  # fmt: skip
        with pytest.raises(VolumeFailure) as caught:
            prepare_host_path(tmp_path / "file", kind)
        assert str(caught.value) == f"hostPath type check failed: {tmp_path / 'file'} {complaint}"
    with pytest.raises(VolumeFailure):
        prepare_host_path(tmp_path / "none" / "file", "FileOrCreate")


def test_a_group_gets_what_its_members_need(tmp_path: Path) -> None:
    root = tmp_path / "volume"
    (root / "d").mkdir(parents=True)
    (root / "d" / "f").write_text("x")
    (root / "d" / "f").chmod(0o600)
    (root / "d").chmod(0o700)
    (root / "link").symlink_to("/etc/passwd")
    before = os.stat("/etc/passwd")
    group = os.getgid()
    give_to_group(root, group)
    assert (root / "d" / "f").stat().st_mode & 0o7777 == 0o660
    assert (root / "d").stat().st_mode & 0o7777 == 0o2770
    assert os.stat("/etc/passwd").st_mode == before.st_mode
    (root / "d" / "f").chmod(0o600)
    give_to_group(root, group, only_on_mismatch=True)
    assert (root / "d" / "f").stat().st_mode & 0o7777 == 0o600  # the root already fits: nothing is walked


def test_mounts_below_a_folder_are_found_deepest_first() -> None:
    text = "1 0 0:1 / /a rw - tmpfs x rw\n2 1 0:2 / /a/b\\040c rw - tmpfs x rw\n3 1 0:3 / /ab rw - tmpfs x rw\n"
    assert mounted_below(Path("/a"), text) == [Path("/a/b c"), Path("/a")]
    assert mounted_below(Path("/a/b c"), text) == [Path("/a/b c")]
    assert mounted_below(Path("/a/b"), text) == mounted_below(Path("/c"), text) == []
    assert mounted_below(Path("/"), text) == [Path("/a/b c"), Path("/a"), Path("/ab")]


def test_ids_are_mapped_or_not() -> None:
    ids = IdMaps(parse_map("         0       1000          1\n"), parse_map("0 1000 1\n1 100000 65536\n"))
    assert (ids.user(0), ids.user(1000), ids.user(None)) == (0, None, None)
    assert (ids.group(0), ids.group(2000), ids.group(65537)) == (0, 2000, None)
