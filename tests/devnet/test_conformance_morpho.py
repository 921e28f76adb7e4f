"""The Morpho adapter against the real Morpho Blue and the real guard."""

from random import Random

import pytest

from keeper.core.snapshot import Fresh, FreshnessUnverified, GuardProtocol, Snapshot, Stale, SubaccountId
from keeper.core.units import Address
from keeper.protocols.abi import explain_revert, interface
from keeper.protocols.base import Call
from keeper.protocols.multicall import MULTICALL3, decode_aggregate3, encode_aggregate3
from keeper.protocols.portfolio import Portfolio
from scripts.localchain.abi import encode_call
from scripts.localchain.deploy import MARKET_PARAMS, Market
from scripts.localchain.devnet import Devnet
from scripts.localchain.node import NodeError
from scripts.localchain.world import OWNER, STRANGER
from tests.protocols import conformance
from tests.protocols.on_chain import as_address, portfolio_of, read_snapshot

pytestmark = pytest.mark.devnet

STATES = 100
PRICED = {"WETH": (2_500, 8), "WBTC": (60_000, 8), "wstETH": (1.2, 18), "USDC": (1, 8), "DAI": (1, 8)}
UNSAFE_PRICES_BPS = (4_000, 25_000)


class MorphoSubject:
    """The demo wallet's six markets; Multicall3 is authorised, so that a change and its effect fit into one call."""

    def __init__(self, devnet: Devnet) -> None:
        self.devnet = devnet
        self.portfolio: Portfolio = portfolio_of(devnet)
        self.markets = {SubaccountId("morpho", market.id): market for market in devnet.deployment.markets.values()}
        self._morpho = devnet.deployment.morpho
        devnet.chain.send(OWNER, self._morpho, "setAuthorization(address,bool)", MULTICALL3, True)
        guard = self.snapshot().guard
        assert guard is not None
        self._index = {
            SubaccountId("morpho", account.key): account.index
            for account in guard.accounts
            if account.protocol is GuardProtocol.MORPHO
        }

    def snapshot(self) -> Snapshot:
        return read_snapshot(self.devnet.node, self.portfolio)

    def accounts(self) -> list[SubaccountId]:
        return list(self.markets)

    def wait(self, seconds: int) -> None:
        self.devnet.node.set_next_timestamp(self.devnet.node.timestamp() + seconds)
        self.devnet.node.mine()

    def shake(self, random: Random) -> None:
        chain, node = self.devnet.chain, self.devnet.node
        node.set_next_timestamp(node.timestamp() + random.choice((1, 2, 13, 3_600, 86_400, 7 * 86_400)))
        self._change_a_position(random)
        for symbol in random.sample(sorted(PRICED), 2):
            usual, decimals = PRICED[symbol]
            answer = int(usual * 10**decimals) * random.randint(*UNSAFE_PRICES_BPS) // 10_000 + random.randint(0, 99)
            chain.set_round(symbol, answer, node.timestamp())

    def _change_a_position(self, random: Random) -> None:
        """One of: collateral in or out, debt up or down. What Morpho refuses stays as it is."""
        market = random.choice(list(self.markets.values()))
        amount = random.randint(1, 10 ** random.randint(1, 19))
        owner = OWNER.address
        supply = f"supplyCollateral({MARKET_PARAMS},uint256,address,bytes)"
        repay = f"repay({MARKET_PARAMS},uint256,uint256,address,bytes)"
        try:
            match random.randrange(4):
                case 0:
                    self._mint(market.collateral, amount)
                    self.devnet.chain.send(OWNER, self._morpho, supply, market.params, amount, owner, b"")
                case 1:
                    withdraw = f"withdrawCollateral({MARKET_PARAMS},uint256,address,address)"
                    self.devnet.chain.send(OWNER, self._morpho, withdraw, market.params, amount, owner, owner)
                case 2:
                    borrow = f"borrow({MARKET_PARAMS},uint256,uint256,address,address)"
                    to = STRANGER.address
                    self.devnet.chain.send(OWNER, self._morpho, borrow, market.params, amount, 0, owner, to)
                case _:
                    self._mint(market.loan, amount)
                    self.devnet.chain.send(OWNER, self._morpho, repay, market.params, amount, 0, owner, b"")
        except NodeError:
            self.devnet.node.mine()

    def _mint(self, token: str, amount: int) -> None:
        self.devnet.chain.send(OWNER, token, "mint(address,uint256)", OWNER.address, amount)
        self.devnet.chain.send(OWNER, token, "approve(address,uint256)", self._morpho, amount)

    # The contracts' own opinion ---------------------------------------------------------------------------------------

    def health(self, account: SubaccountId, delta_raw: int = 0) -> int:
        calls = [*self._moving(self.markets[account], delta_raw), self._guards_health(account)]
        results = decode_aggregate3(self.devnet.node.call(MULTICALL3, encode_aggregate3(calls)), len(calls))
        assert all(result.success for result in results), [explain_revert(result.data) for result in results]
        return int.from_bytes(results[-1].data)

    def _guards_health(self, account: SubaccountId) -> Call:
        return Call(
            as_address(self.devnet.deployment.guard), interface("MarginGuard")["health"].encode(self._index[account])
        )

    def _moving(self, market: Market, delta_raw: int) -> list[Call]:
        morpho, token = as_address(self._morpho), as_address(market.collateral)
        if delta_raw < 0:
            withdraw = interface("Morpho")["withdrawCollateral"]
            return [Call(morpho, withdraw.encode(market.params, -delta_raw, OWNER.address, STRANGER.address))]
        if delta_raw > 0:
            supply = interface("Morpho")["supplyCollateral"]
            return [
                Call(token, encode_call("mint(address,uint256)", MULTICALL3, delta_raw)),
                Call(token, interface("ERC20")["approve"].encode(self._morpho, delta_raw)),
                Call(morpho, supply.encode(market.params, delta_raw, OWNER.address, b"")),
            ]
        return []

    def is_liquidatable(self, account: SubaccountId) -> bool:
        liquidate = f"liquidate({MARKET_PARAMS},address,uint256,uint256,bytes)"
        data = encode_call(liquidate, self.markets[account].params, OWNER.address, 1, 0, b"")
        return self._refusal(data, STRANGER.address) != "position is healthy"

    def lets_leave(self, account: SubaccountId, amount_raw: int) -> bool:
        market = self.markets[account]
        withdraw = interface("Morpho")["withdrawCollateral"]
        data = withdraw.encode(market.params, amount_raw, OWNER.address, OWNER.address)
        refusal = self._refusal(data, OWNER.address)
        assert refusal in (None, "insufficient collateral", "an arithmetic overflow (panic 0x11)")
        return refusal is None

    def _refusal(self, data: bytes, sender: str) -> str | None:
        try:
            self.devnet.node.call(self._morpho, data, sender=sender)
        except NodeError as refused:
            return explain_revert(refused.data)
        return None

    # Breaking things --------------------------------------------------------------------------------------------------

    def id_of(self, name: str) -> SubaccountId:
        return SubaccountId("morpho", self.devnet.deployment.markets[name].id)

    @property
    def eth_feed(self) -> Address:
        return as_address(self.devnet.deployment.feeds["ETH/USD"])

    def break_oracle(self, name: str, code: bytes) -> None:
        self.devnet.node.set_code(self.devnet.deployment.markets[name].oracle, code)
        self.devnet.node.mine()


