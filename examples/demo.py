"""Bring up the examples and show what a cluster gives them: names, records, storage, a balanced address.

python examples/demo.py [--with etcd] [--keep]
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
CLUSTER = "demo"
REQUESTS = 1000

ASK = """
import http.client, json, sys
from collections import Counter
seen = Counter()
for _ in range(int(sys.argv[1])):
    connection = http.client.HTTPConnection("web-balanced", 80, timeout=10)
    connection.request("GET", "/")
    seen[connection.getresponse().read().decode().strip()] += 1
    connection.close()
print(json.dumps(seen))
"""


def homeport(*arguments: str, capture: bool = False) -> str:
    """Run a command line of ours; its output is shown unless captured. Ends the demo when it fails."""
    command = [sys.executable, "-m", "homeport", *arguments]
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE if capture else None, check=False)
    if done.returncode and not (arguments[0] == "dig"):
        raise SystemExit(done.returncode)
    return done.stdout or ""


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def show(*arguments: str) -> None:
    """Print a command as a person would type it, then run it."""
    print(f"$ homeport {' '.join(arguments)}", flush=True)
    homeport(*arguments, "--name", CLUSTER)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--with", dest="more", action="append", default=[], choices=["etcd", "redis"])
    parser.add_argument("--keep", action="store_true", help="leave the cluster running")
    arguments = parser.parse_args()
    began = time.monotonic()
    try:
        say("Up: from manifests to running pods")
        folders = [str(HERE / name) for name in ("web", *arguments.more)]
        homeport("up", "--name", CLUSTER, *(word for folder in folders for word in ("-f", folder)))
        print(f"all of it took {time.monotonic() - began:.1f} s")
        say("Names: every replica its own, the headless Service all of them, one alias for the outside")
        show("dig", "web-1.web.default.svc.cluster.local", "--short")
        show("dig", "web.default.svc.cluster.local", "--short")
        show("dig", "_http._tcp.web.default.svc.cluster.local", "SRV", "--short")
        show("dig", "outside.default.svc.cluster.local", "CNAME", "--short")
        say("Storage: one claim each, kept over restarts")
        show("get", "pvc")
        say(f"Balance: {REQUESTS} requests to the virtual address of web-balanced")
        spread = homeport("run", "--name", CLUSTER, "--", sys.executable, "-c", ASK, str(REQUESTS), capture=True)
        for pod, count in sorted(Counter(json.loads(spread)).items()):
            print(f"{pod}   {count:4}   {'#' * (count // 10)}")
    finally:
        if not arguments.keep:
            say("Down")
            homeport("down", "--purge", "--name", CLUSTER)


if __name__ == "__main__":
    main()
