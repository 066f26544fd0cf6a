"""The OCI configuration of a container, from values alone."""

from dataclasses import replace
from pathlib import Path

import pytest

from homeport.node.runtime.contract import ContainerSpec, Image, Limits, Mount, RuntimeFailure, Security
from homeport.node.runtime.launcher import start_failure
from homeport.node.runtime.seccomp import default_profile, local_profile
from homeport.node.runtime.spec import ALL_CAPABILITIES, DEFAULT_CAPABILITIES, Place, build, capabilities, process
from homeport.node.runtime.users import User

IMAGE = Image("sha256:1", "app:1", environment=(("PATH", "/app"), ("A", "image")), working_directory="/srv")
SPEC = ContainerSpec("c", "s", IMAGE, ("run", "it"), (("A", "pod"), ("B", "")), "", Path("/logs/c.log"))
PLACE = Place(rootfs=Path("/run/c/rootfs"), sandbox_pid=42, shared_memory=Path("/run/s/shm"), hidden=("/data",))
USER = User(1000, 1001, (1001, 7))


def test_the_process_is_the_users_with_the_merged_environment() -> None:
    tree = process(SPEC, USER, "web-0", rootless=False)
    assert tree["args"] == ["run", "it"]
    assert tree["env"] == ["PATH=/app", "HOSTNAME=web-0", "A=pod", "B="]
    assert tree["cwd"] == "/srv"
    assert tree["user"] == {"uid": 1000, "gid": 1001, "additionalGids": [1001, 7], "umask": 0o022}
    assert tree["capabilities"]["inheritable"] == tree["capabilities"]["ambient"] == []
    assert tree["noNewPrivileges"] is False


def test_a_score_is_left_out_where_it_cannot_be_set() -> None:
    spec = replace(SPEC, limits=Limits(oom_score_adjust=-997))
    assert process(spec, USER, "h", rootless=False)["oomScoreAdj"] == -997
    assert "oomScoreAdj" not in process(spec, USER, "h", rootless=True)


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, argv=()),
        replace(SPEC, working_directory="relative"),
        replace(SPEC, working_directory="/proc/self/fd/7"),
    ],
)
def test_what_no_container_can_have_is_refused(spec: ContainerSpec) -> None:
    with pytest.raises(RuntimeFailure) as caught:
        process(spec, USER, "h", rootless=False)
    assert caught.value.reason == "CreateContainerError"


@pytest.mark.parametrize(
    ("security", "held"),
    [
        (Security(), DEFAULT_CAPABILITIES),
        (Security(drop_capabilities=("ALL",)), ()),
        (Security(drop_capabilities=("ALL",), add_capabilities=("NET_ADMIN",)), ("NET_ADMIN",)),
        (Security(add_capabilities=("ALL",)), ALL_CAPABILITIES),
        (Security(add_capabilities=("CAP_SYS_TIME", "unknown")), (*DEFAULT_CAPABILITIES, "SYS_TIME")),
        (Security(drop_capabilities=("NET_RAW", "KILL")), tuple({*DEFAULT_CAPABILITIES} - {"NET_RAW", "KILL"})),
        (Security(privileged=True, drop_capabilities=("ALL",)), ALL_CAPABILITIES),
    ],
)
def test_capabilities_start_from_the_default_then_add_then_drop(security: Security, held: tuple[str, ...]) -> None:
    assert set(capabilities(security)) == set(held)


def test_namespaces_are_the_sandboxs_and_the_engines_data_is_hidden() -> None:
    tree = build(SPEC, USER, "h", PLACE)["linux"]
    paths = {entry["type"]: entry.get("path") for entry in tree["namespaces"]}
    assert paths == {
        "mount": None,
        "pid": None,
        "network": "/proc/42/ns/net",
        "ipc": "/proc/42/ns/ipc",
        "uts": "/proc/42/ns/uts",
    }
    assert tree["maskedPaths"][0] == "/data"
    assert "/proc/kcore" in tree["maskedPaths"]
    assert "/proc/sys" in tree["readonlyPaths"]
    assert "cgroupsPath" not in tree
    assert tree["seccomp"]["defaultAction"] == "SCMP_ACT_ALLOW"


def test_privilege_lifts_masks_and_filter_but_not_the_engines_own() -> None:
    tree = build(replace(SPEC, security=Security(privileged=True)), USER, "h", PLACE)["linux"]
    assert tree["maskedPaths"] == ["/data"]
    assert tree["readonlyPaths"] == []
    assert "seccomp" not in tree


