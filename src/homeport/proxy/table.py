"""The proxy's table in the kernel: kept in step with the rule set, and brought back into step when it is not."""

import logging
from collections.abc import Sequence

from homeport.proxy import nftables
from homeport.proxy.backend import Changes
from homeport.proxy.dialect import dialect_of
from homeport.proxy.kernel import Kernel, NftablesError
from homeport.proxy.model import Carried, Key, ProxySettings
from homeport.proxy.ruleset import Ruleset

__all__ = ["Table"]

_log = logging.getLogger(__name__)


class Table:
    """One family's table, changed by one caller at a time.

    refused    Services the kernel would not take, with its reason: left out, so that the others work
    failures   transactions refused so far
    """

    def __init__(self, kernel: Kernel, settings: ProxySettings) -> None:
        self._kernel, self._settings = kernel, settings
        self._dialect = dialect_of(settings.version)
        self._ruleset = Ruleset(self._dialect)
        self._in_step = False
        self.refused: dict[Key, str] = {}
        self.failures = 0
        self.transactions = 0

    async def claim(self) -> None:
        """Where no table is yet, let virtual addresses lead nowhere until it is known where they lead.

        A first packet that went astray would mark its flow for good. A table left by an earlier proxy goes on serving.
        Raises NftablesError.
        """
        try:
            await self._kernel.apply(f"create table {self._dialect.table}\n" + nftables.base(self._settings))
        except NftablesError as error:
            if "File exists" not in str(error):
                raise

    async def change(self, changes: Changes) -> int:
        """Change, add or remove Services: by the smallest transaction, or all anew when the kernel does not follow.

        Raises NftablesError when it takes no table of ours at all; the changes are kept for the next call. No UDP flow
        ends by it: the kernel's are forgotten by `conntrack`.
        """
        for key in changes:
            self.refused.pop(key, None)
        compiled = {
            key: None if rules is None else nftables.compile_service(rules, self._dialect)
            for key, rules in changes.items()
        }
        if self._in_step:
            try:
                await self._apply(self._ruleset.change(compiled))
            except NftablesError as error:
                _log.warning("the packet filter refused a change, all of it is set anew: %s", error)
            else:
                return 0
        else:
            self._ruleset.put(compiled)
        self._in_step = False
        await self._anew()
        self._in_step = True
        return 0

    def carried(self) -> Sequence[Carried]:
        """The kernel carries them all: `flows` counts those."""
        return ()

    async def close(self) -> None:
        """The rules go on serving; the kernel's handle belongs to whoever opened it."""

    async def _anew(self) -> None:
        clients = await self._clients()
        try:
            await self._apply(nftables.whole(self._ruleset, self._settings, clients))
        except NftablesError as error:
            _log.error("the packet filter refused the whole, Services are set one by one: %s", error)
            await self._one_by_one()

    async def _one_by_one(self) -> None:
        """Find out whose rules the kernel will not take, and do without those."""
        accepted = Ruleset(self._dialect)
        await self._apply(nftables.whole(accepted, self._settings))
        for key, compiled in self._ruleset.services.items():
            try:
                await self._apply(accepted.change({key: compiled}))
            except NftablesError as error:
                accepted.change({key: None})
                self.refused[key] = str(error)
                _log.error("Service %s/%s is not balanced: %s", *key, error)
        self._ruleset = accepted

    async def _clients(self) -> dict[str, str]:
        """Return who has an endpoint already; nobody when there is no table, or none that can be read."""
        try:
            return nftables.known_clients(await self._kernel.read(nftables.list_sets(self._dialect)))
        except NftablesError as error:
            _log.info("no session affinity is carried over: %s", error)
            return {}

    async def _apply(self, transaction: str) -> None:
        if not transaction:
            return
        try:
            await self._kernel.apply(transaction)
        except NftablesError:
            self.failures += 1
            raise
        self.transactions += 1
