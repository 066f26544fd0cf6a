"""Replay the recorded requests against the server and compare whole answers.

    python tests/vectors/replay_api.py [--topic T] [--scenario S] [-v] [-s]

The server runs in process, over the memory store, in virtual time. A recorded answer is walked side by side with the
given one: a placeholder takes the value found at its first appearance and must find it again wherever it stands.
"""

import argparse
import asyncio
import json
import random
import re
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote

sys.path.insert(0, str(Path(__file__).parents[2]))

from homeport.api.exchange import Handler, Request, Response, User
from homeport.server.app import Server
from homeport.server.served import BY_PATH
from homeport.server.settings import Settings
from homeport.store.memory import MemoryStore
from homeport.testing.loop import VirtualClock, run_virtual
from tests.vectors.load import load, topics

USERS = {
    "alice": User("alice", "alice-uid", ("system:authenticated",)),
    "bob": User("bob", "bob-uid", ("developers", "system:authenticated")),
}
ADMIN = User("admin", "admin", ("system:masters", "system:authenticated"))
PLACEHOLDER = re.compile(
    r"<(uid|rv|listrv|ip|port|rand|continue|token):(\d+)>|<(time|microtime|etag|age|address|build|bookmark|n)>"
)
UNBOUND = re.compile(r"<(?:uid|rv|listrv|ip|port|rand|continue|token):\d+>")
SHAPES = {
    "uid": r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    "rv": r"[1-9]\d*",
    "listrv": r"[1-9]\d*",
    "ip": r"\d+\.\d+\.\d+\.\d+",
    "port": r"\d+",
    "rand": r"[a-z0-9]+",
    "continue": r"[A-Za-z0-9_-]+",
    "token": r"[A-Za-z0-9_.-]+",
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ",
    "microtime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z",
    "etag": r'"?[^"]+"?',
    "age": r"\S+",
    "address": r"[^\s\"]*",
    "build": r".*",
    "bookmark": r"\d+",
    "n": r"\d+",
}
COMPARED_HEADERS = (
    "content-type",
    "warning",
    "retry-after",
    "etag",
    "www-authenticate",
    "location",
    "vary",
    "cache-control",
)
NOT_YET_TOPICS = frozenset({"apply", "crd", "protobuf"})
WAIT_SECONDS = 20.0
SETTINGS = {
    "open": Settings(disabled_admission=frozenset({"ServiceAccount"})),
    "rbac": Settings(disabled_admission=frozenset(), authorization="RBAC"),
}


class Mismatch(Exception):
    """An answer differs; the message says where and how."""


