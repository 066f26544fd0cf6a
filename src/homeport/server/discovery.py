"""What is served, told in the legacy and in the aggregated form (api-machinery 3)."""

import base64
from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from itertools import groupby
from typing import Final

from homeport.api.exchange import Request, Response
from homeport.api.resources import Gvk, Resource, Subresource
from homeport.errors import NotAcceptable
from homeport.server import answers
from homeport.server.negotiation import Representation, choose, parse_accept
from homeport.server.objects import Tree, encode_json
from homeport.server.served import SERVED

__all__ = ["Discovery"]

_AGGREGATED: Final = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
_WANTED: Final = {"g": "apidiscovery.k8s.io", "v": "v2", "as": "APIGroupDiscoveryList"}
_REFUSED: Final = (
    "only the following media types are accepted: application/json, application/yaml, "
    "application/vnd.kubernetes.protobuf"
)
_FOREIGN_GROUPS: Final = ("autoscaling", "policy", "authentication.k8s.io")


class Discovery:
    """Answers the paths above the resources. Documents are made once."""

    def __init__(self, server_address: str) -> None:
        self._address = server_address

    def answer(self, request: Request, query: Mapping[str, str]) -> Response | None:
        """Return the response for a discovery path, or None for any other."""
        match request.path.strip("/").split("/"):
            case ["api" | "apis" as root]:
                if self._wants_aggregated(request.headers):
                    return _aggregated(root, request.headers.get("if-none-match", ""))
                document: Tree | None = self._versions() if root == "api" else _group_list()
            case ["api", version]:
                document = _resource_list("", version)
            case ["apis", group]:
                document = _group(group)
            case ["apis", group, version]:
                document = _resource_list(group, version)
            case _:
                return None
        if document is None:
            return None
        representation = choose(request.headers, query, collection=False)
        plain = Representation(yaml=representation.yaml, pretty=representation.pretty)
        return answers.tree(document, Gvk("", "v1", ""), plain, 0.0)

    @staticmethod
    def _wants_aggregated(headers: Mapping[str, str]) -> bool:
        """Tell whether the first clause that can be met is the aggregated form. Raises NotAcceptable (3.5, 3.6)."""
        clauses = parse_accept(headers.get("accept", ""))
        asked = False
        for clause in clauses:
            if clause.parameters.get("as") == "APIGroupDiscoveryList":
                asked = True
                if clause.media == "application/json" and _WANTED.items() <= clause.parameters.items():
                    return True
            else:
                return False
        if asked:
            raise NotAcceptable(_REFUSED)
        return False

    def _versions(self) -> Tree:
        return {
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": self._address}],
        }

    def use_address(self, address: str) -> None:
        """Publish the address the listener has bound."""
        self._address = address


@cache
def _groups() -> Mapping[str, Sequence[Resource]]:
    return {group: tuple(found) for group, found in groupby(SERVED, key=lambda resource: resource.group)}


def _group_document(group: str) -> Tree:
    versions = dict.fromkeys(resource.version for resource in _groups()[group])
    listed = [{"groupVersion": f"{group}/{version}", "version": version} for version in versions]
    return {"name": group, "versions": listed, "preferredVersion": listed[0]}


def _group_list() -> Tree:
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group_document(group) for group in _groups() if group],
    }


def _group(group: str) -> Tree | None:
    if not group or group not in _groups():
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group_document(group)}


@cache
def _resource_list(group: str, version: str) -> Tree | None:
    found = [resource for resource in _groups().get(group, ()) if resource.version == version]
    if not found:
        return None
    entries: list[Tree] = []
    if not group:
        entries.append(
            {"name": "bindings", "singularName": "binding", "namespaced": True, "kind": "Binding", "verbs": ["create"]}
        )
    for resource in found:
        entries.append(_entry(resource))
        entries += [_sub_entry(resource, sub) for sub in resource.subresources]
    head: Tree = {"kind": "APIResourceList"}
    if group:
        head["apiVersion"] = "v1"
    return {**head, "groupVersion": f"{group}/{version}" if group else version, "resources": entries}


def _entry(resource: Resource) -> Tree:
    entry: Tree = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if "list" in resource.verbs:
        digest = sha256(f"{resource.group}/{resource.version}/{resource.kind}".encode()).digest()[:8]
        entry["storageVersionHash"] = base64.b64encode(digest).decode()
    return entry


def _sub_entry(resource: Resource, sub: Subresource) -> Tree:
    entry: Tree = {
        "name": f"{resource.plural}/{sub.name}",
        "singularName": "",
        "namespaced": resource.namespaced,
        "kind": sub.gvk.kind,
        "verbs": list(sub.verbs),
    }
    if sub.gvk.group in _FOREIGN_GROUPS:
        entry |= {"group": sub.gvk.group, "version": sub.gvk.version}
    return entry


@cache
def _aggregated_bytes(root: str) -> tuple[bytes, str]:
    wanted = [group for group in _groups() if (root == "api") == (group == "")]
    document = {
        "kind": "APIGroupDiscoveryList",
        "apiVersion": "apidiscovery.k8s.io/v2",
        "metadata": {},
        "items": [_aggregated_group(group) for group in wanted],
    }
    body = encode_json(document) + b"\n"
    return body, '"' + sha256(body).hexdigest().upper() + '"'


def _aggregated_group(group: str) -> Tree:
    versions = []
    for version, found in groupby(_groups()[group], key=lambda resource: resource.version):
        resources = [_aggregated_resource(resource) for resource in found]
        if not group:
            resources.insert(
                0,
                {
                    "resource": "bindings",
                    "responseKind": {"group": "", "version": "", "kind": "Binding"},
                    "scope": "Namespaced",
                    "singularResource": "binding",
                    "verbs": ["create"],
                },
            )
        versions.append({"version": version, "resources": resources, "freshness": "Current"})
    metadata = {"name": group} if group else {}
    return {"metadata": metadata, "versions": versions}


def _aggregated_resource(resource: Resource) -> Tree:
    entry: Tree = {
        "resource": resource.plural,
        "responseKind": {"group": "", "version": "", "kind": resource.kind},
        "scope": "Namespaced" if resource.namespaced else "Cluster",
        "singularResource": resource.singular,
        "verbs": list(resource.verbs),
    }
    if resource.short_names:
        entry["shortNames"] = list(resource.short_names)
    if resource.categories:
        entry["categories"] = list(resource.categories)
    if resource.subresources:
        entry["subresources"] = [_aggregated_sub(sub) for sub in resource.subresources]
    return entry


def _aggregated_sub(sub: Subresource) -> Tree:
    foreign = sub.gvk.group in _FOREIGN_GROUPS
    kind = {
        "group": sub.gvk.group if foreign else "",
        "version": sub.gvk.version if foreign else "",
        "kind": sub.gvk.kind,
    }
    return {"subresource": sub.name, "responseKind": kind, "verbs": list(sub.verbs)}


def _aggregated(root: str, known: str) -> Response:
    """Answer with the aggregated document, or 304 where the client has it (3.8)."""
    body, etag = _aggregated_bytes(root)
    headers = [("etag", etag), ("vary", "Accept"), ("cache-control", "public")]
    if known == etag:
        return Response(304, headers)
    return Response(200, [("content-type", _AGGREGATED), *headers], body)
