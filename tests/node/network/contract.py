"""What every `Network` keeps, real or simulated."""

from ipaddress import ip_address

from homeport.node.network.contract import Network


async def keeps_the_contract(network: Network, first: int, second: int, third: int) -> None:
    """Hold `network`, which has no sandboxes yet, to its contract with the pids of three sandboxes."""
    one, two = await network.attach("one", first), await network.attach("two", second)
    assert (one.sandbox_id, two.sandbox_id) == ("one", "two")
    assert one.gateways == two.gateways == network.gateways
    assert len({*one.addresses, *two.addresses, *network.gateways}) == 3 * len(network.gateways)
    for place in (one, two):
        versions = [[ip_address(text).version for text in texts] for texts in (place.addresses, network.gateways)]
        assert versions[0] == versions[1]
    assert await network.attach("one", first) == one
    await network.detach("two")
    await network.detach("two")
    await network.detach("never there")
    three = await network.attach("three", third)
    assert not {*three.addresses} & {*one.addresses, *two.addresses}  # an address is not given out again at once
    await network.adopt({"three": third})
    assert await network.attach("three", third) == three
    again = await network.attach("one", first)
    assert not {*again.addresses} & {*one.addresses, *two.addresses, *three.addresses}
    await network.adopt({})
