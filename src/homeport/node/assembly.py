"""From spec, image, environment and volumes to the one value a runtime starts a container from."""

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from homeport.node.command import NoCommand, argv, expand
from homeport.node.context import NodeContext
from homeport.node.environment import ConfigError, Environment, build_environment
from homeport.node.files import make_directory, write_file
from homeport.node.pod import ContainerDef, Pod
from homeport.node.resources import container_limits
from homeport.node.runtime.contract import ContainerSpec, Image, Mount, RuntimeFailure
from homeport.node.security import security_of
from homeport.node.volumes.failure import SubPathFailure
from homeport.node.volumes.mounts import Mounts
from homeport.node.volumes.pod_volumes import Volume
from homeport.node.volumes.subpath import opened_subpath

__all__ = ["Assembly", "assemble", "termination_file"]

Tree: TypeAlias = Mapping[str, Any]

PROPAGATION: Final = {"None": "rprivate", "HostToContainer": "rslave", "Bidirectional": "rshared"}


@dataclass(frozen=True, slots=True)
class Assembly:
    """Where one instance of a container belongs."""

    container_id: str
    sandbox_id: str
    attempt: int
    pod_ips: Sequence[str]
    identity: Mapping[str, str]


def termination_file(directory: Path, container: str, container_id: str) -> Path:
    """Return where an instance leaves its last words, below the pod's directory."""
    return directory.joinpath("containers", container, container_id)


def assemble(
    context: NodeContext,
    pod: Pod,
    container: ContainerDef,
    image: Image,
    volumes: Mapping[str, Volume],
    place: Assembly,
) -> ContainerSpec:
    """Return the complete spec, its files made; raises ConfigError, RuntimeFailure (`CreateContainerError`)."""
    environment = build_environment(pod, container, context.objects, context.facts(place.pod_ips))
    tree = container.tree
    try:
        words = argv(image.entrypoint, image.command, tree.get("command"), tree.get("args"), environment.known)
    except NoCommand as error:
        raise RuntimeFailure("CreateContainerError", str(error)) from error
    directory = context.settings.pod_directory(pod.uid)
    mounts = [
        *_volume_mounts(container, volumes, environment, directory, context.mounts),
        *_own_files(container, place, directory),
    ]
    return ContainerSpec(
        id=place.container_id,
        sandbox_id=place.sandbox_id,
        image=image,
        argv=words,
        environment=environment.over(image.environment),
        working_directory=tree.get("workingDir") or image.working_directory or "/",
        log_path=context.settings.log_path(pod, container.name, place.attempt),
        mounts=tuple(sorted(mounts, key=lambda mount: os.path.normpath(mount.target).count("/"))),
        security=security_of(pod, container, image),
        limits=container_limits(pod, container, context.capacity.memory_bytes),
        tty=bool(tree.get("tty")),
        stdin=bool(tree.get("stdin")),
        labels={
            "pod-uid": pod.uid,
            "pod-namespace": pod.namespace,
            "pod-name": pod.name,
            "container": container.name,
            "attempt": str(place.attempt),
            "hash": container.hash,
            "image": image.reference,
            "image-id": image_id(image),
            "stop-signal": image.stop_signal,
        },
    )


def image_id(image: Image) -> str:
    """Return what `imageID` shows: the digest reference when there is one, the config digest otherwise."""
    return image.digest or image.id


def _own_files(container: ContainerDef, place: Assembly, directory: Path) -> Iterator[Mount]:
    """The pod's identity files, unless the container mounts its own there, and the termination log."""
    taken = {os.path.normpath(mount["mountPath"]) for mount in container.tree.get("volumeMounts") or ()}
    for target, source in place.identity.items():
        if target not in taken:
            yield Mount(target, source)
    path = container.tree.get("terminationMessagePath") or "/dev/termination-log"
    if path not in taken:
        make_directory(os.fspath(directory), "containers", container.name, mode=0o750)
        file = os.fspath(termination_file(directory, container.name, place.container_id))
        write_file(file, b"", 0o666)
        yield Mount(path, file)


def _volume_mounts(
    container: ContainerDef,
    volumes: Mapping[str, Volume],
    environment: Environment,
    directory: Path,
    mounts: Mounts,
) -> Iterator[Mount]:
    for index, entry in enumerate(container.tree.get("volumeMounts") or ()):
        volume = volumes.get(entry["name"])
        if volume is None:
            raise ConfigError(f'cannot find volume "{entry["name"]}" to mount into container "{container.name}"')
        source = volume.path
        subpath = _subpath(entry, environment)
        if subpath:
            target = directory / "volume-subpaths" / volume.name / container.name / str(index)
            what = f'volumeMount "{volume.name}" of container "{container.name}"'
            source = _bind_subpath(volume.path, subpath, target, what, mounts)
        yield Mount(
            entry["mountPath"],
            str(source),
            read_only=volume.read_only or bool(entry.get("readOnly")),
            propagation=PROPAGATION[entry.get("mountPropagation") or "None"],
        )


def _subpath(entry: Tree, environment: Environment) -> str:
    expression = entry.get("subPathExpr")
    if not expression:
        return entry.get("subPath") or ""
    known = {name: value for name, value in environment.known.items() if value}
    expanded = expand(expression, known)
    if "$(" in expanded.replace("$$(", ""):
        missing = expanded.partition("$(")[2].partition(")")[0]
        raise ConfigError(f"missing value for {missing}")
    return expanded


def _bind_subpath(root: Path, subpath: str, target: Path, what: str, mounts: Mounts) -> Path:
    try:
        with opened_subpath(str(root), subpath, what) as found:
            _fresh_mount_point(target, os.fstat(found).st_mode, mounts)
            mounts.bind(found, target)
    except (SubPathFailure, OSError) as error:
        raise ConfigError(f"failed to prepare subPath for {what}") from error
    return target


def _fresh_mount_point(target: Path, mode: int, mounts: Mounts) -> None:
    """Make an empty directory or file to bind onto, like what will be bound; an earlier instance's is let go."""
    mounts.unmount_below(target)
    if target.is_symlink() or target.is_file():
        target.unlink()
    elif target.is_dir():
        target.rmdir()
    target.parent.mkdir(0o750, parents=True, exist_ok=True)
    if stat.S_ISDIR(mode):
        target.mkdir()
    else:
        target.touch()
