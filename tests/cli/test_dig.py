"""`dig`: what may be asked, and how an answer is printed."""

from typing import Any

import pytest

from homeport.cli.dig import Wanted, lines, read_words, short_lines
from homeport.cli.output import fitting


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        ("web-0.nginx", Wanted("web-0.nginx", "A")),
        ("web AAAA", Wanted("web", "AAAA")),
        ("srv _http._tcp.web", Wanted("_http._tcp.web", "srv")),
        ("a a", Wanted("a", "a")),
        ("mx TYPE99", Wanted("mx", "TYPE99")),
    ],
)
def test_what_may_be_asked(words: str, wanted: Wanted) -> None:
    assert read_words(words.split(), reverse=False) == wanted


def test_addresses_have_names() -> None:
    assert read_words(["10.244.0.2"], reverse=True) == Wanted("2.0.244.10.in-addr.arpa.", "PTR")
    assert read_words(["fd00::2"], reverse=True).name == f"2.{'0.' * 29}d.f.ip6.arpa."


@pytest.mark.parametrize(
    ("words", "reverse", "told"),
    [
        ("@10.96.0.10 web", False, "homeport run -- dig"),
        ("web +tcp", False, "[+]tcp"),
        ("web WHAT", False, "type 'WHAT' is not known"),
        ("web A B", False, "say NAME"),
        ("", False, "say NAME"),
        ("web", True, "'web' is no address"),
        ("10.0.0.1 A", True, "one address"),
    ],
)
def test_what_may_not(words: str, reverse: bool, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_words(words.split(), reverse=reverse)


def reply(**more: Any) -> dict[str, Any]:
    name = "web.default.svc.cluster.local."
    return {
        "question": {"name": name, "type": "A"},
        "status": "NOERROR",
        "id": 4711,
        "flags": ["qr", "aa", "rd"],
        "tried": [],
        "answer": [
            {"name": name, "ttl": 5, "type": "A", "data": f"10.244.0.{number}", "behind": {
                "object": f"Pod web-{number}", "namespace": "default", "says": "ready"}}
            for number in (9, 10)
        ],
        "authority": [],
        "additional": [],
        "why": "",
        "server": "127.0.0.1#5353",
        "milliseconds": 0.5,
        "time": "Tue Nov 24 20:00:00 UTC 2026",
        **more,
    }  # fmt: skip


def test_it_is_printed_as_dig_does() -> None:
    assert (
        "\n".join(lines(reply()))
        == """\
; <<>> homeport dig <<>> web.default.svc.cluster.local. A
;; Got answer:
;; ->>HEADER<<- opcode: QUERY, status: NOERROR, id: 4711
;; flags: qr aa rd; QUERY: 1, ANSWER: 2, AUTHORITY: 0, ADDITIONAL: 0

;; QUESTION SECTION:
;web.default.svc.cluster.local.\tIN\tA

;; ANSWER SECTION:
web.default.svc.cluster.local.\t5\tIN\tA\t10.244.0.9 \t; Pod web-9, ready
web.default.svc.cluster.local.\t5\tIN\tA\t10.244.0.10\t; Pod web-10, ready

;; Query time: 0.5 msec
;; SERVER: 127.0.0.1#5353
;; WHEN: Tue Nov 24 20:00:00 UTC 2026"""
    )
    assert list(short_lines(reply())) == ["10.244.0.9", "10.244.0.10"]


def test_on_a_narrow_screen_comments_stand_below() -> None:
    text = fitting(["\n".join(lines(reply(), below=one)) for one in (False, True)], 80)
    assert "\t10.244.0.9\n  ; Pod web-9, ready\n" in text


def test_nothing_is_explained() -> None:
    tried = [{"name": "wbe.default.svc.cluster.local.", "status": "NXDOMAIN"}]
    text = "\n".join(lines(reply(status="NXDOMAIN", answer=[], tried=tried, why="There is no wbe.")))
    assert ";; tried before: wbe.default.svc.cluster.local.\n" in text
    assert "\n\n;; WHY: There is no wbe.\n\n" in text
