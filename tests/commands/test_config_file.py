"""The file that `init` writes: a second source is offered, a rollup's sequencer is asked, gas has its price."""

import pytest

from keeper.commands.config_file import Found, render
from keeper.core.units import Address
from keeper.protocols.portfolio import discover
from tests.protocols.fakes import BLOCK, ETH_FEED, OWNER, SETTINGS, a_chain

ARBITRUM_UPTIME = Address("0xfdb631f5ee196f0ed6faa767959853a9f217697d")


def written(chain_id: int) -> list[str]:
    chain = a_chain()
    portfolio, _ = chain.run(discover(SETTINGS))
    snapshot = portfolio.decode(BLOCK, chain.aggregate(portfolio.calls))
    return render(Found(chain_id, portfolio, snapshot, {}, None), OWNER, "env:RPC").splitlines()


@pytest.mark.parametrize(
    ("chain_id", "line"), [(42_161, f'sequencer_feed = "{ARBITRUM_UPTIME}"'), (1, "# sequencer_feed = …")]
)
def test_a_known_rollups_sequencer_is_asked(chain_id: int, line: str) -> None:
    assert line in written(chain_id)


@pytest.mark.parametrize(
    ("chain_id", "line"), [(1, f'native = "{ETH_FEED}"  # ETH/USD'), (137, "# native = …"), (999_999, "# native = …")]
)
def test_gas_is_priced_by_ether_only_where_it_is_paid_in_ether(chain_id: int, line: str) -> None:
    lines = written(chain_id)
    assert line in lines[lines.index("[prices]") :]


def test_a_second_source_is_shown_and_not_chosen() -> None:
    lines = written(1)
    assert "# [[prices.second]]" in lines
    assert '# token = "WETH"' in lines
