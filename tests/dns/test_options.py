"""Settings as people write them."""

from pathlib import Path

import pytest

from homeport.dns.name import from_text
from homeport.dns.options import OPTIONS, DnsOptions, OptionError, parse_options, parse_resolver
from homeport.dns.records import Question, RRType
from homeport.dns.settings import Emulation, PodRecords
from homeport.dns.upstream import Resolver
from homeport.engine.settings import ClusterSettings


def test_nothing_said_is_the_default() -> None:
    assert parse_options([]) == DnsOptions()


def test_every_word_is_read(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("192.0.2.9 nine\n")
    options = parse_options(
        [
            "ttl=30",
            "pods=verified",
            "upstream=192.0.2.1,[2001:db8::1]:5353",
            "stub=corp.example=10.0.0.53:54",
            "stub=lab.example=10.0.0.54",
            "host=192.0.2.7 gate gate.example",
            f"hosts-file={hosts}",
            "rewrite=suffix:svc.test=svc.cluster.local",
            "cache=30",
            "uncached=in-addr.arpa",
            "lag=1.5",
            "transfer",
            "tls=yes",
            "status=9153",
            "log=no",
        ]
    )
    assert options.upstream == (Resolver("192.0.2.1"), Resolver("2001:db8::1", 5353))
    assert options.stubs[0] == (from_text("corp.example"), (Resolver("10.0.0.53", 54),))
    assert options.emulation == Emulation(30, (from_text("in-addr.arpa"),), 1.5)
    assert (options.transfer, options.tls, options.status, options.log) == (True, True, 9153, False)
    settings = options.settings("Cluster.Local", ("10.96.0.10",))
    assert (settings.ttl, settings.pods, settings.zones[0]) == (30, PodRecords.VERIFIED, from_text("cluster.local"))
    known = settings.hosts.answer(Question(from_text("nine"), RRType.A))
    assert known is not None
    assert known.answer
    assert list(options.sources()[from_text("lab.example")]()) == [Resolver("10.0.0.54")]


@pytest.mark.parametrize(
    "word",
    [
        "cash=30",
        "ttl=-1",
        "ttl=x",
        "ttl",
        "pods=all",
        "upstream=nameserver",
        "upstream=192.0.2.1:x",
        "stub=corp.example",
        "stub==10.0.0.1",
        "host=gate 192.0.2.7",
        "hosts-file=/nowhere/at/all",
        "rewrite=regex:a=b",
        "cache=9999",
        "lag=-1",
        "lag=soon",
        "transfer=perhaps",
        "status=70000",
    ],
)
def test_a_word_that_cannot_be_names_itself_and_the_remedy(word: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_options([word])
    text = str(caught.value)
    assert word.partition("=")[0] in text
    assert "choose from" in text or "write " in text


@pytest.mark.parametrize(
    ("text", "resolver"),
    [
        ("192.0.2.1", Resolver("192.0.2.1")),
        ("192.0.2.1:5353", Resolver("192.0.2.1", 5353)),
        ("2001:db8::1", Resolver("2001:db8::1")),
        ("[2001:db8::1]:54", Resolver("2001:db8::1", 54)),
        ("[2001:db8::1]", Resolver("2001:db8::1")),
    ],
)
def test_servers(text: str, resolver: Resolver) -> None:
    assert parse_resolver(text) == resolver


def test_an_empty_upstream_means_nobody() -> None:
    assert list(parse_options(["upstream="]).sources()[()]()) == []


def test_a_cluster_keeps_its_words() -> None:
    settings = ClusterSettings(dns_options=("cache=30", "lag=2"))
    assert ClusterSettings.from_json(settings.as_json()) == settings


def test_every_option_says_what_it_is_for() -> None:
    assert all(option.help.endswith(".") for option in OPTIONS.values())
