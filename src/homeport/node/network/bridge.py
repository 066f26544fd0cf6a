"""The pod network of one node: a veth pair per sandbox on a bridge, wired by two netlink batches and no fork.

One worker thread does all of it, since a network namespace belongs to a thread: it steps into a sandbox's namespace
to set the inner end up, and back. Everything is made so that repeating it is harmless.
"""

import asyncio
import errno
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path
from socket import if_nametoindex
from typing import Final, TypeVar

from homeport.netlink import Netlink, NetlinkError, Request
from homeport.node.network import rtnetlink, sysctl
from homeport.node.network.cluster_network import LOOPBACK_INDEX, set_up_cluster_network
from homeport.node.network.contract import Attachment, NetworkFailure
from homeport.node.network.gathering import Gathering
from homeport.node.network.ipam import AddressPool, LeaseJournal, PoolExhausted
from homeport.node.network.settings import Address, Family, NetworkSettings, host
from homeport.node.syscalls import CLONE_NEWNET, setns

__all__ = ["BridgeNetwork", "port_name"]

_PREFIX: Final = "hp"
_INNER: Final = "eth0"
T = TypeVar("T")


def port_name(sandbox_id: str) -> str:
    """Return the name of a sandbox's bridge port: short enough for the kernel, the same for the same sandbox."""
    return _PREFIX + hashlib.blake2s(sandbox_id.encode(), digest_size=6).hexdigest()


class _Leases:
    """The addresses of one family: which sandbox has which, kept in a file."""

    def __init__(self, family: Family, path: Path) -> None:
        self.family = family
        self._journal = LeaseJournal(path)
        self._pool = AddressPool(family.pods, (family.gateway,), self._journal.state)

    @property
    def held(self) -> dict[str, Address]:
        return self._pool.leases

    def acquire(self, sandbox_id: str) -> Address:
        known = sandbox_id in self._pool.leases
        address = self._pool.acquire(sandbox_id)
        if not known:
            self._journal.leased(sandbox_id, address)
        return address

    def release(self, sandbox_id: str) -> None:
        if self._pool.release(sandbox_id):
            self._journal.freed(sandbox_id)

    def close(self) -> None:
        self._journal.close()


