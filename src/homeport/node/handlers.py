"""Performing one probe or hook: a command inside, a request, a connection. Source: `node` sections 4.2 and 6."""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import urljoin, urlsplit

from homeport.node import grpc_health
from homeport.node.command import expand
from homeport.node.pod import (
    ContainerDef,
    ExecAction,
    GrpcAction,
    Handler,
    HttpAction,
    Pod,
    Probe,
    SleepAction,
    TcpAction,
)
from homeport.node.reach import HttpAnswer, Reach, go_error
from homeport.node.runtime.contract import ExecSession, ExecSpec, Runtime, RuntimeFailure

__all__ = ["HandlerError", "Outcome", "Prober", "Target", "probe_for_real", "run_hook", "run_probe"]

OUTPUT_LIMIT: Final = 10 * 1024
REDIRECT_LIMIT: Final = 10


class HandlerError(Exception):
    """It could not be carried out, which says nothing about the container."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`warning` marks a success worth an event (a redirect to another host)."""

    success: bool
    output: str = ""
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Target:
    """The container instance a handler is about. `version` is Kubernetes', such as `1.36`."""

    runtime: Runtime
    reach: Reach
    container: ContainerDef
    container_id: str
    address: str
    version: str
    environment: Mapping[str, str]


class Prober(Protocol):
    """Carries out one probe of a container of a pod; raises HandlerError."""

    async def __call__(self, pod: Pod, probe: Probe, target: Target) -> Outcome: ...


async def probe_for_real(pod: Pod, probe: Probe, target: Target) -> Outcome:
    """The `Prober` of every node that is not simulated."""
    return await run_probe(probe.handler, target, probe.timeout)


async def run_probe(handler: Handler, target: Target, timeout: float) -> Outcome:
    """Carry out a probe, at most `timeout` seconds long; raises HandlerError."""
    match handler:
        case ExecAction(command):
            words = tuple(expand(word, target.environment) for word in command)
            try:
                async with asyncio.timeout(timeout):
                    code, output = await _execute(words, target)
            except TimeoutError:
                return Outcome(False, f'command timed out: "{" ".join(words)}" timed out after {timeout:g}s')
            return Outcome(code == 0, output)
        case HttpAction():
            return await _http_probe(handler, target, timeout)
        case TcpAction(port, host):
            number, address = _number(target, port), host or target.address
            try:
                async with asyncio.timeout(timeout):
                    await target.reach.tcp(address, number)
            except OSError as error:
                return Outcome(False, go_error(error, address, number))
            return Outcome(True)
        case GrpcAction(port, service):
            success, output = await grpc_health.check(target.address, port, service, timeout, target.version)
            return Outcome(success, output)
        case SleepAction():
            raise HandlerError("sleep is no probe")


async def run_hook(handler: Handler, target: Target) -> bool:
    """Carry out a lifecycle hook, however long it takes; returns whether it succeeded."""
    match handler:
        case ExecAction(command):
            try:
                code, _ = await _execute(command, target)
            except HandlerError:
                return False
            return code == 0
        case HttpAction():
            return await _http_hook(handler, target)
        case SleepAction(seconds):
            await asyncio.sleep(seconds)
            return True
        case TcpAction() | GrpcAction():
            return False


def _number(target: Target, port: int | str) -> int:
    number = target.container.port(port)
    if number is None:
        raise HandlerError(f"couldn't find port: {port}")
    return number


async def _execute(words: tuple[str, ...], target: Target) -> tuple[int, str]:
    """Return exit code and the first 10 KiB of what it printed, both streams as they came."""
    output = bytearray()
    async with AsyncExitStack() as stack:
        try:
            session = await stack.enter_async_context(target.runtime.exec(target.container_id, ExecSpec(words)))
        except RuntimeFailure as failure:
            raise HandlerError(failure.message) from failure
        async with asyncio.TaskGroup() as group:
            group.create_task(_collect(session, True, output))
            group.create_task(_collect(session, False, output))
        code = await session.wait()
    return code, bytes(output).decode("utf-8", "replace")


async def _collect(session: ExecSession, stdout: bool, output: bytearray) -> None:
    while data := await (session.read_stdout() if stdout else session.read_stderr()):
        output += data[: max(0, OUTPUT_LIMIT - len(output))]


def _headers(action: HttpAction, host: str, agent: str) -> tuple[tuple[str, str], ...]:
    """Return what is sent: ours unless overridden; an empty Accept is left out, Host replaces ours."""
    given = {name.lower() for name, _ in action.headers}
    out = [] if "host" in given else [("Host", host)]
    if "user-agent" not in given:
        out.append(("User-Agent", agent))
    if "accept" not in given:
        out.append(("Accept", "*/*"))
    return (*out, *((name, value) for name, value in action.headers if not (name.lower() == "accept" and not value)))


def _host_port(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


async def _http_probe(action: HttpAction, target: Target, timeout: float) -> Outcome:
    number, address = _number(target, action.port), action.host or target.address
    path = action.path if action.path.startswith("/") else "/" + action.path
    url = f"{action.scheme.lower()}://{_host_port(address, number)}{path}"
    agent = f"kube-probe/{target.version}"
    try:
        async with asyncio.timeout(timeout):
            answer, elsewhere = await _follow(action, target, url, agent)
    except TimeoutError:
        return Outcome(
            False,
            f'Get "{url}": context deadline exceeded (Client.Timeout exceeded while awaiting headers)',
        )
    except OSError as error:
        return Outcome(False, f'Get "{url}": {go_error(error, address, number)}')
    if elsewhere:
        return Outcome(True, f"Probe terminated redirects, Response body: {_text(answer)}", warning=True)
    if 200 <= answer.status < 400:
        return Outcome(True)
    return Outcome(False, f"HTTP probe failed with statuscode: {answer.status}")


def _text(answer: HttpAnswer) -> str:
    return answer.body.decode("utf-8", "replace")


async def _follow(action: HttpAction, target: Target, url: str, agent: str) -> tuple[HttpAnswer, bool]:
    """Follow redirects on the same host; returns the last answer and whether it points to another host."""
    home = urlsplit(url).hostname
    for _ in range(REDIRECT_LIMIT + 1):
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        host = parts.hostname or ""
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        answer = await target.reach.http_get(
            parts.scheme, host, port, path, _headers(action, _host_port(host, port), agent)
        )
        if not (300 <= answer.status < 400 and answer.location):
            return answer, False
        url = urljoin(url, answer.location)
        if urlsplit(url).hostname != home:
            return answer, True
    raise OSError(f"stopped after {REDIRECT_LIMIT} redirects")


async def _http_hook(action: HttpAction, target: Target) -> bool:
    """Any answer is a success; a server that speaks plain http on an https hook is asked again in plain."""
    try:
        number, address = _number(target, action.port), action.host or target.address
    except HandlerError:
        return False
    path = action.path if action.path.startswith("/") else "/" + action.path
    headers = _headers(action, _host_port(address, number), f"kube-lifecycle/{target.version}")
    schemes = ["https", "http"] if action.scheme == "HTTPS" else ["http"]
    for scheme in schemes:
        try:
            await target.reach.http_get(scheme, address, number, path, headers)
        except OSError:
            continue
        return True
    return False
