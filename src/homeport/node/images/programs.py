"""Well-known images and the distribution's programs that can stand in for them.

When an image is neither loaded nor to be had from its registry and the machine has the program, the program runs from
the host image instead, with an entry point and the few files that make it behave as the image does: same port, same
document root or data directory, logs on the standard streams. Only names of the well-known publishers count.
"""

import glob
import shutil
from dataclasses import dataclass
from typing import Final

from homeport.node.images.reference import Reference

__all__ = ["PROGRAMS", "Program", "stand_in"]

_SEARCH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True)
class Program:
    """One stand-in.

    repositories  full names of the images it stands in for
    executable    what the machine must have
    directories   glob patterns of places outside PATH to look in, put in front of PATH
    files         path → content, put into the container's own layer
    links         path → target, likewise; a `%` target means the executable, unless the host has that path itself
    alone         the user to run as where only one id exists, for programs that drop root themselves
    own           directories that start empty and writable
    """

    name: str
    repositories: tuple[str, ...]
    executable: str
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    working_directory: str = ""
    stop_signal: str = ""
    alone: str = ""
    directories: tuple[str, ...] = ()
    files: tuple[tuple[str, str], ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    own: tuple[str, ...] = ()

    def path_prefix(self) -> str:
        """Return the extra directories that exist, newest version first, each followed by a colon."""
        found = [path for pattern in self.directories for path in sorted(glob.glob(pattern), reverse=True)]
        return "".join(f"{path}:" for path in found)

    def find(self) -> str | None:
        """Return the executable's path on this machine, or None."""
        return shutil.which(self.executable, path=self.path_prefix() + _SEARCH)


def stand_in(reference: Reference) -> Program | None:
    """Return the program that can stand in for an image on this machine, or None."""
    for program in PROGRAMS:
        if reference.name in program.repositories and program.find() is not None:
            return program
    return None


def _official(*names: str) -> tuple[str, ...]:
    return tuple(f"docker.io/library/{name}" for name in names)


def _prefixed(*program: str) -> tuple[str, ...]:
    """An entry point that takes arguments beginning with `-` as the program's own, as the official images do."""
    words = " ".join(program)
    return ("/bin/sh", "-c", f'case "$1" in -*|*.conf) set -- {words} "$@";; esac; exec "$@"', program[0])


_NGINX_CONF: Final = """\
user root;
worker_processes auto;
error_log /dev/stderr notice;
pid /run/nginx.pid;

events {
    worker_connections 1024;
}

http {
    include /etc/nginx/mime.types;
    default_type application/octet-stream;
    access_log /dev/stdout combined;
    sendfile on;
    keepalive_timeout 65;
    include /etc/nginx/conf.d/*.conf;
}
"""

_NGINX_SITE: Final = """\
server {
    listen 80;
    server_name localhost;

    location / {
        root /usr/share/nginx/html;
        index index.html index.htm;
    }
}
"""

_POSTGRES_ENTRY: Final = """\
#!/bin/sh
# Prepare a PostgreSQL data directory from the environment once, then run the command given.
set -e
case "$1" in -*) set -- postgres "$@" ;; esac
[ "$1" = postgres ] || exec "$@"
: "${PGDATA:=/var/lib/postgresql/data}" "${POSTGRES_USER:=postgres}"
: "${POSTGRES_DB:=$POSTGRES_USER}" "${POSTGRES_HOST_AUTH_METHOD:=scram-sha-256}"
export PGDATA
as_postgres() {
    if [ "$(id -u)" = 0 ]; then setpriv --reuid postgres --regid postgres --init-groups "$@"; else "$@"; fi
}
mkdir -p "$PGDATA" /run/postgresql
if [ "$(id -u)" = 0 ]; then chown postgres "$PGDATA" /run/postgresql; fi
chmod 0700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "$POSTGRES_PASSWORD" ] && [ "$POSTGRES_HOST_AUTH_METHOD" != trust ]; then
        echo "POSTGRES_PASSWORD is not set, and POSTGRES_HOST_AUTH_METHOD is not trust" >&2
        exit 1
    fi
    words=$(mktemp)
    printf '%s\\n' "$POSTGRES_PASSWORD" > "$words"
    chmod 0644 "$words"
    if [ -n "$POSTGRES_PASSWORD" ]; then
        as_postgres initdb -U "$POSTGRES_USER" --pwfile "$words" $POSTGRES_INITDB_ARGS
    else
        as_postgres initdb -U "$POSTGRES_USER" $POSTGRES_INITDB_ARGS
    fi
    rm -f "$words"
    echo "host all all all $POSTGRES_HOST_AUTH_METHOD" >> "$PGDATA/pg_hba.conf"
    as_postgres pg_ctl -w -o "-c listen_addresses=''" start
    if [ "$POSTGRES_DB" != postgres ]; then
        as_postgres psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres -c "CREATE DATABASE \\"$POSTGRES_DB\\""
    fi
    for file in /docker-entrypoint-initdb.d/*; do
        case "$file" in
            *.sh) . "$file" ;;
            *.sql) as_postgres psql -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" -f "$file" ;;
        esac
    done
    as_postgres pg_ctl -w -m fast stop
fi
if [ "$(id -u)" = 0 ]; then
    exec setpriv --reuid postgres --regid postgres --init-groups "$@" -c "listen_addresses=*"
fi
exec "$@" -c "listen_addresses=*"
"""

PROGRAMS: Final = (
    Program(
        name="nginx",
        repositories=(*_official("nginx"), "registry.k8s.io/nginx-slim", "k8s.gcr.io/nginx-slim"),
        executable="nginx",
        command=("nginx", "-g", "daemon off;"),
        stop_signal="SIGQUIT",
        files=(("/etc/nginx/nginx.conf", _NGINX_CONF), ("/etc/nginx/conf.d/default.conf", _NGINX_SITE)),
        links=(("/var/log/nginx/access.log", "/dev/stdout"), ("/var/log/nginx/error.log", "/dev/stderr")),
        own=("/var/log/nginx", "/var/lib/nginx", "/etc/nginx/conf.d"),
    ),
    Program(
        name="redis",
        repositories=_official("redis", "valkey"),
        executable="redis-server",
        entrypoint=_prefixed("redis-server", "--protected-mode", "no"),
        command=("redis-server", "--protected-mode", "no"),
        working_directory="/data",
        links=(("/usr/local/bin/redis-server", "%"),),
    ),
    Program(
        name="postgres",
        repositories=_official("postgres"),
        executable="postgres",
        entrypoint=("/usr/local/bin/docker-entrypoint.sh",),
        command=("postgres",),
        environment=(("PGDATA", "/var/lib/postgresql/data"),),
        stop_signal="SIGINT",
        alone="postgres",
        directories=("/usr/lib/postgresql/*/bin",),
        files=(("/usr/local/bin/docker-entrypoint.sh", _POSTGRES_ENTRY),),
        own=("/var/lib/postgresql",),
    ),
    Program(
        name="etcd",
        repositories=("quay.io/coreos/etcd", "gcr.io/etcd-development/etcd", "registry.k8s.io/etcd"),
        executable="etcd",
        command=("etcd",),
        links=(("/usr/local/bin/etcd", "%"),),
    ),
    Program(
        name="memcached",
        repositories=_official("memcached"),
        executable="memcached",
        entrypoint=_prefixed("memcached", "-u", "root"),
        command=("memcached", "-u", "root"),
        alone="nobody",
    ),
    Program(
        name="python",
        repositories=_official("python"),
        executable="python3",
        command=("python3",),
        environment=(("PYTHONUNBUFFERED", "1"),),
    ),
    Program(name="busybox", repositories=_official("busybox"), executable="sh", command=("sh",)),
    Program(name="debian", repositories=_official("debian", "ubuntu", "alpine"), executable="sh", command=("sh",)),
)
