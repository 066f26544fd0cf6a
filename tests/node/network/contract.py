"""What every `Network` keeps, real or simulated."""

from homeport.node.network.contract import Network


async def keeps_the_contract(network: Network, first: int, second: int, third: int) -> None:
    """Hold `network`, which has no sandboxes yet, to its contract with the pids of three sandboxes."""
    one, two = await network.attach("one", first), await network.attach("two", second)
    assert (one.sandbox_id, two.sandbox_id) == ("one", "two")
    assert one.gateway == two.gateway == network.gateway
    assert len({one.address, two.address, network.gateway}) == 3
    assert await network.attach("one", first) == one
    await network.detach("two")
    await network.detach("two")
    await network.detach("never there")
    three = await network.attach("three", third)
    assert three.address not in (one.address, two.address)  # an address is not given out again at once
    await network.adopt({"three": third})
    assert await network.attach("three", third) == three
    again = await network.attach("one", first)
    assert again.address not in (one.address, two.address, three.address)
    await network.adopt({})
