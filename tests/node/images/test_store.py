"""The image store, archives that can and cannot be loaded, aliases, and which image a name means."""

import gzip
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from homeport.node.images.aliases import AliasTable, parse_alias
from homeport.node.images.archive import load
from homeport.node.images.host import HOST_REFERENCE, host_image, is_host, program_of
from homeport.node.images.local import LocalImages, alias, list_images, load_archive
from homeport.node.images.reference import Reference, parse
from homeport.node.images.store import BadImage, ImageStore, decompress
from homeport.node.runtime.contract import Image, ImageError
from tests.node.images.building import archive, entry, layer

SMALL = layer(entry("file", b"content"))


def images(root: Path) -> LocalImages:
    return LocalImages(ImageStore(root), AliasTable(root), None)


def loaded(root: Path, *tags: str, config: dict[str, object] | None = None) -> Image:
    root.mkdir(exist_ok=True)
    archive(root / "image.tar", [SMALL], config or {"Cmd": ["run"], "Env": ["A=1=2"], "User": "me"}, list(tags))
    return load_archive(root / "images", root / "image.tar")[0]


def test_a_loaded_image_is_found_by_every_form_of_its_name(tmp_path: Path) -> None:
    image = loaded(tmp_path, "app:1")
    store = ImageStore(tmp_path / "images")
    for text in ("app:1", "docker.io/library/app:1"):
        record = store.resolve(parse(text))
        assert record is not None
        assert record.id == image.id
    assert (image.command, image.environment, image.user) == (("run",), (("A", "1=2"),), "me")
    [directory] = store.layer_directories(image.id)
    assert (directory / "file").read_bytes() == b"content"
    assert [found.reference for found in list_images(tmp_path / "images")] == [
        "docker.io/library/app:1",
        "homeport.local/host",
    ]


def test_without_a_name_an_image_is_known_by_its_id(tmp_path: Path) -> None:
    image = loaded(tmp_path)
    assert image.reference == image.id


def test_removing_the_last_name_removes_image_and_layers(tmp_path: Path) -> None:
    loaded(tmp_path, "app:1", "app:2")
    store = ImageStore(tmp_path / "images")
    assert store.remove(parse("app:1"))
    assert store.resolve(parse("app:2")) is not None
    assert store.remove(parse("app:2"))
    assert not store.remove(parse("app:2"))
    assert list((tmp_path / "images/layers").iterdir()) == []


def spoiled(change: Callable[[bytes], bytes]) -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        archive(root / "image.tar", [SMALL], {}, ["app:1"])
        (root / "image.tar").write_bytes(change((root / "image.tar").read_bytes()))
        return root / "image.tar"

    return make


def test_an_unreadable_archive_says_what_is_wrong_with_it(tmp_path: Path) -> None:
    empty = tmp_path / "empty.tar"
    empty.write_bytes(layer(entry("other", b"")))
    cases = [
        (tmp_path / "absent.tar", "No such file or directory"),
        (empty, "neither a docker archive nor an OCI layout"),
        (tmp_path, "neither a docker archive nor an OCI layout"),
        (_written(tmp_path / "junk", b"junk" * 500), "not a readable tar archive"),
        (_written(tmp_path / "cut.gz", gzip.compress(SMALL)[:-20]), "ends too early"),
        (_written(tmp_path / "json.tar", layer(entry("manifest.json", b"{"))), "manifest.json is not JSON"),
        (_written(tmp_path / "kind.tar", layer(entry("manifest.json", b"{}"))), "manifest.json is not a JSON list"),
        (_written(tmp_path / "half.tar", layer(entry("manifest.json", b'[{"Config":"c"}]'))), "c is missing"),
    ]
    for path, why in cases:
        with pytest.raises(BadImage, match=why) as caught:
            load(ImageStore(tmp_path / "images"), path)
        assert str(caught.value).startswith(f"cannot load image archive {path}: ")


def _written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_layer_that_is_not_what_the_configuration_says_is_refused(tmp_path: Path) -> None:
    diff_id = f"sha256:{hashlib.sha256(b'other').hexdigest()}"
    raw = json.dumps({"rootfs": {"diff_ids": [diff_id]}}).encode()
    manifest = json.dumps([{"Config": "c", "RepoTags": ["a:1"], "Layers": ["l"]}]).encode()
    path = _written(tmp_path / "a.tar", layer(entry("c", raw), entry("l", SMALL), entry("manifest.json", manifest)))
    with pytest.raises(BadImage, match="does not match its digest"):
        load(ImageStore(tmp_path / "images"), path)
    assert ImageStore(tmp_path / "images").resolve(parse("a:1")) is None
    assert [entry.name for entry in (tmp_path / "images/layers").iterdir()] == []


