"""Withdrawals from Aave v3.0, which rounds to the nearest, through the guard: beside a speck none is refused."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from keeper.core.plan import Effect, Kind, Lane, Plan, Rescue, Stage, Transfer
from keeper.core.snapshot import SubaccountId
from keeper.protocols.aave.versions import VERSIONS
from keeper.protocols.abi import interface
from keeper.protocols.guard import Moved, decode_events
from keeper.protocols.guard_batch import encode_rebalance, plan_id
from keeper.protocols.portfolio import AaveSettings, discover
from scripts.localchain import aave
from scripts.localchain.aave import AaveDeployment
from scripts.localchain.devnet import Devnet
from scripts.localchain.node import NodeError, Receipt
from scripts.localchain.world import KEEPER, OWNER
from tests.commands.shell import keeper
from tests.protocols.on_chain import as_address, logs_of, read_snapshot, run_discovery, settings_of

pytestmark = pytest.mark.devnet

V30 = VERSIONS[1]
NEEDY = "WETH/USDC 86%"
YEARS = 1
RESCUE_GAS, BATCH_GAS = 2_000_000, 3_000_000


@dataclass(frozen=True, slots=True)
class Market:
    """The protected wallet, whose owner has 20 WETH on Aave v3.0 as well."""

    devnet: Devnet
    aave: AaveDeployment
    config: Path

    def index(self, timestamp: int) -> int:
        """What it will be in a block of that time."""
        node = self.devnet.node
        before = node.snapshot()
        node.set_next_timestamp(timestamp)
        node.mine()
        income = interface("AavePool")["getReserveNormalizedIncome"].encode(self.aave.tokens["WETH"])
        index = int.from_bytes(node.call(self.aave.pool, income))
        node.revert(before)
        return index

    def rescue(self, amount: int, timestamp: int) -> Receipt:
        """By one withdrawal, in a block of that time."""
        devnet, account = self.devnet, SubaccountId("aave", as_address(OWNER.address))
        weth = as_address(self.aave.tokens["WETH"])
        settings = settings_of(devnet)
        on_aave = AaveSettings(as_address(self.aave.pool), (as_address(OWNER.address),), (weth,))
        portfolio = run_discovery(devnet.node, discover(replace(settings, protocols=(*settings.protocols, on_aave))))
        snapshot = read_snapshot(devnet.node, portfolio)
        assert snapshot.guard is not None
        to = SubaccountId("morpho", devnet.deployment.markets[NEEDY].id)
        token = next(token for token in portfolio.tokens() if token.address == weth)
        transfer = Transfer(Kind.CROSS, account, to, token, amount)
        rescue = Rescue(to, (transfer,), Stage.NORMAL, Lane.ROUTINE, 0, Effect(to, 0, 0, 0), (), None)
        data = encode_rebalance(
            Plan(snapshot.block, (rescue,), {}), snapshot, plan_id(snapshot.guard.last_sequence + 1, bytes(24)),
            2**63, [RESCUE_GAS],
        )  # fmt: skip
        devnet.node.set_next_timestamp(timestamp)
        return devnet.node.transact(KEEPER.address, devnet.deployment.guard, data, gas=BATCH_GAS)

    def send(self, calls: list[dict[str, str]]) -> None:
        for call in calls:
            self.devnet.node.transact(OWNER.address, call["to"], bytes.fromhex(call["data"][2:]))

    @property
    def missing(self) -> list[dict[str, str]]:
        return keeper("setup --json", config=self.config).document["transactions"]


def is_speck(call: dict[str, str]) -> bool:
    return call["says"].startswith("Leaves 10 raw units of aWETH with the guard for good")


@pytest.fixture
def market(devnet: Devnet) -> Market:
    devnet.chain.set_price("WETH", "-12%")
    devnet.node.set_next_timestamp(max(int(time.time()), devnet.node.timestamp() + 1))
    found = aave.deploy_v30(devnet.node, devnet.deployment.tokens, devnet.deployment.feeds)
    aave.open_account(devnet.node, found, OWNER, {"WETH": 20 * 10**18}, {})
    section = (
        f'[[protocols]]\nkind = "aave_v3"\npool = "{found.pool}"\naccounts = ["{OWNER.address}"]\n'
        f'assets = ["{found.tokens["WETH"]}"]\n\n'
    )
    path = devnet.config.with_name("v30.toml")
    path.write_text(devnet.config.read_text().replace("[[protocols]]", f"{section}[[protocols]]", 1))
    return Market(devnet, found, path)


def test_setup_leaves_a_speck_with_the_guard_and_check_says_so_until_then(market: Market) -> None:
    calls = market.missing
    assert [is_speck(call) for call in calls] == [False, True, False]
    says = "the guard has none of it, so Aave v3.0 refuses every now and then what is to be withdrawn"
    assert says in keeper("check", config=market.config).out
    market.send(calls)
    assert market.missing == []
    assert says not in keeper("check", config=market.config).out


def test_a_speck_makes_up_for_what_is_booked_a_raw_unit_short(market: Market) -> None:
    node, guard = market.devnet.node, as_address(market.devnet.deployment.guard)
    calls = market.missing
    market.send([call for call in calls if not is_speck(call)])
    node.warp(YEARS * 365 * 86_400)

    def rescue(*, is_short: bool) -> bool:
        """By the first amount of which less will be booked than is asked for, or as much."""
        at = node.timestamp() + 60
        index = market.index(at)
        amount = next(
            amount
            for amount in range(10**18, 10**18 + 1_000)
            if (V30.held_raw(V30.leaving_scaled(amount, index), index) < amount) is is_short
        )
        try:
            events = decode_events(guard, logs_of(market.rescue(amount, at)))
        except NodeError:
            return False
        assert [event.amount_raw for event in events if isinstance(event, Moved)] == [amount]
        return True

    assert (rescue(is_short=False), rescue(is_short=True)) == (True, False)
    market.send([call for call in calls if is_speck(call)])
    assert (rescue(is_short=True), rescue(is_short=False)) == (True, True)
    assert market.missing == [], "the speck is still there"
