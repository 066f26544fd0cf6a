"""Which owners to look at again when one of their children changes. Source: `workloads` 0.1 and 4.6."""

from collections.abc import Callable

from homeport.api.owners import controller_of
from homeport.client.contract import Object
from homeport.client.informer import Informer, Key, key_of
from homeport.controllers.children import resolve
from homeport.controllers.selection import selection_of

__all__ = ["wake_owners"]


def wake_owners(
    children: Informer,
    owners: Informer,
    wake: Callable[[Key], None],
) -> None:
    """Call `wake` with an owner's key on every change of a child it controls, or might adopt.

    A child that changes hands wakes both; the end of an orphan wakes nobody.
    """

    def owner_changed(child: Object) -> bool:
        controller = controller_of(child)
        if controller is None:
            return False
        owner = resolve(owners, child["metadata"]["namespace"], controller)
        if owner is not None:
            wake(key_of(owner))
        return True

    def orphan_changed(child: Object) -> None:
        for owner in owners.list(child["metadata"]["namespace"]):
            selection = selection_of(owner)
            if selection is not None and not selection.everything and selection.matches(child):
                wake(key_of(owner))

    def added(child: Object) -> None:
        if not owner_changed(child) and "deletionTimestamp" not in child["metadata"]:
            orphan_changed(child)

    def updated(old: Object, new: Object) -> None:
        before, after = old["metadata"], new["metadata"]
        changed = before.get("ownerReferences") != after.get("ownerReferences") and controller_of(old) != controller_of(
            new
        )
        if changed:
            owner_changed(old)
        if owner_changed(new):
            return
        if changed or before.get("labels") != after.get("labels"):
            orphan_changed(new)

    def deleted(last: Object) -> None:
        owner_changed(last)

    children.add_handler(add=added, update=updated, delete=deleted)