@pytest.fixture
def subject(devnet: Devnet) -> MorphoSubject:
    return MorphoSubject(devnet)


# To the wei -----------------------------------------------------------------------------------------------------------


def test_health_and_movable_amounts_are_the_contracts_in_random_states(subject: MorphoSubject) -> None:
    conformance.check_arithmetic_in_random_states(subject, Random(20_260_101), STATES)


def test_health_at_inclusion_bounds_what_the_contract_then_says(subject: MorphoSubject) -> None:
    conformance.check_health_at_inclusion_is_a_bound(subject, Random(20_260_103), STATES // 4)


# Named, and never healthy ---------------------------------------------------------------------------------------------

WETH_USDC, WETH_DAI, WETH_DAI_FREE, WBTC_USDC = "WETH/USDC 86%", "WETH/DAI 77%", "WETH/DAI 86%", "WBTC/USDC 86%"

REVERTS = bytes.fromhex("5f5ffd")
ANSWERS_NOTHING = bytes.fromhex("00")
ANSWERS_ZERO = bytes.fromhex("5f5f5260205ff3")
ANSWERS_TOO_MUCH = bytes.fromhex("5f195f5260205ff3")  # 2^256 - 1
# 2,500 USDC to price(), and a revert to everything else.
ONLY_A_PRICE = bytes.fromhex("5f3560e01c63a035b1fe14601157" + "5f5ffd" + f"5b6b{2_500 * 10**24:024x}" + "5f5260205ff3")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (REVERTS, "does not answer: reverted without a reason"),
        (ANSWERS_NOTHING, "does not answer: 0 bytes instead of a price"),
        (b"", "does not answer: 0 bytes instead of a price"),
        (ANSWERS_ZERO, "answers a price of zero"),
        (ANSWERS_TOO_MUCH, "answers a price that overflows"),
    ],
)
def test_a_broken_oracle_makes_its_own_account_unknown(subject: MorphoSubject, code: bytes, reason: str) -> None:
    before = subject.snapshot()
    subject.break_oracle(WETH_USDC, code)
    after = subject.snapshot()
    conformance.check_is_unknown(after, subject.id_of(WETH_USDC), reason)
    conformance.check_nothing_else_changed(before, after, subject.id_of(WETH_USDC))


