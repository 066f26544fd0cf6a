"""Which stored templates are current and wanted, written down when they are new: the shell around `history`.

Source: `workloads` 3.2 and 3.3.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from homeport.api.resources import find
from homeport.client.contract import Client, Object
from homeport.client.informer import Informer
from homeport.controllers import history
from homeport.controllers.history import HASH_LABEL, ApplyNumber, NewRevision, Revision
from homeport.controllers.own_writes import OwnWrites
from homeport.controllers.statefulset.model import Pod, StatefulSet
from homeport.errors import AlreadyExists, NotFound

__all__ = ["CONTROLLER_REVISIONS", "Chosen", "RevisionKeeper"]

CONTROLLER_REVISIONS: Final = find("ControllerRevision", "apps")

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Chosen:
    """The revision pods come from, the one they are to reach, and how often a name was taken by another template."""

    current: Revision
    update: Revision
    collisions: int


class RevisionKeeper:
    """Reads and writes the ControllerRevisions of sets."""

    def __init__(self, client: Client, cache: Informer, writes: OwnWrites[Key]) -> None:
        self._client, self._cache, self._writes = client, cache, writes

    async def choose(self, key: Key, obj: Object, desired: StatefulSet, known: Sequence[Revision]) -> Chosen:
        """Return the revisions of this pass; a new template is stored, one seen before is raised to the top.

        known  the set's revisions, oldest first
        """
        collisions = desired.status.collision_count or 0
        data = history.canonical(history.template_data(desired.template))
        match history.choose(known, data):
            case Revision() as update:
                pass
            case ApplyNumber(revision, number):
                update = await self._raise(key, desired, revision, number)
            case NewRevision(number):
                update, collisions = await self._create(key, obj, desired, data, number, collisions)
        named = [revision for revision in known if revision.name == desired.status.current_revision]
        current = named[-1] if named else update
        return Chosen(update if current.name == update.name else current, update, collisions)

    async def truncate(
        self, key: Key, desired: StatefulSet, known: Sequence[Revision], chosen: Chosen, pods: Iterable[Pod]
    ) -> None:
        """Delete what is beyond the history limit and not in use."""
        live = {chosen.current.name, chosen.update.name, *(pod.revision for pod in pods)}
        for revision in history.surplus(known, live, desired.history_limit):
            with suppress(NotFound):
                await self._client.delete(CONTROLLER_REVISIONS, desired.namespace, revision.name, uid=revision.uid)
            shown = self._cache.get(desired.namespace, revision.name)
            if shown is not None:
                self._writes.deleted(key, self._cache, shown)

    async def _raise(self, key: Key, desired: StatefulSet, revision: Revision, number: int) -> Revision:
        written = await self._client.patch(
            CONTROLLER_REVISIONS,
            desired.namespace,
            revision.name,
            {"metadata": {"uid": revision.uid}, "revision": number},
        )
        self._writes.wrote(key, self._cache, written)
        return history.decode(written)

    async def _create(
        self, key: Key, obj: Object, desired: StatefulSet, data: bytes, number: int, collisions: int
    ) -> tuple[Revision, int]:
        """Store a template; while the name is taken by another one, count a collision and try the next name."""
        while True:
            body = _body(obj, desired, number, history.hash_of(data, collisions))
            try:
                written = await self._client.create(CONTROLLER_REVISIONS, body)
            except AlreadyExists:
                taken = await self._client.get(CONTROLLER_REVISIONS, desired.namespace, body["metadata"]["name"])
                revision = history.decode(taken)
                if revision.data == data:
                    return revision, collisions
                collisions += 1
                continue
            self._writes.wrote(key, self._cache, written)
            return history.decode(written), collisions


def _body(obj: Object, desired: StatefulSet, number: int, digest: str) -> dict[str, Any]:
    labels: Mapping[str, str] = (desired.template.get("metadata") or {}).get("labels") or {}
    metadata: dict[str, Any] = {
        "name": history.revision_name(desired.name, digest),
        "namespace": desired.namespace,
        "labels": {**labels, HASH_LABEL: digest},
        "ownerReferences": [desired.owner.as_json()],
    }
    if obj["metadata"].get("annotations"):
        metadata["annotations"] = obj["metadata"]["annotations"]
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": metadata,
        "data": history.template_data(desired.template),
        "revision": number,
    }