@dataclass
class Bindings:
    """What placeholders stand for in one scenario."""

    values: dict[str, str] = field(default_factory=dict)

    def match(self, expected: str, actual: Any, path: str) -> None:
        """Compare a recorded string with a value, taking new placeholders in. Raises Mismatch."""
        text = str(actual) if isinstance(actual, int) and not isinstance(actual, bool) else actual
        if not isinstance(text, str):
            raise Mismatch(f"{path}: expected {expected!r}, got {actual!r}")
        if isinstance(actual, int) and not expected.startswith("<port:"):
            raise Mismatch(f"{path}: expected {expected!r}, got {actual!r}")
        pattern, names, at = [], [], 0
        for found in PLACEHOLDER.finditer(expected):
            pattern.append(re.escape(expected[at : found.start()]))
            at = found.end()
            token, kind = found.group(0), found.group(1) or found.group(3)
            if token in self.values:
                pattern.append(re.escape(self.values[token]))
            elif found.group(1) and token not in names:
                names.append(token)
                pattern.append(f"(?P<p{len(names)}>{SHAPES[kind]})")
            elif found.group(1):
                pattern.append(f"(?P=p{names.index(token) + 1})")
            else:
                pattern.append(SHAPES[kind])
        pattern.append(re.escape(expected[at:]))
        matched = re.fullmatch("".join(pattern), text, re.S)
        if matched is None:
            raise Mismatch(f"{path}: expected {self.shown(expected)!r}, got {actual!r}")
        for index, token in enumerate(names, start=1):
            self._bind(token, matched.group(f"p{index}"), path)

    def _bind(self, token: str, value: str, path: str) -> None:
        kind = token[1:].partition(":")[0]
        if kind in ("uid", "rv", "ip", "port"):
            for other, held in self.values.items():
                if other.startswith(f"<{kind}:") and held == value:
                    raise Mismatch(f"{path}: {token} has the value of {other}: {value}")
        self.values[token] = value

    def shown(self, text: str) -> str:
        return PLACEHOLDER.sub(lambda found: self.values.get(found.group(0), found.group(0)), text)

    def fill(self, value: Any) -> Any:
        """Put values in for the placeholders of a request. Raises Mismatch when one is not known."""
        if isinstance(value, dict):
            return {self.fill(key): self.fill(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self.fill(each) for each in value]
        if not isinstance(value, str):
            return value
        if value.startswith("<port:") and value in self.values:
            return int(self.values[value])
        text = re.sub(r"<repeat:(.):(\d+)>", lambda found: found.group(1) * int(found.group(2)), value)
        text = self.shown(text)
        if UNBOUND.search(text):
            raise Mismatch(f"a placeholder of the request is not known: {text[:100]}")
        return text

    def check_order(self, order: list[str] | None) -> None:
        """Check that resourceVersions ascend as recorded. Raises Mismatch."""
        names = order or sorted(
            (name for name in self.values if name.startswith("<rv:")), key=lambda name: int(name[4:-1])
        )
        known = [int(self.values[name]) for name in names if name in self.values]
        if known != sorted(known):
            raise Mismatch(f"resourceVersions are out of order: {list(zip(names, known, strict=False))}")


def compare(expected: Any, actual: Any, bindings: Bindings, path: str = "") -> None:
    """Walk two documents side by side. Raises Mismatch at the first difference."""
    if isinstance(expected, dict):
        if not isinstance(actual, dict):
            raise Mismatch(f"{path}: expected an object, got {actual!r}")
        missing, extra = expected.keys() - actual.keys(), actual.keys() - expected.keys()
        if missing or extra:
            detail = {key: actual[key] for key in sorted(extra)} | {f"-{key}": expected[key] for key in sorted(missing)}
            raise Mismatch(f"{path}: missing {sorted(missing)}, extra {sorted(extra)}: {json.dumps(detail)[:600]}")
        for key in sorted(expected):
            compare(expected[key], actual[key], bindings, f"{path}.{key}")
    elif isinstance(expected, list):
        if not isinstance(actual, list) or len(expected) != len(actual):
            raise Mismatch(f"{path}: expected {json.dumps(expected)[:300]}, got {json.dumps(actual)[:300]}")
        for index, (one, other) in enumerate(zip(expected, actual, strict=True)):
            compare(one, other, bindings, f"{path}[{index}]")
    elif isinstance(expected, str):
        bindings.match(expected, actual, path)
    elif expected != actual or type(expected) is not type(actual):
        raise Mismatch(f"{path}: expected {expected!r}, got {actual!r}")


def stripped(value: Any, managed: bool) -> Any:
    """Leave out what the recordings leave out."""
    if isinstance(value, list):
        return [stripped(each, managed) for each in value]
    if not isinstance(value, dict):
        return value
    out = {key: stripped(each, managed) for key, each in value.items()}
    if not managed and isinstance(out.get("metadata"), dict):
        out["metadata"].pop("managedFields", None)
    if out.get("kind") == "SelfSubjectRulesReview" and isinstance(out.get("status"), dict):
        for rules in ("resourceRules", "nonResourceRules"):  # they come in no particular order
            out["status"][rules] = sorted(
                out["status"].get(rules, ()), key=lambda rule: json.dumps(rule, sort_keys=True)
            )
    if isinstance(out.get("columnDefinitions"), list):
        for column in out["columnDefinitions"]:
            column.pop("description", None)
    return out


class Stream:
    """The events of one watch, read as they are asked for."""

    def __init__(self, frames: AsyncIterator[bytes]) -> None:
        self._frames, self._events, self.closed = frames, [], False

    async def next(self) -> Any:
        """Return the next event, or None when the server ended the stream. Raises Mismatch when nothing comes."""
        while not self._events and not self.closed:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    frames = await anext(self._frames)
            except StopAsyncIteration:
                self.closed = True
            except TimeoutError:
                raise Mismatch("no event came") from None
            else:
                self._events += [json.loads(line) for line in frames.splitlines() if line]
        return self._events.pop(0) if self._events else None

    async def close(self) -> None:
        await self._frames.aclose()


class Replay:
    """One scenario against one handler."""

    def __init__(self, handler: Handler, document: Mapping[str, Any], scenario: Mapping[str, Any]) -> None:
        self._handler, self._agent, self._scenario = handler, document["userAgent"], scenario
        self._managed = scenario.get("managedFields", False)
        self._bindings = Bindings()
        self._streams: dict[str, Stream] = {}

    async def run(self) -> list[str]:
        """Return one line per step: "" where it went as recorded, else what differs."""
        if namespace := self._scenario.get("namespace"):
            labels = self._scenario.get("namespaceLabels")
            metadata = {"name": namespace, **({"labels": labels} if labels else {})}
            await self._send("POST", "/api/v1/namespaces", body=json.dumps({"metadata": metadata}).encode())
        results = []
        for step in self._scenario["steps"]:
            try:
                await self._step(step)
            except Mismatch as error:
                results.append(str(error) or "differs")
            else:
                results.append("")
        try:
            self._bindings.check_order(self._scenario.get("rvOrder"))
        except Mismatch as error:
            results[-1] = results[-1] or str(error)
        for stream in self._streams.values():
            await stream.close()
        for path in self._scenario.get("cleanup", ()):
            await self._send("DELETE", self._bindings.shown(path))
        return results

    async def _step(self, step: Mapping[str, Any]) -> None:
        if "request" in step:
            await self._request(step)
        elif "collect" in step:
            await self._collect(step)
        elif "pause" in step:
            await asyncio.sleep(step["pause"])
        elif "waitFor" in step:
            await self._wait_for(step["waitFor"])

    async def _request(self, step: Mapping[str, Any]) -> None:
        request = self._bindings.fill(step["request"])
        body = b""
        headers = {"accept": "application/json", "user-agent": self._agent}
        if "body" in request:
            body = json.dumps(request["body"]).encode()
            headers["content-type"] = "application/json"
        elif "bodyText" in request:
            body = request["bodyText"].encode()
        for name, value in (request.get("headers") or {}).items():
            text = ", ".join(value) if isinstance(value, list) else value
            if text:
                headers[name.lower()] = text
            else:
                headers.pop(name.lower(), None)
        user: User | None = ADMIN
        word = request.get("user") or "admin"
        if word != "admin":
            user = USERS.get(word)
            if user is None and word != "anonymous":
                headers["authorization"] = f"Bearer {word}"
        answer = await self._send(request["method"], request["path"], headers, body, user)
        expected = step["response"]
        if (name := request.get("stream") or step.get("stream")) and answer.stream is not None:
            self._streams[name] = Stream(answer.stream)
        content = answer.body if answer.stream is None or name else b"".join([piece async for piece in answer.stream])
        if answer.status != expected["status"]:
            raise Mismatch(f"status: expected {expected['status']}, got {answer.status}: {content[:300]!r}")
        self._headers(expected.get("headers") or {}, answer)
        if "body" in expected:
            given = stripped(json.loads(content), self._managed)
            compare(stripped(expected["body"], self._managed), given, self._bindings)
        elif "text" in expected:
            self._bindings.match(expected["text"], content.decode(), "text")

    def _headers(self, expected: Mapping[str, Any], answer: Response) -> None:
        given: dict[str, list[str]] = {}
        for name, value in answer.headers:
            given.setdefault(name.lower(), []).append(value)
        wanted = {name.lower(): value for name, value in expected.items()}
        for name in COMPARED_HEADERS:
            values = given.get(name, [])
            if name == "cache-control" and values == ["no-cache, private"]:
                values = []
            want = wanted.get(name)
            listed = want if isinstance(want, list) else [] if want is None else [want]
            if name == "content-type" and want is None:
                continue
            if len(listed) != len(values):
                raise Mismatch(f"header {name}: expected {listed}, got {values}")
            for one, other in zip(listed, values, strict=True):
                self._bindings.match(one, other, f"header {name}")

    async def _collect(self, step: Mapping[str, Any]) -> None:
        stream = self._streams.get(step["collect"])
        if stream is None:
            raise Mismatch("the watch is not open")
        got = []
        while step.get("untilClosed") or len(got) < step["count"]:
            event = await stream.next()
            if event is None:
                break
            if step.get("untilClosed") and _periodic(event):
                continue
            got.append(_event(event, self._managed))
        compare(step["events"], got, self._bindings, "events")
        if step.get("closed") and not stream.closed:
            raise Mismatch("the stream is still open")

    async def _wait_for(self, wanted: Mapping[str, Any]) -> None:
        path = self._bindings.fill(wanted["path"])
        for _ in range(40):
            answer = await self._send("GET", path)
            if (
                answer.status == wanted.get("status", answer.status)
                and wanted.get("contains", "") in answer.body.decode()
            ):
                return
            await asyncio.sleep(0.25)
        raise Mismatch(f"{path} never came to be {wanted}")

    async def _send(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        user: User | None = ADMIN,
    ) -> Response:
        raw, _, query = path.partition("?")
        pairs = tuple(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True))
        sent = {"content-type": "application/json"} if headers is None else dict(headers)
        return await self._handler(Request(method, unquote(raw), pairs, sent, body, user))