class BridgeNetwork:
    """`Network` on Linux namespaces. Lives in a process that is inside the cluster's network namespace.

    `directory` holds the address leases. `start` comes first, `close` last.
    """

    def __init__(self, settings: NetworkSettings, directory: Path) -> None:
        self._settings = settings
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="network")
        self._leases = [
            _Leases(family, directory / ("leases" if family.version == 4 else "leases6"))
            for family in settings.families
        ]
        self._leaving = Gathering(self._detach_all)
        self._netlink: Netlink | None = None
        self._home = -1
        self._bridge = 0

    @property
    def gateways(self) -> tuple[str, ...]:
        return tuple(str(family.gateway) for family in self._settings.families)

    async def start(self) -> None:
        """Set up the cluster's own addresses and remember this namespace. Raises NetworkFailure."""
        await self._in_thread(self._start, "set up the cluster network")

    async def attach(self, sandbox_id: str, pid: int) -> Attachment:
        return await self._in_thread(lambda: self._attach(sandbox_id, pid), f"attach sandbox {sandbox_id}")

    async def detach(self, sandbox_id: str) -> None:
        await self._leaving.add(sandbox_id)

    async def _detach_all(self, sandbox_ids: Sequence[str]) -> None:
        await self._in_thread(lambda: self._detach(sandbox_ids), f"detach sandboxes {', '.join(sandbox_ids)}")

    async def adopt(self, attachments: dict[str, int]) -> None:
        await self._in_thread(lambda: self._adopt(attachments), "adopt sandboxes")

    async def close(self) -> None:
        """Let go; what is wired stays wired."""
        await self._in_thread(self._close, "close the network")
        self._thread.shutdown()

    async def _in_thread(self, work: Callable[[], T], purpose: str) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except (OSError, PoolExhausted) as error:
            raise NetworkFailure(f"{purpose}: {error}") from error

    def _start(self) -> None:
        set_up_cluster_network(self._settings)
        if self._netlink is not None:
            return
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._netlink = Netlink()
        self._bridge = if_nametoindex(self._settings.bridge)

    def _close(self) -> None:
        for leases in self._leases:
            leases.close()
        if self._netlink is not None:
            self._netlink.close()
            os.close(self._home)
            self._netlink = None

    def _here(self) -> Netlink:
        if self._netlink is None:
            raise OSError(errno.ENOTCONN, "the network is not started")
        return self._netlink

    def _attach(self, sandbox_id: str, pid: int) -> Attachment:
        addresses = tuple(leases.acquire(sandbox_id) for leases in self._leases)
        namespace = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.path.sameopenfile(namespace, self._home):
                raise OSError(errno.EINVAL, f"process {pid} has no network namespace of its own")
            self._wire(sandbox_id, namespace, addresses)
            self._configure(namespace, addresses)
        finally:
            os.close(namespace)
        return Attachment(sandbox_id, tuple(map(str, addresses)), self.gateways)

    def _wire(self, sandbox_id: str, namespace: int, addresses: tuple[Address, ...]) -> None:
        """Create the pair unless it is there; a pair left by another namespace of the same sandbox is replaced."""
        name, mac = port_name(sandbox_id), self._settings.mac(addresses[0])
        create = rtnetlink.add_veth(name, self._bridge, namespace, _INNER, mac, self._settings.mtu_bytes)
        # Without link-local addresses the node could not ask who has an IPv6 address; it need not.
        neighbours = [rtnetlink.add_neighbour(self._bridge, one, mac) for one in addresses if one.version == 6]
        rest = (rtnetlink.configure_port(name, sandbox_id), *neighbours)
        try:
            self._here().perform((create, *rest))
        except NetlinkError as error:
            if error.errno != errno.EEXIST:
                raise
            if not self._wired(name, namespace):
                self._here().perform((rtnetlink.delete_link(name), create, *rest))

    def _wired(self, name: str, namespace: int) -> bool:
        """Tell whether the port exists here and its other end there."""
        here = {link.name for link in rtnetlink.parse_links(self._here().dump(rtnetlink.list_links()))}
        if name not in here:
            return False
        with self._inside(namespace):
            try:
                if_nametoindex(_INNER)
            except OSError:
                return False
        return True

    def _configure(self, namespace: int, addresses: tuple[Address, ...]) -> None:
        """Give the inner end its addresses, and the node as the way to everything, neighbours included.

        An answer that took the bridge straight back to its neighbour would never meet the translation the question
        went through, and a virtual address would not work between pods.
        """
        with self._inside(namespace):
            inner = if_nametoindex(_INNER)
            sysctl.prefer(f"ipv6/conf/{_INNER}/addr_gen_mode", sysctl.NO_LINK_LOCAL)
            if any(address.version == 6 for address in addresses):
                sysctl.write("ipv6/conf/all/disable_ipv6", "0")
            sysctl.write("ipv4/ip_unprivileged_port_start", "0")
            sysctl.allow_ping()
            requests = [rtnetlink.set_up(LOOPBACK_INDEX), rtnetlink.set_up(inner)]
            for family, address in zip(self._settings.families, addresses, strict=True):
                requests += self._way_out(inner, family, address)
            with Netlink() as netlink:
                netlink.perform(requests)

    def _way_out(self, inner: int, family: Family, address: Address) -> Iterator[Request]:
        gateway = family.gateway
        yield rtnetlink.add_address(inner, host(address))
        if family.version == 6:
            mac = self._settings.mac(self._settings.primary.gateway)
            yield rtnetlink.add_neighbour(inner, gateway, mac)
        yield rtnetlink.add_route(inner, ip_network(gateway))
        yield rtnetlink.add_route(inner, family.everything, gateway=gateway)

    @contextmanager
    def _inside(self, namespace: int) -> Iterator[None]:
        setns(namespace, CLONE_NEWNET)
        try:
            yield
        finally:
            setns(self._home, CLONE_NEWNET)

    def _detach(self, sandbox_ids: Sequence[str]) -> None:
        """First nothing answers at the addresses any more, then they may be given out again."""
        links = rtnetlink.delete_links([port_name(sandbox_id) for sandbox_id in sandbox_ids])
        self._here().perform((*links, *(one for sandbox_id in sandbox_ids for one in self._forgotten(sandbox_id))))
        for sandbox_id in sandbox_ids:
            for leases in self._leases:
                leases.release(sandbox_id)

    def _forgotten(self, sandbox_id: str) -> Iterator[Request]:
        for leases in self._leases:
            address = leases.held.get(sandbox_id)
            if address is not None and address.version == 6:
                yield rtnetlink.delete_neighbour(self._bridge, address)

    def _adopt(self, attachments: dict[str, int]) -> None:
        expected = {port_name(sandbox_id) for sandbox_id in attachments}
        ports = [
            link.name
            for link in rtnetlink.parse_links(self._here().dump(rtnetlink.list_links()))
            if link.master == self._bridge and link.name.startswith(_PREFIX) and link.name not in expected
        ]
        self._here().perform(rtnetlink.delete_links(ports))
        known = {sandbox_id for leases in self._leases for sandbox_id in leases.held}
        self._detach(sorted(known - attachments.keys()))
        for sandbox_id, pid in attachments.items():
            self._attach(sandbox_id, pid)
