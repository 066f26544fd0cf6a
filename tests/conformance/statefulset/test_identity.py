"""Who the pods of a StatefulSet are, and whose."""

from tests.conformance.statefulset.sets import pause_new_pods, resume
from tests.conformance.workloads import SELECTOR, headless, saturated, statefulset
from tests.conformance.world import World, also_on_real_pods, owner


@also_on_real_pods
def test_should_provide_basic_identity(world: World) -> None:
    """StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should provide basic identity"""
    names = ["ss-0", "ss-1", "ss-2"]
    world.create(headless())
    tree = statefulset("ss", world.images[0], 3, claims=True)
    pause_new_pods(world, tree, names)
    world.create(tree)
    _saturate(world, names)

    before = {}
    for ordinal, pod in enumerate(saturated(world, "sts/ss", 3)):
        name, spec = pod["metadata"]["name"], pod["spec"]
        assert (spec["hostname"], spec["subdomain"]) == (name, "test")
        assert pod["metadata"]["labels"]["apps.kubernetes.io/pod-index"] == str(ordinal)
        assert pod["metadata"]["labels"]["statefulset.kubernetes.io/pod-name"] == name
        (volume,) = (one for one in spec["volumes"] if one["name"] == "datadir")
        assert volume["persistentVolumeClaim"]["claimName"] == f"datadir-{name}"
        assert world.resolve(f"{name}.test") == {pod["status"]["podIP"]}
        before[name] = world.get(f"pvc/datadir-{name}")["metadata"]["uid"]
    if world.runs_programs:
        for name in names:
            assert world.execute(name, "hostname").strip() == name
            world.execute(name, "sh", "-c", "test -w /data && ls -d /data && test ! -e /data/hostname")
            world.execute(name, "sh", "-c", "echo $(hostname) | dd of=/data/hostname conv=fsync")
            world.execute(name, "ln", "-s", "/data/hostname", "/data/hostname-symlink")

    uids = {pod["metadata"]["uid"] for pod in world.pods(SELECTOR)}
    world.scale("sts/ss", 0)
    world.until(lambda: not world.pods(SELECTOR), "the set is scaled to nothing")
    if not world.runs_programs:
        pause_new_pods(world, tree, names)
    world.scale("sts/ss", 3)
    _saturate(world, names)
    assert uids.isdisjoint(pod["metadata"]["uid"] for pod in saturated(world, "sts/ss", 3))
    assert before == {name: world.get(f"pvc/datadir-{name}")["metadata"]["uid"] for name in names}
    if world.runs_programs:
        for name in names:
            world.execute(name, "sh", "-c", 'test "$(cat /data/hostname)" = "$(hostname)"')
            world.execute(name, "sh", "-c", 'test "$(cat /data/hostname-symlink)" = "$(hostname)"')


def _saturate(world: World, names: list[str]) -> None:
    """Let paused pods come one after the other; none comes before the one below is ready."""
    for count, name in enumerate(names, 1):
        world.until(lambda: world.get(f"pod/{name}")["status"]["phase"] == "Running", f"{name} runs")  # noqa: B023
        assert world.pod_names(SELECTOR) == names[:count]
        resume(world, name)


@also_on_real_pods
def test_should_adopt_matching_orphans_and_release_non_matching_pods(world: World) -> None:
    """
    StatefulSet Basic StatefulSet functionality [StatefulSetBasic] should adopt matching orphans and release
    non-matching pods
    """
    world.create(headless())
    created = world.create(statefulset("ss", world.images[0], 1, claims=True))
    mine = ("StatefulSet", "ss", created["metadata"]["uid"])
    (pod,) = saturated(world, "sts/ss", 1)
    assert owner(pod) == mine

    world.change("pod/ss-0", lambda tree: tree["metadata"].pop("ownerReferences"))
    world.until(lambda: owner(world.get("pod/ss-0")) == mine, "the orphan is adopted again")

    labels = pod["metadata"]["labels"]
    world.change("pod/ss-0", lambda tree: tree["metadata"].pop("labels"))
    world.until(lambda: owner(world.get("pod/ss-0")) is None, "the pod without labels is released")
    assert world.get("pod/ss-0")["metadata"]["uid"] == pod["metadata"]["uid"]

    world.change("pod/ss-0", lambda tree: tree["metadata"].update(labels=labels))
    world.until(lambda: owner(world.get("pod/ss-0")) == mine, "the pod with its labels back is adopted")
    assert world.get("pod/ss-0")["metadata"]["uid"] == pod["metadata"]["uid"]
