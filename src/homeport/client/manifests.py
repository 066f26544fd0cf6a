"""Reading manifests: files, directories, standard input; every object with the place it came from."""

import difflib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from homeport.api.resources import BY_GVK, RESOURCES, Gvk, Resource

__all__ = ["Manifest", "ManifestError", "manifests_of", "parse_manifests", "read_manifests", "resource_of"]

SUFFIXES = (".yaml", ".yml", ".json")


class ManifestError(Exception):
    """A manifest that cannot be used; the text names the file, the document, the field and the remedy."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """One object and where it was written: `shop.yaml, document 2`."""

    source: str
    resource: Resource
    tree: Mapping[str, Any]

    @property
    def name(self) -> str:
        return str(self.tree["metadata"]["name"])

    def namespace(self, default: str) -> str | None:
        """Return the namespace it belongs in; None for cluster-scoped kinds."""
        if not self.resource.namespaced:
            return None
        return str(self.tree["metadata"].get("namespace") or default)


def read_manifests(sources: Sequence[str]) -> list[Manifest]:
    """Read every object of the named files, directories (their manifests, by name) and `-`, in order.

    Raises ManifestError on the first that cannot be used, before anything has been sent anywhere.
    """
    found: list[Manifest] = []
    for source in sources:
        for label, text in _texts(source):
            for place, tree in _documents(label, text):
                found += _objects(place, tree)
    if not found:
        raise ManifestError(f"{', '.join(sources)}: no objects found; expected YAML or JSON manifests ({_suffixes()})")
    return found


def parse_manifests(label: str, text: str) -> list[Manifest]:
    """Read every object of a text; `label` names it in errors. Raises ManifestError."""
    return [one for place, tree in _documents(label, text) for one in _objects(place, tree)]


def manifests_of(label: str, tree: Any) -> list[Manifest]:
    """Read one object, or every object of a List. Raises ManifestError."""
    return list(_objects(label, tree))


def _suffixes() -> str:
    return ", ".join(SUFFIXES)


def _texts(source: str) -> Iterator[tuple[str, str]]:
    if source == "-":
        yield "standard input", sys.stdin.read()
        return
    path = Path(source)
    try:
        if path.is_dir():
            files = sorted(entry for entry in path.iterdir() if entry.suffix in SUFFIXES and entry.is_file())
            if not files:
                raise ManifestError(f"{source}: no manifests in this directory ({_suffixes()})")
            for entry in files:
                yield str(entry), entry.read_text(encoding="utf-8")
            return
        yield source, path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ManifestError(f"{source}: no such file or directory") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{source}: cannot be read: {error}") from error


def _documents(label: str, text: str) -> Iterator[tuple[str, Any]]:
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        documents = list(yaml.load_all(text, Loader=loader))
    except yaml.YAMLError as error:
        raise ManifestError(f"{label}: not valid YAML: {_one_line(error)}") from error
    for number, tree in enumerate(documents, 1):
        if tree is not None:
            yield (f"{label}, document {number}" if len(documents) > 1 else label), tree


def _one_line(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return (
        f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark is not None else " ".join(problem.split())
    )


def _objects(place: str, tree: Any) -> Iterable[Manifest]:
    if not isinstance(tree, Mapping):
        raise ManifestError(f"{place}: expected an object with apiVersion and kind, got {type(tree).__name__}")
    if str(tree.get("kind", "")).endswith("List") and isinstance(tree.get("items"), Sequence):
        for number, item in enumerate(tree["items"]):
            yield from _objects(f"{place}, items[{number}]", item)
        return
    for field in ("apiVersion", "kind"):
        if not isinstance(tree.get(field), str):
            raise ManifestError(f"{place}: {field}: required, a string such as {_example(field)}")
    resource = _known(place, tree["apiVersion"], tree["kind"])
    metadata = tree.get("metadata")
    if not isinstance(metadata, Mapping) or not isinstance(metadata.get("name"), str):
        raise ManifestError(f"{place}: metadata.name: required, the name of this {resource.kind}")
    yield Manifest(place, resource, tree)


def _example(field: str) -> str:
    return "apps/v1" if field == "apiVersion" else "StatefulSet"


def _known(place: str, api_version: str, kind: str) -> Resource:
    group, _, version = api_version.rpartition("/")
    resource = BY_GVK.get(Gvk(group, version, kind))
    if resource is not None:
        return resource
    same = [r for r in RESOURCES if r.kind.lower() == kind.lower()]
    if same:
        wanted = " or ".join(f"apiVersion: {r.api_version}, kind: {r.kind}" for r in same)
        raise ManifestError(f"{place}: {api_version} {kind} is not served; write {wanted}")
    raise ManifestError(
        f"{place}: kind: {kind} ({api_version}) is not served here; served kinds: "
        + ", ".join(sorted({r.kind for r in RESOURCES}))
    )


def resource_of(word: str) -> Resource:
    """Return the resource a person means by `sts`, `statefulset`, `statefulsets.apps`. Raises ManifestError."""
    name, _, group = word.lower().partition(".")
    for resource in RESOURCES:
        names = (resource.plural, resource.singular, *resource.short_names)
        if name in names and (not group or group == resource.group):
            return resource
    known = {word for resource in RESOURCES for word in (resource.plural, resource.singular)}
    near = difflib.get_close_matches(name, sorted(known), 1, cutoff=0.7)
    if near:
        raise ManifestError(f"{word}: no such resource; did you mean {near[0]}?")
    raise ManifestError(f"{word}: no such resource; one of: {', '.join(sorted({r.plural for r in RESOURCES}))}")