@pytest.mark.parametrize(
    "pack",
    [
        lambda data: data,
        gzip.compress,
        lambda data: gzip.compress(data[:1000]) + gzip.compress(data[1000:]),
        lambda data: zstandard.ZstdCompressor().compress(data),
    ],
    ids=["plain", "gzip", "gzip members", "zstd"],
)
def test_compression_is_told_by_the_first_bytes(pack: Callable[[bytes], bytes]) -> None:
    data = bytes(range(256)) * 1000
    reader = decompress(io.BytesIO(pack(data)))
    out = b""
    while piece := reader.read(7777):
        out += piece
    assert out == data


async def test_a_name_is_an_alias_first_then_the_host_then_the_store(tmp_path: Path) -> None:
    loaded(tmp_path, "app:1", "other:1")
    here = images(tmp_path / "images")
    assert await here.find("absent:1") is None
    found = await here.find("app:1")
    assert found is not None
    assert found.note == ""
    alias(tmp_path / "images", "app:*=homeport.local/host sleep 'a b'")
    found = await here.find("app:1")
    assert found is not None
    assert is_host(found.id)
    assert (found.entrypoint, found.command) == (("sleep", "a b"), ())
    assert found.note == "app:1 is an alias of homeport.local/host"
    assert await here.pull("app:1") == found
    assert AliasTable(tmp_path / "images").remove("app:*")
    host = await here.find("homeport.local/host")
    assert host == host_image("homeport.local/host")
    assert await here.pull("homeport.local/host") == host


async def test_a_missing_image_is_refused_in_upstream_words(tmp_path: Path) -> None:
    with pytest.raises(ImageError) as caught:
        await images(tmp_path).pull("example.org/absent:1")
    assert caught.value.reason == "ErrImagePull"
    assert caught.value.message.startswith(
        'failed to pull and unpack image "example.org/absent:1": failed to resolve reference "example.org/absent:1": '
    )
    with pytest.raises(ImageError) as caught:
        await images(tmp_path).find("Bad:1")
    assert caught.value.reason == "InvalidImageName"
    assert caught.value.message == (
        'couldn\'t parse image name "Bad:1": invalid reference format: repository name must be lowercase'
    )


async def test_a_well_known_program_stands_in_and_says_so(tmp_path: Path) -> None:
    image = await images(tmp_path).pull("docker.io/library/busybox:1.36")
    program = program_of(image.id)
    assert program is not None
    assert program.name == "busybox"
    assert image.note.startswith("docker.io/library/busybox:1.36 is not available here; using this machine's own")
    with pytest.raises(ImageError):
        await images(tmp_path).pull("example.org/library/busybox")


class Unreachable:
    async def pull(self, reference: Reference) -> Image:
        raise ImageError("ErrImagePull", f"no way to {reference}")


async def test_a_loaded_image_is_used_when_its_registry_cannot_be_asked(tmp_path: Path) -> None:
    image = loaded(tmp_path, "example.org/app:latest")
    here = LocalImages(ImageStore(tmp_path / "images"), AliasTable(tmp_path / "images"), Unreachable())
    found = await here.pull("example.org/app")
    assert found.id == image.id
    assert found.note == "example.org/app was loaded on this machine; its registry has no say"


@pytest.mark.parametrize("text", ["", "a", "=b", "a=", "a=B:1", "a=b 'open"])
def test_what_is_no_alias_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_alias(text)


def test_an_alias_reads_back_as_it_was_written() -> None:
    assert str(parse_alias("nginx:*=homeport.local/host nginx -g 'daemon off;'")) == (
        "nginx:*=homeport.local/host nginx -g 'daemon off;'"
    )


def test_the_host_image_has_one_id_per_release(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("1")
    (tmp_path / "two").write_text("2")
    one, two = (host_image(HOST_REFERENCE, os_release=tmp_path / name) for name in ("one", "two"))
    assert one.id != two.id
    assert is_host(one.id)
    assert not is_host("sha256:12")