def test_a_read_only_root_names_folders_that_are_mounts_of_their_own() -> None:
    spec = replace(SPEC, security=Security(read_only_root=True))
    tree = build(spec, USER, "h", replace(PLACE, separate=("/etc", "/usr")))
    assert tree["root"]["readonly"] is True
    assert tree["linux"]["readonlyPaths"][:2] == ["/etc", "/usr"]


def test_volumes_come_after_the_base_and_outer_before_inner() -> None:
    spec = replace(
        SPEC,
        mounts=(
            Mount("/data/inner", "/v/2", read_only=True),
            Mount("/data", "/v/1", propagation="rslave"),
            Mount("/scratch", kind="tmpfs", size_bytes=4096, mode=0o1777),
        ),
    )
    mounts = build(spec, USER, "h", replace(PLACE, fresh=("/tmp", "/run")))["mounts"]
    assert [entry["destination"] for entry in mounts[-5:]] == ["/tmp", "/run", "/data", "/scratch", "/data/inner"]
    assert mounts[-3]["options"] == ["rbind", "rslave", "rw"]
    assert mounts[-2]["options"] == ["nosuid", "nodev", "rw", "size=4096", "mode=1777"]
    assert mounts[-1]["options"] == ["rbind", "rprivate", "ro"]


def test_a_terminal_group_is_only_asked_for_where_it_exists() -> None:
    def terminals(place: Place) -> list[str]:
        mounts = build(SPEC, USER, "h", place)["mounts"]
        return next(entry["options"] for entry in mounts if entry["destination"] == "/dev/pts")

    assert "gid=5" in terminals(PLACE)
    assert "gid=5" not in terminals(replace(PLACE, rootless=True))


def test_a_capability_brings_its_calls_back() -> None:
    def denied(*held: str) -> set[str]:
        return {name for rule in default_profile(held, "x86_64")["syscalls"] for name in rule["names"]}

    assert {"mount", "bpf", "unshare", "clone", "clone3", "settimeofday", "kexec_load"} <= denied()
    assert not {"mount", "bpf", "unshare", "clone", "clone3"} & denied("SYS_ADMIN")
    assert "kexec_load" in denied(*ALL_CAPABILITIES)
    assert default_profile((), "x86_64")["architectures"][0] == "SCMP_ARCH_X86_64"
    assert "architectures" not in default_profile((), "riscv64")


def test_a_profile_of_the_node_is_read_beneath_its_folder_only(tmp_path: Path) -> None:
    (tmp_path / "seccomp/sub").mkdir(parents=True)
    (tmp_path / "seccomp/sub/audit.json").write_text('{"defaultAction": "SCMP_ACT_LOG", "comment": "dropped"}')
    (tmp_path / "secret.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    (tmp_path / "seccomp/out.json").symlink_to(tmp_path / "secret.json")
    (tmp_path / "seccomp/bad.json").write_text("{")
    profile = local_profile(tmp_path / "seccomp", "sub/audit.json")
    assert profile == {"defaultAction": "SCMP_ACT_LOG"}
    tree = build(replace(SPEC, security=Security(seccomp="Localhost:x")), USER, "h", replace(PLACE, profile=profile))
    assert tree["linux"]["seccomp"] == profile
    for path, why in (("absent.json", "No such file"), ("out.json", "No such file"), ("bad.json", "not JSON")):
        with pytest.raises(RuntimeFailure, match=f'cannot load seccomp profile "{path}": {why}'):
            local_profile(tmp_path / "seccomp", path)


@pytest.mark.parametrize(
    ("said", "reason", "message"),
    [
        (
            "executable file `x` not found in $PATH: No such file or directory",
            "RunContainerError",
            'exec: "x": executable file not found in $PATH',
        ),
        (
            'runc run failed: unable to start container process: exec: "x": executable file not found in $PATH',
            "RunContainerError",
            'exec: "x": executable file not found in $PATH',
        ),
        ("cannot stat `/gone`: No such file", "CreateContainerError", "cannot stat `/gone`: No such file"),
    ],
)
def test_a_runtimes_complaint_becomes_upstreams_word(said: str, reason: str, message: str) -> None:
    failure = start_failure(said)
    assert (failure.reason, failure.message) == (reason, message)


def test_where_one_id_exists_the_user_is_another_name_for_it() -> None:
    tree = build(SPEC, USER, "h", replace(PLACE, alias=True))["linux"]
    assert {"type": "user"} in tree["namespaces"]
    assert tree["uidMappings"] == [{"containerID": 1000, "hostID": 0, "size": 1}]
    assert tree["gidMappings"] == [{"containerID": 1001, "hostID": 0, "size": 1}]
