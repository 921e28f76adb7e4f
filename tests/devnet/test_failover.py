"""One endpoint believed by itself (`quorum = 1`) of which the answers are cut, and another one beside it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from keeper.config import load_config
from keeper.errors import UnreadableResult
from keeper.opening import Running, open_keeper
from scripts.localchain.devnet import Devnet
from scripts.storms.endpoint import MISSHAPEN, Endpoint, endpoints

pytestmark = pytest.mark.devnet


@asynccontextmanager
async def watched(devnet: Devnet, count: int) -> AsyncGenerator[tuple[Running, list[Endpoint]]]:
    """The daemon's keeper, started, behind so many endpoints of the one node."""
    with endpoints(devnet.url, count, seed=1) as made:
        urls = ", ".join(f'"{each.url}"' for each in made)
        lines = devnet.config.read_text().splitlines()
        path = devnet.folder / "failover.toml"
        path.write_text("\n".join(f"rpc_url = [{urls}]" if line.startswith("rpc_url") else line for line in lines))
        async with open_keeper(load_config(path), is_dry_run=False) as running:
            # The accounts at 1.22 and 1.21 come below their trigger of 1.15.
            devnet.chain.set_price("WETH", "-7%")
            yield running, made


def metric(running: Running, metric: str, **labels: str) -> float | None:
    return running.metrics.registry.get_sample_value(metric, labels)


async def test_an_endpoint_that_cuts_the_read_is_named_and_the_rescue_goes_out_by_another(devnet: Devnet) -> None:
    async with watched(devnet, 2) as (running, made):
        made[0].mood = MISSHAPEN
        report = await running.cycle(await running.session.rpc.head())
        assert report.is_sent
        labels = [each.url.rstrip("/") for each in made]
        assert [metric(running, "keeper_endpoint_quarantined", endpoint=label) for label in labels] == [1.0, 0.0]
        assert metric(running, "keeper_alarms_total", name="endpoint_dissents") == 1


async def test_alone_it_is_a_fault_that_says_what_was_wrong_and_nothing_is_sent(devnet: Devnet) -> None:
    async with watched(devnet, 1) as (running, (alone,)):
        alone.mood = MISSHAPEN
        with pytest.raises(UnreadableResult, match=r"answered eth_call with what cannot be read: Multicall3's answer"):
            await running.cycle(await running.session.rpc.head())
        assert alone.count("eth_sendRawTransaction") == 0
