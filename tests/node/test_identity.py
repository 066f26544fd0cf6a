"""Host names, /etc/hosts and /etc/resolv.conf as golden text."""

from typing import Any

import pytest

from homeport.node.identity import HostnameTooLong, hosts_file, names, parse_resolver, resolver
from homeport.node.pod import Pod, parse_pod

HOST = parse_resolver(
    "# mine\nnameserver 192.0.2.1\nsearch old.example\nsearch corp.example. .\noptions ndots:2 edns0\n"
)


def pod(name: str = "pg-0", **spec: Any) -> Pod:
    return parse_pod({"metadata": {"name": name, "namespace": "db", "uid": "u"}, "spec": {"containers": [], **spec}})


@pytest.mark.parametrize(
    ("of", "hostname", "fqdn", "kernel"),
    [
        (pod(), "pg-0", "pg-0", "pg-0"),
        (pod(hostname="pg-0", subdomain="pg"), "pg-0", "pg-0.pg.db.svc.cluster.local", "pg-0"),
        (pod(hostname="other"), "other", "other", "other"),
        (pod("x" * 62 + "-y"), "x" * 62, "x" * 62, "x" * 62),
        (
            pod(subdomain="pg", setHostnameAsFQDN=True),
            "pg-0",
            "pg-0.pg.db.svc.cluster.local",
            "pg-0.pg.db.svc.cluster.local",
        ),
        (pod(setHostnameAsFQDN=True), "pg-0", "pg-0", "pg-0"),
        (pod(hostnameOverride="any.name", subdomain="pg"), "any.name", "any.name", "any.name"),
        (pod(hostnameOverride="x" * 64), "x" * 63, "x" * 63, "x" * 63),
        (pod(hostNetwork=True, hostname="other"), "node-1", "node-1", "node-1"),
    ],
)
def test_names(of: Pod, hostname: str, fqdn: str, kernel: str) -> None:
    found = names(of, "cluster.local", "node-1")
    assert (found.hostname, found.fqdn, found.kernel) == (hostname, fqdn, kernel)


def test_a_name_too_long_for_the_kernel() -> None:
    with pytest.raises(HostnameTooLong, match=r"is too long \(64 characters is the max, 8\d characters requested\)"):
        names(pod("x" * 60, subdomain="pg", setHostnameAsFQDN=True), "cluster.local", "node-1")


HOSTS_HEAD = """\
# Kubernetes-managed hosts file.
127.0.0.1	localhost
::1	localhost ip6-localhost ip6-loopback
fe00::0	ip6-localnet
fe00::0	ip6-mcastprefix
fe00::1	ip6-allnodes
fe00::2	ip6-allrouters
"""


def test_hosts() -> None:
    of = pod(subdomain="pg", hostAliases=[{"ip": "192.0.2.9", "hostnames": ["a", "b"]}])
    text = hosts_file(of, names(of, "cluster.local", "node-1"), ("10.244.0.5",))
    assert text == HOSTS_HEAD + (
        "10.244.0.5\tpg-0.pg.db.svc.cluster.local\tpg-0\n\n# Entries added by HostAliases.\n192.0.2.9\ta\tb\n"
    )
    plain = pod()
    assert hosts_file(plain, names(plain, "c", "n"), ("10.244.0.5",)) == HOSTS_HEAD + "10.244.0.5\tpg-0\n"


def test_hosts_of_both_families() -> None:
    of = pod(hostname="pg-0", subdomain="pg")
    text = hosts_file(of, names(of, "cluster.local", "node-1"), ("10.244.0.5", "fd00::5"))
    named = "pg-0.pg.db.svc.cluster.local\tpg-0\n"
    assert text == f"{HOSTS_HEAD}10.244.0.5\t{named}fd00::5\t{named}"


def test_hosts_of_the_host_with_aliases() -> None:
    of = pod(hostNetwork=True, hostAliases=[{"ip": "192.0.2.9", "hostnames": ["a"]}])
    assert hosts_file(of, names(of, "c", "n"), (), "127.0.0.1 localhost\n") == (
        "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"
        "\n# Entries added by HostAliases.\n192.0.2.9\ta\n"
    )


def test_hosts_of_the_host() -> None:
    of = pod(hostNetwork=True)
    text = hosts_file(of, names(of, "c", "n"), (), "127.0.0.1 localhost\n")
    assert text == "# Kubernetes-managed hosts file (host network).\n127.0.0.1 localhost\n"


