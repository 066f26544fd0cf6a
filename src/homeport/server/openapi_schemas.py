"""OpenAPI 3.0 schemas of the served kinds, made from the schema facts: names, types, merge and list keys; no prose."""

from collections.abc import Iterable
from typing import Final

from homeport.api import schema
from homeport.api.resources import Resource
from homeport.server.objects import Tree

__all__ = ["schema_name", "schemas"]

_SCALARS: Final[dict[str, Tree]] = {
    "s": {"type": "string"},
    "i": {"type": "integer", "format": "int32"},
    "l": {"type": "integer", "format": "int64"},
    "n": {"type": "number", "format": "double"},
    "b": {"type": "boolean"},
    "q": {"oneOf": [{"type": "string"}, {"type": "number"}]},
    "x": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    "t": {"type": "string", "format": "date-time"},
    "u": {"type": "string", "format": "date-time"},
    "y": {"type": "string", "format": "byte"},
    "r": {"type": "object"},
    "f": {"type": "object"},
}


def schema_name(type_name: str) -> str:
    """Return the published name of a type: `core.v1.Pod` is `io.k8s.api.core.v1.Pod`."""
    package = "io.k8s.apimachinery.pkg.apis" if type_name.startswith("meta.") else "io.k8s.api"
    return f"{package}.{type_name}"


def schemas(resources: Iterable[Resource]) -> Tree:
    """Return the schemas of some kinds and of every type they are made of."""
    kinds: dict[str, Resource] = {}
    for resource in resources:
        found = schema.kind_type(resource.gvk)
        if found is not None:
            kinds[found.name] = resource
    out: Tree = {}
    waiting = list(kinds)
    while waiting:
        name = waiting.pop()
        if schema_name(name) in out:
            continue
        facts = schema.struct(name)
        out[schema_name(name)] = _object(facts, kinds.get(name))
        for field in facts.fields.values():
            inner = field.type.lstrip("[]{}")
            if inner.startswith("@"):
                waiting.append(inner[1:])
    return dict(sorted(out.items()))


def _object(facts: schema.Struct, resource: Resource | None) -> Tree:
    properties = {name: _property(field) for name, field in facts.fields.items()}
    document: Tree = {"type": "object"}
    if resource is not None:
        properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, **properties}
        gvk = {"group": resource.group, "version": resource.version, "kind": resource.kind}
        document["x-kubernetes-group-version-kind"] = [gvk]
    if facts.atomic:
        document["x-kubernetes-map-type"] = "atomic"
    required = [name for name, field in facts.fields.items() if not field.optional and not field.omit_empty]
    if required and resource is None:
        document["required"] = required
    if properties:
        document["properties"] = properties
    return document


def _property(field: schema.Field) -> Tree:
    document = _typed(field.type)
    if field.patch_strategy:
        document["x-kubernetes-patch-strategy"] = ",".join(field.patch_strategy)
    if field.merge_key:
        document["x-kubernetes-patch-merge-key"] = field.merge_key
    if field.list_type:
        document["x-kubernetes-list-type"] = field.list_type
    if field.list_keys:
        document["x-kubernetes-list-map-keys"] = list(field.list_keys)
    if field.map_type:
        document["x-kubernetes-map-type"] = field.map_type
    return document


def _typed(code: str) -> Tree:
    if code.startswith("[]"):
        return {"type": "array", "items": _typed(code[2:])}
    if code.startswith("{}"):
        return {"type": "object", "additionalProperties": _typed(code[2:])}
    if code.startswith("@"):
        return {"allOf": [{"$ref": f"#/components/schemas/{schema_name(code[1:])}"}], "default": {}}
    return dict(_SCALARS[code])
