"""Finding, adopting and releasing the objects a controller owns: the shell around `ownership`.

Source: `workloads` 0.1.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from homeport.api.owners import Owner, controller_uid
from homeport.api.resources import Resource
from homeport.client.contract import Client, Object, PatchType
from homeport.client.informer import Informer
from homeport.controllers import ownership
from homeport.errors import Conflict, Invalid, NotFound

__all__ = ["OWNER", "candidates", "claim_children", "index_by_owner", "orphans_of", "owned_by", "resolve"]

OWNER: Final = "controller"


def _owner(obj: Object) -> Sequence[str]:
    return (controller_uid(obj) or _orphans(obj["metadata"].get("namespace", "")),)


def _orphans(namespace: str) -> str:
    return f"orphans in {namespace}"


def index_by_owner(cache: Informer) -> None:
    """Let `owned_by` and `orphans_of` answer from an index."""
    cache.add_indexer(OWNER, _owner)


def owned_by(cache: Informer, uid: str) -> Sequence[Object]:
    """Return the objects a uid controls."""
    return cache.by_index(OWNER, uid)


def orphans_of(cache: Informer, namespace: str) -> Sequence[Object]:
    """Return the objects of a namespace that nobody controls."""
    return cache.by_index(OWNER, _orphans(namespace))


def candidates(cache: Informer, owner: Object) -> Sequence[Object]:
    """Return what an owner might keep, release or adopt."""
    metadata = owner["metadata"]
    return [*owned_by(cache, metadata["uid"]), *orphans_of(cache, metadata.get("namespace", ""))]


def resolve(cache: Informer, namespace: str, owner: Owner | None) -> Object | None:
    """Return the object an owner reference means; kind, name and uid must all agree."""
    if owner is None or owner.kind != cache.resource.kind or owner.group != cache.resource.group:
        return None
    found = cache.get(namespace, owner.name)
    return found if found is not None and found["metadata"]["uid"] == owner.uid else None


async def claim_children(
    client: Client,
    owner_resource: Resource,
    owner: Object,
    child_resource: Resource,
    children: Sequence[Object],
    matches: Callable[[Object], bool],
    wrote: Callable[[Object], None],
    *,
    finalizers: Sequence[str] = (),
) -> Sequence[Object]:
    """Adopt and release as the rules say; return the children that are the owner's now, adopted ones as patched.

    wrote       told of every object patched
    finalizers  what the owner puts on its children, and takes from those it lets go

    Raises ApiError when a patch fails for another reason than that the child changed or went.
    """
    claimed = ownership.claim(owner, children, matches)
    kept = list(claimed.kept)
    for child in claimed.release:
        with suppress(NotFound, Invalid):  # gone, or another one by that name: nothing to release
            wrote(await _patch(client, child_resource, child, ownership.release_patch(owner, child, finalizers)))
    if claimed.adopt:
        await _confirm(client, owner_resource, owner, claimed.adopt[0])
    for child in claimed.adopt:
        with suppress(NotFound):
            adopted = await _patch(client, child_resource, child, ownership.adoption_patch(owner, child, finalizers))
            wrote(adopted)
            kept.append(adopted)
    return kept


async def _confirm(client: Client, resource: Resource, owner: Object, child: Object) -> None:
    """Make sure the owner is still there before it takes anything in; the cache may not know. Raises Conflict."""
    metadata = owner["metadata"]
    fresh = (await client.get(resource, metadata["namespace"], metadata["name"]))["metadata"]
    if fresh["uid"] != metadata["uid"]:
        reason = f"original {resource.kind} {metadata['namespace']}/{metadata['name']} is gone"
    elif "deletionTimestamp" in fresh:
        reason = f"{metadata['namespace']}/{metadata['name']} has just been deleted at {fresh['deletionTimestamp']}"
    else:
        return
    about = child["metadata"]
    raise Conflict(f"can't adopt {child['kind']} {about['namespace']}/{about['name']} ({about['uid']}): {reason}")


async def _patch(client: Client, resource: Resource, child: Object, patch: Object) -> Object:
    metadata = child["metadata"]
    return await client.patch(resource, metadata["namespace"], metadata["name"], patch, kind=PatchType.STRATEGIC)