def test_a_broken_oracle_leaves_a_debt_free_account_able_to_give(subject: MorphoSubject) -> None:
    subject.break_oracle(WETH_DAI_FREE, REVERTS)
    account = subject.id_of(WETH_DAI_FREE)
    subaccount = subject.snapshot().subaccount(account)
    assert subaccount.reading == Fresh()
    assert subaccount.collateral[0].movable_raw_max == 3_000_000_000_000_000_000
    assert subject.lets_leave(account, 3_000_000_000_000_000_000)


def test_an_answer_below_zero_stops_every_account_that_rests_on_it(subject: MorphoSubject) -> None:
    before = subject.snapshot()
    subject.devnet.chain.set_round("WETH", -1, subject.devnet.node.timestamp())
    after = subject.snapshot()
    hit = [one.id for one in before.subaccounts if one.has_debt and subject.eth_feed in one.feeds]
    assert {subject.id_of(WETH_USDC), subject.id_of(WETH_DAI)} <= set(hit)
    for account in hit:
        conformance.check_is_unknown(after, account, "does not answer")
    # The debt-free one loses its price and nothing else.
    conformance.check_nothing_else_changed(before, after, *hit, subject.id_of(WETH_DAI_FREE))
    assert after.subaccount(subject.id_of(WETH_DAI_FREE)).reading == Fresh()


def test_a_market_whose_interest_cannot_accrue_is_unknown(subject: MorphoSubject) -> None:
    subject.devnet.node.set_code(subject.devnet.deployment.irm, REVERTS)
    subject.devnet.node.warp(60)
    after = subject.snapshot()
    conformance.check_is_unknown(after, subject.id_of(WETH_USDC), "cannot be accrued")
    free = after.subaccount(subject.id_of(WETH_DAI_FREE))
    assert free.cannot_give
    assert free.collateral[0].movable_raw_max == 0


def test_a_price_past_its_heartbeat_is_stale(subject: MorphoSubject) -> None:
    devnet = subject.devnet
    devnet.node.warp(86_400 + 301)
    for symbol in ("USDC", "DAI", "WBTC", "wstETH"):
        devnet.chain.set_price(symbol, "+0%")
    snapshot = subject.snapshot()
    stale = snapshot.subaccount(subject.id_of(WETH_USDC)).reading
    assert isinstance(stale, Stale)
    assert "ETH/USD" in stale.reason
    assert snapshot.subaccount(subject.id_of(WBTC_USDC)).reading == Fresh()
    assert snapshot.subaccount(subject.id_of(WETH_DAI_FREE)).reading == Fresh()
    assert snapshot.usd_per_native is None


def test_an_oracle_that_names_no_feeds_is_unverified(devnet: Devnet) -> None:
    devnet.node.set_code(devnet.deployment.markets[WETH_USDC].oracle, ONLY_A_PRICE)
    devnet.node.mine()
    portfolio = portfolio_of(devnet)
    subaccount = read_snapshot(devnet.node, portfolio).subaccount(
        SubaccountId("morpho", devnet.deployment.markets[WETH_USDC].id)
    )
    assert isinstance(subaccount.reading, FreshnessUnverified)
    assert subaccount.feeds == ()
