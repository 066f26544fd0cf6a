"""A network of its own, with the worked zone on port 53 and a resolver configuration as a pod of `db` has it."""

import subprocess
import sys
from pathlib import Path

__all__ = ["resolving"]

PRELUDE = """
ip link set lo up
for address in 192.0.2.1 10.244.1.10 10.244.1.11; do ip address add $address/32 dev lo; done
printf '%s\\n' 'search db.svc.cluster.local svc.cluster.local cluster.local' \\
  'nameserver 127.0.0.1' 'options ndots:5' > "$WORK/resolv"
printf 'hosts: dns\\n' > "$WORK/nsswitch"
mount --bind "$WORK/resolv" "$(readlink -f /etc/resolv.conf)"
mount --bind "$WORK/nsswitch" /etc/nsswitch.conf
mkfifo "$WORK/port"
"$PYTHON" -m tests.dns.serve_worked 127.0.0.1 53 > "$WORK/port" &
server=$!
trap 'kill $server' EXIT
read -r _ < "$WORK/port"
"""


def resolving(work: Path, script: str, *, timeout: float = 90.0) -> list[str]:
    """Run shell text there; return the lines it printed. `$WORK` is a directory, `$PYTHON` this interpreter."""
    command = ["unshare", "--map-root-user", "--net", "--mount", "sh", "-euc", PRELUDE + script]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", "WORK": str(work), "PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=environment)
    assert done.returncode == 0, done.stderr + done.stdout
    return done.stdout.splitlines()
