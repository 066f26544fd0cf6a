"""What the node agent asks of a network: an address for each sandbox. Two sides: namespaces and simulated."""

from dataclasses import dataclass
from typing import Protocol

__all__ = ["Attachment", "Network", "NetworkFailure"]


class NetworkFailure(OSError):
    """The sandbox could not be connected or let go; the text is for the event `FailedCreatePodSandBox`."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A sandbox's place in the network."""

    sandbox_id: str
    address: str
    gateway: str


class Network(Protocol):
    """The pod network of one node."""

    @property
    def gateway(self) -> str:
        """The node's own address on the pod network: what pods see as the node."""
        ...

    async def attach(self, sandbox_id: str, pid: int) -> Attachment:
        """Give the network namespace of process `pid` an address, a route and a way out. Raises NetworkFailure.

        Repeating it for the same sandbox returns the same address.
        """
        ...

    async def detach(self, sandbox_id: str) -> None:
        """Take the address back once nothing can use it. Absent is fine. Raises NetworkFailure."""
        ...

    async def adopt(self, attachments: dict[str, int]) -> None:
        """After a restart of the agent: sandbox id → holder pid of all that live. Others are cleaned away.

        Raises NetworkFailure.
        """
        ...
