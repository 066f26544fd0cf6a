"""Claims and their volumes: nobody's data is lost but by a retention policy (workloads 6 and 17; KEP-1847).

A claim is given to its set, or to its pod, only as a policy says that the controller may have known. It goes only after
the one it was given to, and never after a set that was deleted alone while the claim was its own. A volume goes only
after its claim.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from homeport.api.resources import find
from homeport.testing.knowledge import STALE_SECONDS
from homeport.testing.objects import controller_of, is_leaving, is_ready, ordinal_of, wants_ordinal

if TYPE_CHECKING:
    from homeport.testing.invariants import Invariants

__all__ = ["Retention"]

SETS: Final = find("StatefulSet", "apps")
PODS: Final = find("Pod")
CLAIMS: Final = find("PersistentVolumeClaim")
NAMESPACES: Final = find("Namespace")


class Retention:
    """Looks at every change of claims, volumes, and sets that leave."""

    def __init__(self, invariants: "Invariants") -> None:
        self._invariants = invariants
        self._volumes: dict[str, str] = {}  # claim uid → its volume
        self._alone: dict[str, tuple[float, set[str]]] = {}  # set uid → when it was deleted alone, claims it had then
        self._given: dict[tuple[str, str], float] = {}  # (claim uid, uid of its controller) → since when

    def set_changed(self, old: Any, new: Any) -> None:
        """A set changed; one that gets the finalizer `orphan` is to leave without what is its own."""
        if new is None or not is_leaving(new) or is_leaving(old):
            return
        metadata = new["metadata"]
        if "orphan" in (metadata.get("finalizers") or ()):
            own = {
                claim["metadata"]["uid"]
                for claim in self._invariants.simulation.objects(CLAIMS, metadata["namespace"])
                if (controller_of(claim) or {}).get("uid") == metadata["uid"]
            }
            self._alone[metadata["uid"]] = (self._invariants.now, own)

    def pod_created(self, pod: Any) -> None:
        """A pod uses the claims made for it, and no others."""
        name = pod["metadata"]["name"]
        for volume in pod["spec"].get("volumes") or ():
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
            if claim and claim != f"{volume['name']}-{name}":
                self._invariants.broken("claims", f"pod {name} uses claim {claim}")

    def claim_changed(self, old: Any, new: Any) -> None:
        """A claim changed."""
        before, after = controller_of(old), controller_of(new)
        if new is not None:
            uid, volume = new["metadata"]["uid"], (new.get("spec") or {}).get("volumeName", "")
            if volume and self._volumes.setdefault(uid, volume) != volume:
                self._invariants.broken("ownership", f"claim {new['metadata']['name']} got another volume")
            if after is not None and (before is None or before["uid"] != after["uid"]):
                self._given[uid, after["uid"]] = self._invariants.now
                self._look_at_gift(new["metadata"], after)
        if old is not None and is_leaving(new) and not is_leaving(old):
            self._look_at_loss(old["metadata"], before)

    def volume_changed(self, old: Any, new: Any) -> None:
        """A volume changed."""
        volume = new or old
        claim = (volume["spec"].get("claimRef") or {}).get("uid")
        name = volume["metadata"]["name"]
        if new is not None and claim and self._volumes.setdefault(claim, name) != name:
            self._invariants.broken("ownership", f"volumes {self._volumes[claim]} and {name} are of one claim")
        if old is not None and is_leaving(new) and not is_leaving(old):
            claims = self._invariants.simulation.objects(
                CLAIMS, (volume["spec"].get("claimRef") or {}).get("namespace")
            )
            if any(one["metadata"]["uid"] == claim for one in claims):
                self._invariants.broken("claims", f"volume {name} goes, and its claim is there")

    def _look_at_gift(self, claim: Any, owner: Any) -> None:
        """A claim gets a controller: some set that its giver may have known must have wanted that."""
        found = [
            list(self._judge_gift(tree, claim, owner))
            for tree in self._invariants.versions(SETS, claim["namespace"], _set_of(claim["name"]))
        ]
        if not found or all(found):
            reason = found[0][0] if found else "there is no such set"
            given = f"claim {claim['name']} is given to {owner['kind']} {owner['name']}"
            self._invariants.broken("claims", f"{given}: {reason}")

    def _judge_gift(self, tree: Any, claim: Any, owner: Any) -> Iterator[str]:
        policy = tree["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
        wanted = wants_ordinal(tree, int(claim["name"].rpartition("-")[2]))
        when_scaled, when_deleted = policy.get("whenScaled") == "Delete", policy.get("whenDeleted") == "Delete"
        if is_leaving(tree):
            yield "the set is on its way out"
        elif owner["kind"] == "Pod":
            if not when_scaled:
                yield "the set keeps the claims of pods that are scaled away"
            if wanted:
                yield "the set wants the pod"
        else:
            if owner["uid"] != tree["metadata"]["uid"]:
                yield "it is another set"
            if not when_deleted:
                yield "the set leaves its claims behind"
            if when_scaled and not wanted:
                yield "the pod is scaled away"

    def _look_at_loss(self, claim: Any, owner: Any) -> None:
        """A claim begins to go: after its owner, or with its namespace."""
        namespace, name = claim["namespace"], claim["name"]
        simulation = self._invariants.simulation
        if is_leaving(simulation.find(NAMESPACES, None, namespace)):
            return
        if owner is None:
            self._invariants.broken("claims", f"claim {name} goes, and is nobody's")
            return
        found = simulation.find(PODS if owner["kind"] == "Pod" else SETS, namespace, owner["name"])
        if found is not None and found["metadata"]["uid"] == owner["uid"] and not _awaits_dependents(found):
            self._invariants.broken("claims", f"claim {name} goes, and {owner['kind']} {owner['name']} is there")
        alone = self._alone.get(owner["uid"])
        if alone is None:
            return
        at, own = alone
        # to a set that leaves, a pass under way may still give a claim that nobody could have taken from it
        late = self._given.get((claim["uid"], owner["uid"]), 0.0) - at
        if claim["uid"] in own or not 0.0 <= late <= STALE_SECONDS:
            self._invariants.broken("claims", f"claim {name} goes with set {owner['name']}, which was deleted alone")

    def at_rest(self) -> Iterator[str]:
        """Yield the claims of pods that are not owned as their set's policy says."""
        for tree in self._invariants.simulation.objects(SETS):
            name, namespace = tree["metadata"]["name"], tree["metadata"]["namespace"]
            policy = tree["spec"].get("persistentVolumeClaimRetentionPolicy") or {}
            wanted = tree["metadata"]["uid"] if policy.get("whenDeleted") == "Delete" else ""
            for pod in self._invariants.simulation.objects(PODS, namespace):
                if ordinal_of(name, pod["metadata"]["name"]) is None or not is_ready(pod):
                    continue
                for volume in pod["spec"].get("volumes") or ():
                    claimed = (volume.get("persistentVolumeClaim") or {}).get("claimName", "")
                    claim = self._invariants.simulation.find(CLAIMS, namespace, claimed) if claimed else None
                    if not claimed:
                        continue
                    if claim is None:
                        yield f"claims: {pod['metadata']['name']} runs without its claim {claimed}"
                    elif not is_leaving(claim) and ((controller_of(claim) or {}).get("uid") or "") != wanted:
                        yield f"claims: {claimed} belongs to {controller_of(claim)}, and the set's policy is {policy}"


def _set_of(claim: str) -> str:
    """Return the set's name: claim templates here have names without a dash."""
    return claim.rpartition("-")[0].partition("-")[2]


def _awaits_dependents(owner: Any) -> bool:
    return is_leaving(owner) and "foregroundDeletion" in (owner["metadata"].get("finalizers") or ())
