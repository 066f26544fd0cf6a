"""How long a container takes to start and to end, beside the bare runtime on the same root directory in the same run.

    python -m bench.runtime [COUNT]

`bare` is `crun run` on a prepared bundle, as a shell would call it: no network, no log, nothing kept. `ours` is
`start_container` to its return: root directory, configuration, FIFOs, cgroup, keeper, runtime, records on disk.
`to exit` goes on until the end of `/bin/true` has been reported and its log closed. `exec` is `true` inside a running
container. As an ordinary user the figures go to `runtime-rootless.json`.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.report import median, write
from homeport.clock import WallClock
from homeport.node.holder_client import HolderClient, ensure_holder
from homeport.node.images.host import HOST_REFERENCE, host_image
from homeport.node.namespaces import enter, find_holder, wait_for_end
from homeport.node.runtime.contract import ContainerSpec, ExecSpec, SandboxSpec
from homeport.node.runtime.oci import OciRuntime


def spec(data: Path, name: str, *argv: str) -> ContainerSpec:
    image = host_image(HOST_REFERENCE)
    return ContainerSpec(name, "sandbox", image, argv, (), "", data / "logs" / f"{name}.log")


async def measure(data: Path, count: int) -> dict[str, float]:
    runtime = await OciRuntime.open(data, WallClock(), cluster="bench")
    times: dict[str, list[float]] = {name: [] for name in ("sandbox", "bare", "ours", "to exit", "exec", "removal")}
    exits = runtime.exits()
    began = time.perf_counter()
    await runtime.create_sandbox(SandboxSpec("sandbox", "bench"))
    times["sandbox"].append(time.perf_counter() - began)
    await runtime.start_container(spec(data, "idle", "sleep", "infinity"))
    bundle = data / "bundle"
    shutil.copytree(data / "run/live/containers/idle", bundle, ignore=lambda *_: ["rootfs", "stdout", "stderr"])
    config = json.loads((bundle / "config.json").read_text())
    config["process"]["args"] = ["/bin/true"]
    (bundle / "config.json").write_text(json.dumps(config))
    tool = runtime._launcher.tool
    for number in range(count):  # turn by turn, so that whatever else the machine does hits all alike
        command = tool.command(data / "bare", None, "run", "--bundle", str(bundle), f"bare-{number}")
        began = time.perf_counter()
        subprocess.run(command, check=True)
        times["bare"].append(time.perf_counter() - began)
        began = time.perf_counter()
        await runtime.start_container(spec(data, f"c{number}", "/bin/true"))
        times["ours"].append(time.perf_counter() - began)
        await anext(exits)
        times["to exit"].append(time.perf_counter() - began)
        began = time.perf_counter()
        async with runtime.exec("idle", ExecSpec(("/bin/true",))) as session:
            await session.wait()
        times["exec"].append(time.perf_counter() - began)
        began = time.perf_counter()
        await runtime.remove_container(f"c{number}")
        times["removal"].append(time.perf_counter() - began)
    await runtime.remove_sandbox("sandbox")
    await runtime.close()
    return {f"{name} ms": median([value * 1000 for value in values]) for name, values in times.items()}


def main(count: int) -> None:
    data = Path(tempfile.mkdtemp(prefix="homeport-bench-"))
    results, figures = os.pipe()
    if os.fork() == 0:
        asyncio.run(ensure_holder(data / "run", data / "logs" / "holder.log"))
        os._exit(0)
    os.wait()
    holder = find_holder(data / "run")
    assert holder is not None
    memory = int(Path(f"/proc/{holder.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 1e6
    if os.fork() == 0:
        os.close(results)
        enter(holder)
        with open(figures, "w") as out:
            json.dump(asyncio.run(measure(data, count)), out)
        os._exit(0)
    os.close(figures)
    with open(results) as said:
        taken = json.load(said)
    os.wait()
    asyncio.run(stop(data / "run"))
    wait_for_end(holder.pid)
    shutil.rmtree(data)
    version = subprocess.run(["crun", "--version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]
    name = "runtime" if os.geteuid() == 0 else "runtime-rootless"
    write(name, {"runtime": version, "count": count, "keeper MB": round(memory, 1), "median": taken})


async def stop(run: Path) -> None:
    client = HolderClient(lambda _: None, lambda: None)
    client.connect(run)
    await client.stop()
    client.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