def _periodic(event: Mapping[str, Any]) -> bool:
    return event["type"] == "BOOKMARK" and "initial-events-end" not in json.dumps(event)


def _event(event: dict[str, Any], managed: bool) -> Any:
    event = stripped(event, managed)
    if event["object"].get("kind") == "Table":
        event["object"]["metadata"].pop("resourceVersion", None)
    return event


def served(scenario: Mapping[str, Any]) -> bool:
    """Tell whether a scenario asks only for what is served so far."""
    for step in scenario["steps"]:
        request = step.get("request")
        if request is None:
            continue
        headers = json.dumps(request.get("headers") or {})
        if "apply-patch" in headers or "protobuf" in headers:
            return False
        if scenario["sub"] in ("resources", "aggregated"):  # they list every group of a full server
            return False
        if not _known_path(request["path"].partition("?")[0]):
            return False
    return not scenario.get("managedFields", False)


def _known_path(path: str) -> bool:
    parts = [part for part in path.strip("/").split("/") if part != "watch"]
    match parts:
        case ["api", "v1", "namespaces", _, plural, *rest] if plural not in ("status", "finalize"):
            key = ("", "v1", plural)
        case ["api", "v1", plural, *rest]:
            key = ("", "v1", plural)
        case ["apis", group, version, "namespaces", _, plural, *rest]:
            key = (group, version, plural)
        case ["apis", group, version, plural, *rest]:
            key = (group, version, plural)
        case _:
            return True
    return key in BY_PATH or key == ("", "v1", "bindings") or (key[0] == "x" and bool(rest))


