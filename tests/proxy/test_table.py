"""The table stays in step with the rule set, whatever the kernel refuses."""

from ipaddress import IPv4Address, IPv4Network

import pytest

from homeport.proxy.kernel import NftablesError
from homeport.proxy.model import Frontend, PortRules, ProxySettings, ServiceRules, Target, Via
from homeport.proxy.table import Table
from tests.proxy.kernel_model import KernelModel

SETTINGS = ProxySettings(IPv4Network("10.244.0.0/16"), IPv4Network("10.96.0.0/16"), ())


def web(number: int, target: int = 2) -> dict[tuple[str, str], ServiceRules | None]:
    key = ("default", f"web-{number}")
    frontend = Frontend(IPv4Address(f"10.96.1.{number}"), 80, Via.CLUSTER)
    ports = (PortRules("80", "tcp", (frontend,), (Target(IPv4Address(f"10.244.0.{target}"), 80),)),)
    return {key: ServiceRules(key, (frontend.address,), ports)}


def served(kernel: KernelModel) -> dict[str, str]:
    return {key.split()[0]: value for (name, key), value in kernel.elements.items() if name == "endpoints"}


async def test_the_first_change_sets_the_whole_and_later_ones_what_differs() -> None:
    kernel = KernelModel()
    table = Table(kernel, SETTINGS)
    await table.claim()
    await table.change(web(1))
    await table.change(web(2))
    await table.change(web(2))
    assert ["delete table" in text for text in kernel.log] == [False, True, False]
    assert served(kernel) == {"10.96.1.1": "10.244.0.2 . 80", "10.96.1.2": "10.244.0.2 . 80"}


async def test_a_table_that_vanished_is_set_anew() -> None:
    kernel = KernelModel()
    table = Table(kernel, SETTINGS)
    await table.change(web(1))
    kernel.elements.clear()  # somebody flushed it
    await table.change(web(1, 3))
    assert served(kernel) == {"10.96.1.1": "10.244.0.3 . 80"}
    assert (table.failures, table.refused) == (1, {})


async def test_one_service_the_kernel_refuses_does_not_keep_the_others_out() -> None:
    kernel = KernelModel()
    kernel.poison = "10.96.1.2 "
    table = Table(kernel, SETTINGS)
    await table.change({**web(1), **web(2), **web(3)})
    assert served(kernel).keys() == {"10.96.1.1", "10.96.1.3"}
    assert table.refused == {("default", "web-2"): "Numerical result out of range"}
    await table.change(web(4))
    assert served(kernel).keys() == {"10.96.1.1", "10.96.1.3", "10.96.1.4"}
    kernel.poison = ""
    await table.change(web(2, 9))
    assert served(kernel)["10.96.1.2"] == "10.244.0.9 . 80"
    assert table.refused == {}


async def test_a_refused_service_that_goes_is_forgotten() -> None:
    kernel = KernelModel()
    kernel.poison = "10.96.1.2 "
    table = Table(kernel, SETTINGS)
    await table.change(web(2))
    await table.change({("default", "web-2"): None})
    assert table.refused == {}
    assert served(kernel) == {}


async def test_a_kernel_that_takes_no_table_is_told_and_tried_again() -> None:
    kernel = KernelModel()
    table = Table(kernel, SETTINGS)
    kernel.fail_next(2)
    with pytest.raises(NftablesError):
        await table.change(web(1))
    await table.change({})
    assert served(kernel).keys() == {"10.96.1.1"}
