"""Why a claim has no volume, or does not go."""

from homeport.explain.model import Evidence, Explanation, Snapshot, near
from homeport.explain.workloads import left_claims

__all__ = ["explain_claim"]


def explain_claim(seen: Snapshot, name: str) -> Explanation:
    """Explain a claim, whether or not it exists."""
    subject = f"PersistentVolumeClaim {name}"
    claim = seen.find("PersistentVolumeClaim", name)
    if claim is None:
        there = near(name, seen.of("PersistentVolumeClaim"))
        return Explanation(subject, False, f"{subject} does not exist in namespace {seen.namespace}{there}.")
    users = [
        pod["metadata"]["name"]
        for pod in seen.of("Pod")
        for volume in pod["spec"].get("volumes") or ()
        if (volume.get("persistentVolumeClaim") or {}).get("claimName") == name
    ]
    evidence = [Evidence(f"Pod {user}", "mounts it") for user in users]
    if claim["metadata"].get("deletionTimestamp"):
        held = f"pod {users[0]} uses it" if users else ", ".join(claim["metadata"].get("finalizers") or ())
        return Explanation(
            subject, False, f"{subject} is being deleted, but {held or 'not gone yet'}.", tuple(evidence)
        )
    phase = claim.get("status", {}).get("phase", "Pending")
    if phase == "Bound":
        sentence = f"{subject} is bound to volume {claim['spec'].get('volumeName', '?')}"
        for owner in seen.of("StatefulSet"):
            if claim in left_claims(seen, owner):
                owner_name = owner["metadata"]["name"]
                evidence.append(
                    Evidence(f"StatefulSet {owner_name}", f"spec.replicas {owner['spec'].get('replicas', 1)}")
                )
                sentence += f"; StatefulSet {owner_name} does not want its pod now, and uses it again when it does"
        return Explanation(subject, True, f"{sentence}.", tuple(evidence))
    warnings = seen.warnings(claim)
    evidence += [
        Evidence(f"Event {one.get('reason', '')}", " ".join(one.get("message", "").split())) for one in warnings[-3:]
    ]
    class_name = claim["spec"].get("storageClassName")
    evidence.append(Evidence(subject, f"phase {phase}, storage class {class_name!r}"))
    if phase == "Lost":
        return Explanation(
            subject, False, f"{subject} has lost its volume {claim['spec'].get('volumeName', '')}.", tuple(evidence)
        )
    if warnings:
        said = " ".join(warnings[-1].get("message", "").split())
        return Explanation(subject, False, f"{subject} waits for a volume: {said.rstrip('.')}.", tuple(evidence))
    if not users:
        return Explanation(
            subject, False, f"{subject} waits for a volume, and may wait for a pod that mounts it.", tuple(evidence)
        )
    return Explanation(subject, False, f"{subject} waits for a volume of class {class_name!r}.", tuple(evidence))