CLUSTERED = "search db.svc.cluster.local svc.cluster.local cluster.local corp.example\nnameserver 10.96.0.10\n"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, CLUSTERED + "options ndots:5\n"),
        ({"dnsPolicy": "ClusterFirst", "hostNetwork": True}, "HOST"),
        ({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": True}, CLUSTERED + "options ndots:5\n"),
        ({"dnsPolicy": "Default"}, "HOST"),
        ({"dnsPolicy": "None", "dnsConfig": {"nameservers": ["1.1.1.1"]}}, "nameserver 1.1.1.1\n"),
        (
            {"dnsConfig": {
                "nameservers": ["10.96.0.10", "1.1.1.1"], "searches": ["mine", "cluster.local"],
                "options": [{"name": "ndots", "value": "2"}, {"name": "rotate"}]}},
            "search db.svc.cluster.local svc.cluster.local cluster.local corp.example mine\n"
            "nameserver 10.96.0.10\nnameserver 1.1.1.1\noptions ndots:2 rotate\n",
        ),
    ],
)  # fmt: skip
def test_resolver(spec: dict[str, Any], expected: str) -> None:
    host = "search corp.example\nnameserver 192.0.2.1\noptions ndots:2 edns0\n"
    found = resolver(pod(**spec), ("10.96.0.10",), "cluster.local", HOST)
    assert found.text() == (host if expected == "HOST" else expected)
    assert found.cut == ()


def test_what_exceeds_the_limits_is_cut_and_told() -> None:
    many = {"nameservers": [f"192.0.2.{n}" for n in range(5)], "searches": [f"s{n}.example" for n in range(40)]}
    found = resolver(pod(dnsPolicy="None", dnsConfig=many), (), "c", HOST)
    assert len(found.nameservers) == 3
    assert len(found.searches) == 32
    assert found.cut[0] == (
        "Nameserver limits were exceeded, some nameservers have been omitted, "
        "the applied nameserver line is: 192.0.2.0 192.0.2.1 192.0.2.2"
    )
    assert found.cut[1].startswith("Search Line limits were exceeded, some search paths have been omitted")


def test_long_search_paths_go_after_those_too_many() -> None:
    """Services-dns 16.1: the first 32 count, and of these what the C library can bear."""
    searches = ["x" * 254, *(f"s{n}.example" for n in range(40))]
    found = resolver(
        pod(dnsPolicy="None", dnsConfig={"nameservers": ["192.0.2.1"], "searches": searches}), (), "c", HOST
    )
    assert found.searches == tuple(f"s{n}.example" for n in range(31))
    wide = [f"{'y' * 100}{n}" for n in range(30)]
    found = resolver(pod(dnsPolicy="None", dnsConfig={"nameservers": ["192.0.2.1"], "searches": wide}), (), "c", HOST)
    assert len(found.searches) == 19
    assert len(" ".join(found.searches)) <= 2048


def test_without_cluster_dns_a_pod_has_the_hosts_and_is_told() -> None:
    found = resolver(pod(), (), "cluster.local", HOST)
    assert found.nameservers == HOST.nameservers
    assert found.missing.endswith(
        'kubelet does not have ClusterDNS IP configured and cannot create Pod using "ClusterFirst" policy. '
        'Falling back to "Default" policy.'
    )
    assert resolver(pod(dnsPolicy="Default"), (), "cluster.local", HOST).missing == ""
    assert resolver(pod(dnsPolicy="Default"), (), "c", parse_resolver("")).text() == "search .\nnameserver 127.0.0.1\n"


def test_the_hosts_resolver_is_read_as_the_c_library_does() -> None:
    servers = "nameserver 192.0.2.1\n# no\nnameserver 192.0.2.2\n"
    read = parse_resolver(f"{servers}search a\nsearch b. . c\noptions ndots:3 rotate\noptions ndots:4\n")
    assert (read.nameservers, read.searches, read.options) == (
        ("192.0.2.1", "192.0.2.2"),
        ("b", "c"),
        ("ndots:4", "rotate"),
    )


def test_an_option_without_a_value_stands_alone() -> None:
    options = [{"name": "rotate"}, {"name": "edns0", "value": ""}, {"name": "ndots", "value": "1"}]
    found = resolver(pod(dnsConfig={"options": options}), ("10.96.0.10",), "c", HOST)
    assert found.options == ("ndots:1", "rotate", "edns0")
