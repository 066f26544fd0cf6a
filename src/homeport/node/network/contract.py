"""What the node agent asks of a network: addresses for each sandbox. Two sides: namespaces and simulated."""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Attachment", "Network", "NetworkFailure"]


class NetworkFailure(OSError):
    """The sandbox could not be connected or let go; the text is for the event `FailedCreatePodSandBox`."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A sandbox's place in the network: an address of each family of the cluster, the default one first."""

    sandbox_id: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...]

    @property
    def address(self) -> str:
        """The one of the default family."""
        return self.addresses[0]

    @property
    def gateway(self) -> str:
        return self.gateways[0]


class Network(Protocol):
    """The pod network of one node."""

    @property
    def gateways(self) -> tuple[str, ...]:
        """The node's own addresses on the pod network, one per family: what pods see as the node."""
        ...

    async def attach(self, sandbox_id: str, pid: int) -> Attachment:
        """Give the network namespace of process `pid` addresses, routes and a way out. Raises NetworkFailure.

        Repeating it for the same sandbox returns the same addresses.
        """
        ...

    async def detach(self, sandbox_id: str) -> None:
        """Take the addresses back once nothing can use it. Absent is fine. Raises NetworkFailure."""
        ...

    async def adopt(self, attachments: dict[str, int]) -> None:
        """After a restart of the agent: sandbox id → holder pid of all that live. Others are cleaned away.

        Raises NetworkFailure.
        """
        ...
