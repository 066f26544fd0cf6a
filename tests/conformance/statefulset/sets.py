"""What tests of StatefulSets wait for and look at."""

from collections.abc import Iterable, Sequence
from typing import Any

from tests.conformance.workloads import SELECTOR
from tests.conformance.world import World, is_ready, revision_label

__all__ = [
    "all_at",
    "break_probes",
    "claims",
    "mend_probes",
    "pause_new_pods",
    "resume",
    "revisions",
    "rolled_out",
    "rolled_out_to",
    "set_image",
]

SET = "sts/ss"


def revisions(world: World, target: str = SET) -> tuple[str, str]:
    """Return the names of the current and the update revision."""
    status = world.observed(target)["status"]
    return status["currentRevision"], status["updateRevision"]


def set_image(world: World, image: str, target: str = SET) -> None:
    """Give the template's first container another image."""
    world.change(target, lambda tree: tree["spec"]["template"]["spec"]["containers"][0].update(image=image))


def all_at(pods: Iterable[Any], revision: str, image: str) -> bool:
    """Whether pods were made from a revision, with its image."""
    return all(revision_label(pod) == revision and pod["spec"]["containers"][0]["image"] == image for pod in pods)


def rolled_out(world: World, target: str = SET) -> list[Any]:
    """Wait until an update is complete in every field of the status; return the pods."""

    def complete() -> bool:
        tree = world.get(target)
        status, wanted = tree["status"], tree["spec"]["replicas"]
        counts = (status.get("updatedReplicas"), status.get("readyReplicas"), status.get("currentReplicas"))
        seen = status.get("observedGeneration") == tree["metadata"]["generation"]
        return bool(seen and set(counts) == {wanted} and status["currentRevision"] == status["updateRevision"])

    world.until(complete, f"{target} is rolled out", 600)
    return world.pods(SELECTOR)


def rolled_out_to(world: World, partition: int, target: str = SET) -> list[Any]:
    """Wait until all pods from a partition on are updated and every pod is ready; return the pods."""
    if partition == 0:
        return rolled_out(world, target)
    wanted = world.get(target)["spec"]["replicas"]

    def complete() -> bool:
        status, pods = world.observed(target)["status"], world.pods(SELECTOR)
        if status.get("updatedReplicas", 0) != wanted - partition or len(pods) != wanted:
            return False
        updated = pods[partition:]
        return all(is_ready(pod) for pod in pods) and all(
            revision_label(pod) == status["updateRevision"] for pod in updated
        )

    world.until(complete, f"{target} is rolled out down to ordinal {partition}", 600)
    return world.pods(SELECTOR)


def break_probes(world: World, pods: Sequence[str], target: str = SET) -> None:
    """Let pods fail their readiness probes; wait until each is running and not ready, and the status knows."""
    ready = world.status(target).get("readyReplicas", 0)
    for pod in pods:
        world.break_http_probe(pod)

    def unready(pod: str) -> bool:
        tree = world.get(f"pod/{pod}")
        return bool(tree["status"]["phase"] == "Running" and not is_ready(tree))

    world.until(lambda: all(unready(pod) for pod in pods), f"{pods} are running and not ready")
    left = ready - len(pods)
    world.until(lambda: world.status(target).get("readyReplicas", 0) == left, f"{target} counts {left} ready")


def mend_probes(world: World, pods: Sequence[str]) -> None:
    """Let pods pass their readiness probes again."""
    for pod in pods:
        world.mend_http_probe(pod)


def pause_new_pods(world: World, tree: Any, pods: Sequence[str]) -> None:
    """Let new pods of a set become ready only when told to, one by one."""
    container = tree["spec"]["template"]["spec"]["containers"][0]
    mark = {"exec": {"command": ["test", "-f", "/tmp/continue"]}}
    container["readinessProbe"] = {**mark, "periodSeconds": 1, "failureThreshold": 1}
    if not world.runs_programs:
        for pod in pods:
            world.break_http_probe(pod)


def resume(world: World, pod: str) -> None:
    """Let a pod of `pause_new_pods` become ready; wait until it is."""
    if world.runs_programs:
        world.execute(pod, "touch", "/tmp/continue")
    else:
        world.mend_http_probe(pod)
    world.until(lambda: world.ready(pod), f"{pod} is ready")


def claims(world: World) -> list[str]:
    """Return the names of the claims of the namespace."""
    return [str(claim["metadata"]["name"]) for claim in world.items("pvc")]
