"""The ConfigMaps and Secrets that pods of this node refer to: watched one by one, only while a pod needs them.

A node may read what its own pods name and nothing else, so there is one watch per object, shared by all pods. A change
wakes the pods that refer to it, which is how volumes follow within moments and a missing object heals itself.
"""

import asyncio
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from homeport.api.resources import Resource, find
from homeport.client.contract import Client, Object, Source
from homeport.client.informer import Informer
from homeport.node.pod import Pod

__all__ = ["ObjectCache", "Reference", "references"]

CONFIG_MAPS: Final = find("ConfigMap")
SECRETS: Final = find("Secret")

Tree: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reference:
    """One object by kind, namespace and name."""

    kind: str
    namespace: str
    name: str

    @property
    def resource(self) -> Resource:
        return CONFIG_MAPS if self.kind == "ConfigMap" else SECRETS


def references(pod: Pod) -> frozenset[Reference]:
    """Return every ConfigMap and Secret the pod's containers and volumes name."""
    found = set(_volume_references(pod))
    for container in pod.all():
        for source in container.tree.get("envFrom") or ():
            found |= set(_named(pod.namespace, source, "configMapRef", "secretRef"))
        for entry in container.tree.get("env") or ():
            found |= set(_named(pod.namespace, entry.get("valueFrom") or {}, "configMapKeyRef", "secretKeyRef"))
    return frozenset(found)


def _named(namespace: str, tree: Tree, config_map: str, secret: str) -> Iterator[Reference]:
    if name := (tree.get(config_map) or {}).get("name"):
        yield Reference("ConfigMap", namespace, name)
    if name := (tree.get(secret) or {}).get("name"):
        yield Reference("Secret", namespace, name)


def _volume_references(pod: Pod) -> Iterator[Reference]:
    for volume in pod.spec.get("volumes") or ():
        yield from _named(pod.namespace, volume, "configMap", "")
        if name := (volume.get("secret") or {}).get("secretName"):
            yield Reference("Secret", pod.namespace, name)
        for source in (volume.get("projected") or {}).get("sources") or ():
            yield from _named(pod.namespace, source, "configMap", "secret")


@dataclass(slots=True)
class _Watched:
    informer: Informer
    task: asyncio.Task[None]
    users: dict[str, Callable[[], None]] = field(default_factory=dict)

    def changed(self, _: Object) -> None:
        for wake in self.users.values():
            wake()


class ObjectCache:
    """What `environment.Objects` reads, filled by `hold`."""

    def __init__(self, client: Client, rng: random.Random, source: Source | None = None) -> None:
        self._client, self._rng, self._source = client, rng, source
        self._watched: dict[Reference, _Watched] = {}

    async def hold(self, user: str, wanted: frozenset[Reference], wake: Callable[[], None]) -> None:
        """Watch what `user` (a pod's uid) refers to, and nothing else for it; returns once all is known."""
        for reference in [known for known in self._watched if known not in wanted]:
            self._release(reference, user)
        for reference in wanted:
            watched = self._watched.get(reference)
            if watched is None:
                watched = self._watched[reference] = self._watch(reference)
            watched.users[user] = wake
        for reference in wanted:
            await self._watched[reference].informer.synced.wait()

    def release(self, user: str) -> None:
        """Stop watching for a pod that is gone."""
        for reference in list(self._watched):
            self._release(reference, user)

    def _release(self, reference: Reference, user: str) -> None:
        watched = self._watched[reference]
        if watched.users.pop(user, None) is not None and not watched.users:
            watched.task.cancel()
            del self._watched[reference]

    def _watch(self, reference: Reference) -> _Watched:
        informer = Informer(
            self._client,
            reference.resource,
            reference.namespace,
            rng=self._rng,
            field_selector=f"metadata.name={reference.name}",
            source=self._source,
        )
        task = asyncio.create_task(informer.run(), name=f"watch-{reference.kind}-{reference.name}")
        watched = _Watched(informer, task)
        informer.on_change(watched.changed)
        return watched

    def config_map(self, namespace: str, name: str) -> Tree | None:
        return self._find(Reference("ConfigMap", namespace, name))

    def secret(self, namespace: str, name: str) -> Tree | None:
        return self._find(Reference("Secret", namespace, name))

    def _find(self, reference: Reference) -> Tree | None:
        watched = self._watched.get(reference)
        return watched.informer.get(reference.namespace, reference.name) if watched else None

    async def close(self) -> None:
        """End all watches."""
        tasks = [watched.task for watched in self._watched.values()]
        self._watched.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
