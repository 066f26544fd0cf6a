"""The programs that serve a cluster on their own, prepared as their documents say."""

import re
import shutil
from pathlib import Path

from tests.e2e.cluster import ROOT, Cluster

BLOCK = re.compile(r"^```sh\n(.*?)^```", re.M | re.S)


def prepared(cluster: Cluster, program: str, folder: Path) -> Path:
    """Do what `examples/PROGRAM/README.md` shows before it starts the program; return the kubeconfig that leaves."""
    source = ROOT / "examples" / program
    shutil.copy(source / "rbac.yaml", folder)
    (block,) = BLOCK.findall((source / "README.md").read_text(encoding="utf-8"))
    shown, started, _ = block.partition(f"\nhomeport {program} ")
    assert started
    script = f"set -e\nexport KUBECONFIG={cluster.data / 'kubeconfig'}\ncd {folder}\n{shown}"
    cluster.run(["bash", "-c", script])
    return folder / f"{program}.kubeconfig"
