"""Every kind of batch, sent by the daemon's own keeper at the gas limit that it computed: nothing runs out of gas."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from keeper.core.plan import Kind, Lane, Stage
from keeper.opening import open_keeper
from keeper.protocols.guard import Rescued, RescueFailed, decode_events
from keeper.protocols.guard_batch import TRANSACTION_GAS_MAX
from scripts.benchmarks.wallet import LOW, NO_DEBT, WideWallet
from scripts.localchain.devnet import Devnet
from scripts.localchain.world import KEEPER, wad
from tests.protocols.on_chain import as_address, logs_of

pytestmark = pytest.mark.devnet

NATIVE, CROSS = Kind.NATIVE, Kind.CROSS
LITTLE = wad("1.03")
"""Takes 2.25 of the 10 WETH that back each account to get to its target; `LOW`, at 1.06, takes 1.8."""
DUE = wad("1.13")
"""Below its trigger, not urgent."""
ROOMY = wad("3.2")
"""Can spare 5.9 WETH above its floor."""
SNUG = wad("1.63")
"""Can spare 2 WETH."""
SCARCE = wad("1.40")
"""Can spare 0.7 WETH."""
NEAR = wad("1.24")
"""Below its floor: it gives in a last stand only."""


@dataclass(frozen=True, slots=True)
class Case:
    healths: Sequence[int]
    """Of the wallet's accounts."""
    kinds: Sequence[Sequence[Kind]]
    """Of the transfers of each rescue that is expected."""
    tokens: Sequence[str] = ()
    """Those that lie idle in the wallet and may be used: 2 WETH."""
    stage: Stage = Stage.NORMAL
    lane: Lane = Lane.CRITICAL
    donors: int = 1
    hours: int = 0
    """Since interest was last accrued."""


CASES = {
    "one rescue from an account with debt": Case([LOW, ROOMY], [[NATIVE]]),
    "one rescue from an account without debt": Case([LOW, NO_DEBT], [[NATIVE]]),
    "one that is not urgent": Case([DUE, ROOMY], [[NATIVE]], lane=Lane.ROUTINE),
    "the first use of the wallet's allowance": Case([LOW], [[CROSS]], tokens=["WETH"]),
    "all of the wallet's allowance and an account": Case([LITTLE, SNUG], [[CROSS, NATIVE]], ["WETH"], donors=2),
    "several donors into one": Case([LOW, SCARCE, SCARCE, SCARCE], [[NATIVE, NATIVE, NATIVE]], donors=3),
    "eight donors into one": Case([LITTLE, *8 * [wad("1.339")]], [8 * [NATIVE]], donors=8),
    "three rescues from one donor": Case([LOW, LOW, LOW, ROOMY], 3 * [[NATIVE]]),
    "three rescues from three donors": Case([LOW, LOW, LOW, SNUG, SNUG, SNUG], 3 * [[NATIVE]], donors=3),
    "sixteen rescues": Case([*16 * [LOW], *6 * [ROOMY]], 16 * [[NATIVE]], donors=6),
    "a last stand": Case([LITTLE, NEAR], [[NATIVE]], stage=Stage.LAST_STAND),
    "a last stand of three donors": Case([LITTLE, NEAR, NEAR, NEAR], [3 * [NATIVE]], stage=Stage.LAST_STAND, donors=3),
    "hours of interest to accrue": Case([LOW, LOW, LOW, SNUG, SNUG, SNUG], 3 * [[NATIVE]], donors=3, hours=12),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
async def test_a_batch_succeeds_whole_at_the_gas_limit_that_was_computed_for_it(devnet: Devnet, case: Case) -> None:
    wallet = WideWallet(devnet)
    wallet.open(case.healths)
    devnet.chain.warp(60 + 3_600 * case.hours)
    devnet.chain.refresh_prices()

    async with open_keeper(wallet.config("limits", tokens=case.tokens), is_dry_run=False) as running:
        report = await running.cycle(await running.session.rpc.head())
    devnet.node.mine()

    rescues = report.plan.rescues
    assert [[transfer.kind for transfer in rescue.transfers] for rescue in rescues] == case.kinds
    assert {(rescue.stage, rescue.lane) for rescue in rescues} == {(case.stage, case.lane)}
    assert len({transfer.donor for rescue in rescues for transfer in rescue.transfers}) == case.donors

    (sent,) = devnet.node.request("eth_getBlockByNumber", "latest", True)["transactions"]
    assert sent["from"] == KEEPER.address.lower()
    receipt = devnet.node.receipt(sent["hash"])
    assert receipt is not None
    assert receipt.success
    events = decode_events(as_address(devnet.deployment.guard), logs_of(receipt))
    assert not any(isinstance(event, RescueFailed) for event in events)
    assert sum(isinstance(event, Rescued) for event in events) == len(rescues)

    limit = int(sent["gas"], 16)
    assert receipt.gas_used < limit <= TRANSACTION_GAS_MAX == 16_777_216
