"""Where the rules of one address family take effect: in the packet filter, in user space, or in both."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from homeport.proxy.balance import Balance
from homeport.proxy.model import Carried, Key, ServiceRules
from homeport.proxy.userspace.balancer import UserspaceBalancer

__all__ = ["Backend", "Changes", "Mixed"]

Changes = Mapping[Key, ServiceRules | None]
"""Services as they shall be from now on; None for one that goes."""


class Backend(Protocol):
    """Puts rules into effect.

    refused       Services that cannot be served as a whole, and why
    failures      changes that were refused so far
    transactions  changes that were made so far
    """

    @property
    def failures(self) -> int: ...

    @property
    def transactions(self) -> int: ...

    @property
    def refused(self) -> Mapping[Key, str]: ...

    async def claim(self) -> None:
        """Let virtual addresses lead nowhere until it is known where they lead."""
        ...

    async def change(self, changes: Changes) -> int:
        """Change, add or remove Services. Returns how many UDP flows lost their endpoint by it.

        Raises NftablesError when nothing was done at all.
        """
        ...

    def carried(self) -> Sequence[Carried]:
        """Return the connections this process itself carries."""
        ...

    async def close(self) -> None:
        """End what this process itself carries."""
        ...


class Mixed:
    """The packet filter for nearly everything, user space for what it cannot do: to count connections.

    kernel  lets the connections pass to which user space shall listen
    """

    def __init__(self, kernel: Backend, userspace: UserspaceBalancer) -> None:
        self._kernel, self._userspace = kernel, userspace
        self._counted: set[Key] = set()

    @property
    def failures(self) -> int:
        return self._kernel.failures

    @property
    def transactions(self) -> int:
        return self._kernel.transactions

    @property
    def refused(self) -> Mapping[Key, str]:
        return {**self._kernel.refused, **self._userspace.refused}

    async def claim(self) -> None:
        await self._kernel.claim()

    async def change(self, changes: Changes) -> int:
        counted = {key: rules for key, rules in changes.items() if rules is not None and _is_counted(rules)}
        lost = await self._userspace.change(counted)  # whoever is led there must find somebody
        self._counted |= counted.keys()
        lost += await self._kernel.change(changes)
        gone = dict.fromkeys((self._counted & changes.keys()) - counted.keys())
        self._counted -= gone.keys()
        return lost + await self._userspace.change(gone)

    def carried(self) -> Sequence[Carried]:
        return self._userspace.carried()

    async def close(self) -> None:
        await self._userspace.close()
        await self._kernel.close()


def _is_counted(rules: ServiceRules) -> bool:
    return any(port.balance is Balance.LEAST_CONNECTIONS for port in rules.ports)
