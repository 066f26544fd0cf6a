"""What configMap, secret, downwardAPI and projected volumes contain: a function of their sources.

Pure but for tokens, which the caller has fetched. Source: `node` section 8.4.
"""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from homeport.node.environment import Facts, Objects
from homeport.node.fields import UnknownField, field_value
from homeport.node.pod import Pod
from homeport.node.resources import resource_field
from homeport.node.volumes.failure import VolumeFailure

__all__ = ["File", "TokenRequest", "payload", "token_places"]

Tree: TypeAlias = Mapping[str, Any]

DEFAULT_MODE: Final = 0o644
TOKEN_SECONDS: Final = 3600
NAME_LIMIT: Final = 255
PATH_LIMIT: Final = 4096


@dataclass(frozen=True, slots=True)
class File:
    """Content and permission bits of one file."""

    content: bytes
    mode: int = DEFAULT_MODE


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A service account token a volume asks for; an empty audience means the API server's own."""

    audience: str
    seconds: int


def token_places(volume: Tree) -> list[tuple[str, TokenRequest]]:
    """Return the tokens a projected volume needs, each with its path in there."""
    return [
        (token["path"], _token_request(token))
        for source in (volume.get("projected") or {}).get("sources") or ()
        if (token := source.get("serviceAccountToken")) is not None
    ]


def _token_request(token: Tree) -> TokenRequest:
    return TokenRequest(token.get("audience") or "", int(token.get("expirationSeconds") or TOKEN_SECONDS))


def payload(
    pod: Pod, volume: Tree, objects: Objects, facts: Facts, tokens: Mapping[TokenRequest, str]
) -> dict[str, File]:
    """Return relative path → file; raises VolumeFailure when a source that is not optional is missing."""
    if (source := volume.get("configMap")) is not None:
        mode = _mode(source.get("defaultMode"), DEFAULT_MODE)
        files = dict(_config_map(pod, source.get("name", ""), source, objects, mode))
    elif (source := volume.get("secret")) is not None:
        mode = _mode(source.get("defaultMode"), DEFAULT_MODE)
        files = dict(_secret(pod, source.get("secretName", ""), source, objects, mode))
    elif (source := volume.get("downwardAPI")) is not None:
        mode = _mode(source.get("defaultMode"), DEFAULT_MODE)
        files = dict(_downward(pod, source.get("items") or (), facts, mode))
    else:
        files = _projected(pod, volume.get("projected") or {}, objects, facts, tokens)
    for path in files:
        _check_path(path)
    return files


def _mode(value: int | None, default: int) -> int:
    return default if value is None else int(value) & 0o777


def _projected(
    pod: Pod, projected: Tree, objects: Objects, facts: Facts, tokens: Mapping[TokenRequest, str]
) -> dict[str, File]:
    mode = _mode(projected.get("defaultMode"), DEFAULT_MODE)
    files: dict[str, File] = {}
    for source in projected.get("sources") or ():
        if (config_map := source.get("configMap")) is not None:
            files |= _config_map(pod, config_map.get("name", ""), config_map, objects, mode)
        elif (secret := source.get("secret")) is not None:
            files |= _secret(pod, secret.get("name", ""), secret, objects, mode)
        elif (downward := source.get("downwardAPI")) is not None:
            files |= _downward(pod, downward.get("items") or (), facts, mode)
        elif (token := source.get("serviceAccountToken")) is not None:
            files[token["path"]] = File(tokens[_token_request(token)].encode(), _token_mode(pod, mode))
        elif not any((part or {}).get("optional") for part in source.values()):
            raise VolumeFailure(f"projected source {', '.join(source)} is not supported by this node")
    return files


def _token_mode(pod: Pod, default: int) -> int:
    """A token is for its pod's user alone when that user is known (`node` 8.4)."""
    context = pod.spec.get("securityContext") or {}
    if context.get("fsGroup") is not None:
        return 0o600  # the group bits follow with the group
    return 0o600 if common_user(pod) is not None else default


def common_user(pod: Pod) -> int | None:
    """Return the uid all containers run as, None when they differ or it is not stated."""
    pod_user = (pod.spec.get("securityContext") or {}).get("runAsUser")
    users = {(c.tree.get("securityContext") or {}).get("runAsUser", pod_user) for c in pod.all()}
    return next(iter(users)) if len(users) == 1 else None


def _config_map(pod: Pod, name: str, source: Tree, objects: Objects, mode: int) -> Iterator[tuple[str, File]]:
    found = objects.config_map(pod.namespace, name)
    if found is None:
        if source.get("optional"):
            return
        raise VolumeFailure(f'configmap "{name}" not found')
    data = {key: value.encode() for key, value in (found.get("data") or {}).items()}
    data |= {key: base64.b64decode(value) for key, value in (found.get("binaryData") or {}).items()}
    yield from _select(data, source, mode, "config")


def _secret(pod: Pod, name: str, source: Tree, objects: Objects, mode: int) -> Iterator[tuple[str, File]]:
    found = objects.secret(pod.namespace, name)
    if found is None:
        if source.get("optional"):
            return
        raise VolumeFailure(f'secret "{name}" not found')
    data = {key: base64.b64decode(value) for key, value in (found.get("data") or {}).items()}
    yield from _select(data, source, mode, "secret")


def _select(data: Mapping[str, bytes], source: Tree, mode: int, what: str) -> Iterator[tuple[str, File]]:
    items = source.get("items")
    if not items:
        yield from ((key, File(content, mode)) for key, content in data.items())
        return
    for item in items:
        content = data.get(item["key"])
        if content is None:
            if source.get("optional"):
                continue
            raise VolumeFailure(f"references non-existent {what} key: {item['key']}")
        yield item["path"], File(content, _mode(item.get("mode"), mode))


def _downward(pod: Pod, items: Sequence[Tree], facts: Facts, mode: int) -> Iterator[tuple[str, File]]:
    for item in items:
        if (reference := item.get("fieldRef")) is not None:
            try:
                text = field_value(pod, reference["fieldPath"], (), ())
            except UnknownField as error:
                raise VolumeFailure(str(error)) from error
        else:
            reference = item.get("resourceFieldRef") or {}
            container = pod.find(reference.get("containerName", ""))
            if container is None:
                raise VolumeFailure(f"container {reference.get('containerName', '')} not found")
            text = resource_field(container, reference["resource"], reference.get("divisor"), facts.allocatable or {})
        yield item["path"], File(text.encode(), _mode(item.get("mode"), mode))


def _check_path(path: str) -> None:
    """Raise VolumeFailure for a path that could leave the volume or hide its own machinery."""
    parts = path.split("/")
    if path.startswith(("/", "..")) or ".." in parts or not path or len(path) > PATH_LIMIT:
        raise VolumeFailure(f"invalid path: {path}")
    if any(len(part.encode()) > NAME_LIMIT for part in parts):
        raise VolumeFailure(f"invalid path: file name is too long: {path}")
