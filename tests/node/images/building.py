"""Small images made from the machine's static busybox."""

import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

__all__ = ["archive", "busybox_archives", "entry", "layer"]

APPLETS = ("sh", "ls", "cat", "echo", "readlink", "test", "sleep")


def entry(name: str, content: bytes = b"", **facts: Any) -> tuple[tarfile.TarInfo, bytes]:
    """One tar entry; a name ending in `/` is a directory, `link=` a symbolic and `hard=` a hard link."""
    info = tarfile.TarInfo(name.rstrip("/") if name != "/" else name)
    info.mode = 0o755 if name.endswith("/") else 0o644
    if name.endswith("/"):
        info.type = tarfile.DIRTYPE
    if "link" in facts:
        info.type, info.linkname = tarfile.SYMTYPE, facts.pop("link")
    if "hard" in facts:
        info.type, info.linkname = tarfile.LNKTYPE, facts.pop("hard")
    for key, value in facts.items():
        setattr(info, key, value)
    info.size = len(content)
    return info, content


def layer(*entries: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as out:
        for info, content in entries:
            out.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def archive(path: Path, layers: list[bytes], config: dict[str, Any], tags: list[str]) -> None:
    """Write a docker-archive."""
    diff_ids = [f"sha256:{hashlib.sha256(data).hexdigest()}" for data in layers]
    tree = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    }
    raw = json.dumps(tree).encode()
    name = f"{hashlib.sha256(raw).hexdigest()}.json"
    names = [f"{index}/layer.tar" for index in range(len(layers))]
    manifest = json.dumps([{"Config": name, "RepoTags": tags, "Layers": names}]).encode()
    files = [
        entry(name, raw),
        *(entry(*pair) for pair in zip(names, layers, strict=True)),
        entry("manifest.json", manifest),
    ]
    path.write_bytes(layer(*files))


def busybox_archives(directory: Path) -> None:
    """Make `docker.tar`, `docker.tar.gz`, `oci/` and `oci.tar` of one two-layer image, `example.org/busybox:1`."""
    directory.mkdir()
    busybox = Path("/usr/bin/busybox").read_bytes()
    below = layer(
        entry("bin/"),
        entry("bin/busybox", busybox, mode=0o755),
        *(entry(f"bin/{name}", link="busybox") for name in APPLETS),
        entry("etc/"),
        entry("etc/gone", b"removed\n"),
        entry("etc/greeting", b"hello from layer one\n"),
        entry("old/"),
        entry("old/removed", b""),
    )
    above = layer(
        entry("etc/"),
        entry("etc/.wh.gone"),
        entry("etc/greeting", b"hello from layer two\n"),
        entry("old/"),
        entry("old/.wh..wh..opq"),
        entry("link", link="/etc/greeting"),
    )
    config = {"Cmd": ["sh"], "Env": ["PATH=/bin", "WORD=from image"]}
    docker = directory / "docker.tar"
    archive(docker, [below, above], config, ["example.org/busybox:1"])
    subprocess.run(["gzip", "-k", str(docker)], check=True)
    for target in (
        f"oci:{directory}/oci:example.org/busybox:1",
        f"oci-archive:{directory}/oci.tar:example.org/busybox:1",
    ):
        subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", f"docker-archive:{docker}", target], check=True)
    for path in [directory, *directory.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