@dataclass
class Score:
    """What went as recorded in one topic."""

    steps: int = 0
    steps_passed: int = 0
    scenarios: int = 0
    scenarios_passed: int = 0
    not_yet: int = 0
    failed: list[tuple[str, list[str]]] = field(default_factory=list)


async def replay_topic(handler: Handler, topic: str, only: str = "") -> Score:
    """Replay one topic's scenarios in order."""
    document, score = load("api", topic), Score()
    for scenario in document["scenarios"]:
        if only and only not in scenario["name"]:
            continue
        if document["topic"] in NOT_YET_TOPICS or not served(scenario):
            score.not_yet += 1
            continue
        results = await Replay(handler, document, scenario).run()
        score.scenarios += 1
        score.steps += len(results)
        score.steps_passed += results.count("")
        if any(results):
            score.failed.append((scenario["name"], results))
        else:
            score.scenarios_passed += 1
    return score


async def replay(wanted: list[str], only: str = "") -> dict[str, Score]:
    """Replay topics against a fresh server of each kind."""
    scores = {}
    for setup in ("open", "rbac"):
        chosen = [topic for topic in wanted if load("api", topic)["server"] == setup]
        if not chosen:
            continue
        store = MemoryStore()
        async with Server(store, VirtualClock(), random.Random(1), SETTINGS[setup]) as server:
            for topic in chosen:
                scores[topic] = await replay_topic(server.handle, topic, only)
        await store.close()
    return {topic: scores[topic] for topic in wanted}


def lines(scores: Mapping[str, Score]) -> Iterator[str]:
    """Return the scoreboard."""
    yield f"{'topic':22}{'scenarios':>12}{'steps':>14}{'not yet':>9}"
    total = Score()
    for topic, score in scores.items():
        scenarios = f"{score.scenarios_passed}/{score.scenarios}"
        yield f"{topic:22}{scenarios:>12}{f'{score.steps_passed}/{score.steps}':>14}{score.not_yet:>9}"
        total.scenarios += score.scenarios
        total.scenarios_passed += score.scenarios_passed
        total.steps += score.steps
        total.steps_passed += score.steps_passed
        total.not_yet += score.not_yet
    scenarios = f"{total.scenarios_passed}/{total.scenarios}"
    yield f"{'all':22}{scenarios:>12}{f'{total.steps_passed}/{total.steps}':>14}{total.not_yet:>9}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--topic", action="append", choices=topics("api"))
    parser.add_argument("--scenario", default="", help="only those whose name contains this")
    parser.add_argument("-v", "--verbose", action="store_true", help="say what differs")
    arguments = parser.parse_args()
    scores = run_virtual(lambda: replay(arguments.topic or topics("api"), arguments.scenario))
    if arguments.verbose:
        for score in scores.values():
            for name, results in score.failed:
                print(name)
                for number, result in enumerate(results):
                    if result:
                        print(f"  {number}: {result[:900]}")
    print("\n".join(lines(scores)))


if __name__ == "__main__":
    main()
