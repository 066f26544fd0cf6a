"""Manifests: what is read from where, and what is said of those that cannot be used."""

from pathlib import Path

import pytest

from homeport.client.manifests import ManifestError, read_manifests, resource_of

SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\n"
NAMESPACE = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n"


def test_files_directories_and_lists_in_order(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "b.yaml").write_text(f"{SERVICE}---\n{NAMESPACE}")
    (folder / "a.json").write_text(
        '{"apiVersion":"v1","kind":"List","items":[{"apiVersion":"v1","kind":"Secret","metadata":{"name":"s"}}]}'
    )
    (folder / "notes.txt").write_text("not a manifest")
    single = tmp_path / "single.yml"
    single.write_text(SERVICE.replace("web", "other"))
    found = read_manifests([str(single), str(folder)])
    assert [(m.resource.kind, m.name) for m in found] == [
        ("Service", "other"),
        ("Secret", "s"),
        ("Service", "web"),
        ("Namespace", "shop"),
    ]
    assert found[3].namespace("default") is None
    assert found[2].namespace("default") == "default"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind: Service\nmetadata: {name: x}\n", "apiVersion: required"),
        ("apiVersion: v1\nmetadata: {name: x}\n", "kind: required"),
        ("apiVersion: v1\nkind: Service\nmetadata: {}\n", "metadata.name: required"),
        ("apiVersion: v1\nkind: StatefulSet\nmetadata: {name: x}\n", "write apiVersion: apps/v1, kind: StatefulSet"),
        ("apiVersion: v1\nkind: Statefulset\nmetadata: {name: x}\n", "write apiVersion: apps/v1, kind: StatefulSet"),
        ("apiVersion: v1\nkind: Teapot\nmetadata: {name: x}\n", "Teapot (v1) is not served here"),
        ("a: [1\n", "line 2, column 1"),
        ("- just\n- a list\n", "expected an object"),
        ("", "no objects found"),
    ],
)
def test_what_cannot_be_used_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(ManifestError) as caught:
        read_manifests([str(path)])
    assert said in str(caught.value)
    assert "bad.yaml" in str(caught.value)


def test_the_document_at_fault_is_named(tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(f"{SERVICE}---\nkind: Service\n")
    with pytest.raises(ManifestError, match=r"two\.yaml, document 2: apiVersion: required"):
        read_manifests([str(path)])


def test_a_missing_file_and_an_empty_directory(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file or directory"):
        read_manifests([str(tmp_path / "absent.yaml")])
    with pytest.raises(ManifestError, match="no manifests in this directory"):
        read_manifests([str(tmp_path)])


@pytest.mark.parametrize("word", ["sts", "statefulset", "StatefulSets", "statefulsets.apps"])
def test_resources_by_the_words_people_use(word: str) -> None:
    assert resource_of(word).kind == "StatefulSet"


def test_an_unknown_resource_lists_the_known() -> None:
    with pytest.raises(ManifestError, match="statefulsets"):
        resource_of("teapots")
