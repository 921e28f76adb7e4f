"""The Venus adapter against the real isolated pools, whose interest runs by the second or by the block."""

from dataclasses import replace
from random import Random

import pytest

from keeper.core.snapshot import Fresh, Horizon, Snapshot, SubaccountId
from keeper.core.units import INFINITE_HEALTH, Address
from keeper.protocols.abi import explain_revert, interface
from keeper.protocols.base import Call, CallResult
from keeper.protocols.multicall import MULTICALL3, decode_aggregate3, encode_aggregate3
from keeper.protocols.portfolio import Portfolio, VenusSettings, discover
from scripts.localchain import venus
from scripts.localchain.abi import encode_call, selector
from scripts.localchain.devnet import Devnet
from scripts.localchain.node import NodeError
from scripts.localchain.venus import Action
from scripts.localchain.world import DEPLOYER, LIQUIDATOR, OWNER, STRANGER, UNPROTECTED, Person
from tests.protocols import conformance
from tests.protocols.on_chain import as_address, read_block, read_snapshot, run_discovery, settings_of

pytestmark = pytest.mark.devnet

STATES = 100
PRICED = {"WETH": (2_500, 8), "WBTC": (60_000, 8), "USDC": (1, 8)}
UNSAFE_PRICES_BPS = (4_000, 25_000)
SCALES = {"WETH": 10**18, "WBTC": 4 * 10**6, "USDC": 2_500 * 10**6}
"""What is worth about as much as one WETH, raw."""
PEOPLE = (OWNER, UNPROTECTED)
GIVER = LIQUIDATOR
"""Has vTokens and owes nothing."""
TRANSFER = "transferFrom(address,address,uint256)"
TOO_MUCH = {selector("InsufficientLiquidity()")}
MORE_THAN_THERE_IS = "an arithmetic overflow (panic 0x11)"


class VenusSubject:
    """The owner owes USDC against WETH and WBTC, another account owes WBTC against WETH and USDC.

    Multicall3 may take their vTokens, so that a change and its effect fit into one call.
    """

    def __init__(self, devnet: Devnet, *, is_by_block: bool = False) -> None:
        self.devnet, node, deployment = devnet, devnet.node, devnet.deployment
        self.venus = venus.deploy(node, deployment.tokens, deployment.feeds, is_by_block=is_by_block)
        venus.open_account(
            node, self.venus, OWNER, {"WETH": 20 * 10**18, "WBTC": 5 * 10**7}, {"USDC": 40_000 * 10**6}
        )  # fmt: skip
        venus.open_account(
            node, self.venus, UNPROTECTED, {"WETH": 5 * 10**18, "USDC": 20_000 * 10**6}, {"WBTC": 3 * 10**7}
        )  # fmt: skip
        venus.supply(node, self.venus, GIVER, "WETH", 200 * 10**18)
        for person in (*PEOPLE, GIVER):
            for market in self.venus.markets.values():
                devnet.chain.send(person, market, "approve(address,uint256)", MULTICALL3, 2**255)
        accounts = tuple(as_address(person.address) for person in PEOPLE)
        markets = tuple(map(as_address, self.venus.markets.values()))
        settings = replace(
            settings_of(devnet), protocols=(VenusSettings(as_address(self.venus.comptroller), accounts, markets),)
        )  # fmt: skip
        self.portfolio: Portfolio = run_discovery(node, discover(settings))

    def snapshot(self) -> Snapshot:
        return read_snapshot(self.devnet.node, self.portfolio)

    def accounts(self) -> list[SubaccountId]:
        return [self.id_of(person) for person in PEOPLE]

    def id_of(self, person: Person) -> SubaccountId:
        return SubaccountId("venus", f"{self.venus.comptroller.lower()}/{as_address(person.address)}")

    def wait(self, seconds: int) -> None:
        self.devnet.node.set_next_timestamp(self.devnet.node.timestamp() + seconds)
        self.devnet.node.mine()

    def shake(self, random: Random) -> None:
        node = self.devnet.node
        node.set_next_timestamp(node.timestamp() + random.choice((1, 2, 13, 3_600, 86_400, 7 * 86_400)))
        self._change_an_account(random)
        for symbol, (usual, decimals) in PRICED.items():
            bps = random.randint(*UNSAFE_PRICES_BPS) if random.random() < 0.6 else 10_000
            answer = usual * 10**decimals * bps // 10_000 + random.randint(0, 99)
            self.devnet.chain.set_round(symbol, answer, node.timestamp())

    def _change_an_account(self, random: Random) -> None:
        """What the pool refuses stays as it is."""
        node, person, symbol = self.devnet.node, random.choice(PEOPLE), random.choice(list(SCALES))
        amount = random.randint(1, 5 * SCALES[symbol])
        try:
            match random.randrange(6):
                case 0:
                    venus.supply(node, self.venus, person, symbol, amount)
                case 1:
                    self.devnet.chain.send(
                        person, self.venus.markets[symbol], "redeemUnderlying(uint256)", amount // 2
                    )  # fmt: skip
                case 2:
                    venus.borrow(node, self.venus, person, symbol, amount)
                case 3:
                    venus.repay(node, self.venus, person, symbol, amount)
                case 4:
                    venus.set_factors(node, self.venus, symbol, random.randint(60, 80), random.randint(80, 90))
                case _:
                    venus.leave(node, self.venus, person, symbol)
                    venus.enter(node, self.venus, person, symbol)
        except NodeError:
            node.mine()

    # The contracts' own opinion ---------------------------------------------------------------------------------------

    def health(self, account: SubaccountId, delta_raw: int = 0) -> int:
        """vTokens leave as the guard takes them, rounded up, or arrive, rounded down."""
        rate = self.exchange_rate("WETH")
        if delta_raw < 0:
            return self.health_after(account, [self.sending(account, -(delta_raw * 10**18 // rate))])
        if delta_raw:
            return self.health_after(account, [self.receiving(account, delta_raw * 10**18 // rate)])
        return self.health_after(account, [])

    def sending(self, account: SubaccountId, tokens: int) -> Call:
        market = as_address(self.venus.markets["WETH"])
        return Call(market, encode_call(TRANSFER, holder_of(account), STRANGER.address, tokens))

    def receiving(self, account: SubaccountId, tokens: int) -> Call:
        market = as_address(self.venus.markets["WETH"])
        return Call(market, encode_call(TRANSFER, GIVER.address, holder_of(account), tokens))

    def exchange_rate(self, symbol: str) -> int:
        market = as_address(self.venus.markets[symbol])
        return int.from_bytes(
            self.after([], [Call(market, interface("VToken")["exchangeRateStored"].encode())])[0].data
        )

    def after(self, changes: list[Call], asked: list[Call]) -> list[CallResult]:
        """What is answered once interest was accrued and the changes made."""
        node, accrue = self.devnet.node, interface("VToken")["accrueInterest"].encode()
        calls = [*(Call(as_address(market), accrue) for market in self.venus.markets.values()), *changes, *asked]
        results = decode_aggregate3(
            node.call(MULTICALL3, encode_aggregate3(calls), read_block(node).number), len(calls)
        )
        made = results[: len(calls) - len(asked)]
        assert all(result.success for result in made), [explain_revert(result.data) for result in made]
        return list(results[len(made) :])

    def health_after(self, account: SubaccountId, changes: list[Call]) -> int:
        """The pool says what is left or missing; with what is owed that makes a ratio."""
        comptroller, oracle = as_address(self.venus.comptroller), as_address(self.venus.oracle)
        asked = [Call(comptroller, interface("VenusComptroller")["getAccountLiquidity"].encode(holder_of(account)))]
        for market in map(as_address, self.venus.markets.values()):
            asked.append(Call(oracle, interface("VenusOracle")["getUnderlyingPrice"].encode(market)))
            asked.append(Call(market, encode_call("borrowBalanceStored(address)", holder_of(account))))
        of_pool, *of_markets = self.after(changes, asked)
        left, missing = (int.from_bytes(of_pool.data[at : at + 32]) for at in (32, 64))
        numbers = [int.from_bytes(result.data) for result in of_markets]
        debt = sum(price * owed // 10**18 for price, owed in zip(numbers[::2], numbers[1::2], strict=True))
        return min((debt + left - missing) * 10**18 // debt, INFINITE_HEALTH) if debt else INFINITE_HEALTH

    def is_liquidatable(self, account: SubaccountId) -> bool:
        """Of a loan that it has, for a collateral that it has; what the liquidator lacks is looked at later."""
        loan = self.venus.markets["USDC" if holder_of(account) == as_address(OWNER.address) else "WBTC"]
        data = encode_call(
            "liquidateBorrow(address,uint256,address)", holder_of(account), 1, self.venus.markets["WETH"]
        )  # fmt: skip
        (result,) = self.after([], [Call(as_address(loan), data)])
        assert not result.success
        return result.data[:4] != selector("InsufficientShortfall()")

    def lets_leave(self, account: SubaccountId, amount_raw: int) -> bool:
        tokens = -(-amount_raw * 10**18 // self.exchange_rate("WETH"))
        (result,) = self.after([], [self.sending(account, tokens)])
        if not result.success:
            assert result.data[:4] in TOO_MUCH or explain_revert(result.data) == MORE_THAN_THERE_IS, result.data
        return result.success


def holder_of(account: SubaccountId) -> Address:
    return Address(account.key.rpartition("/")[2])


@pytest.fixture
def subject(devnet: Devnet) -> VenusSubject:
    return VenusSubject(devnet)


@pytest.fixture
def by_block(devnet: Devnet) -> VenusSubject:
    return VenusSubject(devnet, is_by_block=True)


# To the wei -----------------------------------------------------------------------------------------------------------


def test_health_and_movable_amounts_are_the_contracts_in_random_states(subject: VenusSubject) -> None:
    conformance.check_arithmetic_in_random_states(subject, Random(20_261_101), STATES)


def test_the_same_holds_where_interest_runs_by_the_block(by_block: VenusSubject) -> None:
    conformance.check_arithmetic_in_random_states(by_block, Random(20_261_101), STATES)


def test_interest_by_the_block_until_inclusion_is_bounded(by_block: VenusSubject) -> None:
    """A minute of 12-second blocks is five, and one more may come: with that one health is as foretold, not above."""
    margin = by_block.snapshot().subaccount(by_block.id_of(OWNER)).margin
    foretold = margin.risk(horizon=Horizon(60)).health_factor
    by_block.devnet.node.mine(5)
    assert by_block.health(by_block.id_of(OWNER)) > foretold
    by_block.devnet.node.mine()
    assert by_block.health(by_block.id_of(OWNER)) >= foretold
    by_block.devnet.node.mine()
    assert by_block.health(by_block.id_of(OWNER)) < foretold


def test_health_at_inclusion_bounds_what_the_contract_then_says(subject: VenusSubject) -> None:
    conformance.check_health_at_inclusion_is_a_bound(subject, Random(20_261_103), STATES // 10)


def test_a_repayment_lowers_the_debt_to_the_wei(subject: VenusSubject) -> None:
    random = Random(20_261_105)
    for _ in range(10):
        subject.shake(random)
        subaccount = subject.snapshot().subaccount(subject.id_of(OWNER))
        for debt in subaccount.debts:
            amount = random.randint(1, debt.amount_raw)
            foretold = subaccount.margin.risk(repaid={debt.token.address: amount}).health_factor
            token, market = debt.token.address, as_address(subject.venus.markets[debt.token.symbol])
            changes = [
                Call(token, encode_call("mint(address,uint256)", MULTICALL3, amount)),
                Call(token, interface("ERC20")["approve"].encode(market, amount)),
                Call(market, encode_call("repayBorrowBehalf(address,uint256)", OWNER.address, amount)),
            ]
            assert subject.health_after(subaccount.id, changes) == foretold


def test_what_is_supplied_brings_at_least_what_was_foretold(subject: VenusSubject) -> None:
    """A supply leaves what it rounds away to all vTokens, so each is worth hardly more."""
    random = Random(20_261_107)
    for _ in range(10):
        subject.wait(random.randint(1, 10**4))
        subaccount = subject.snapshot().subaccount(subject.id_of(OWNER))
        token, market = as_address(subject.venus.tokens["WETH"]), as_address(subject.venus.markets["WETH"])
        amount = random.randint(10**15, 10**19)
        foretold = subaccount.margin.risk({token: amount})
        changes = [
            Call(token, encode_call("mint(address,uint256)", MULTICALL3, amount)),
            Call(token, interface("ERC20")["approve"].encode(market, amount)),
            Call(market, encode_call("mintBehalf(address,uint256)", OWNER.address, amount)),
        ]
        actual = subject.health_after(subaccount.id, changes)
        assert foretold.health_factor <= actual <= foretold.health_factor + foretold.health_factor // 10**9


# What does not count, and what may not move ---------------------------------------------------------------------------


def line_of(subject: VenusSubject, person: Person, symbol: str) -> tuple[int, int | None, int, int | None]:
    """Movable, withdrawable, receivable and suppliable."""
    line = subject.snapshot().subaccount(subject.id_of(person)).line(as_address(subject.venus.tokens[symbol]))
    assert line is not None
    return line.movable_raw_max, line.withdrawable_raw_max, line.receivable_raw_max, line.suppliable_raw_max


def allow(subject: VenusSubject, person: Person, symbol: str, tokens: int) -> None:
    guard = subject.devnet.deployment.guard
    subject.devnet.chain.send(person, subject.venus.markets[symbol], "approve(address,uint256)", guard, tokens)


def test_an_account_is_described_with_its_pool_in_its_name(subject: VenusSubject) -> None:
    subaccount = subject.snapshot().subaccount(subject.id_of(OWNER))
    assert isinstance(subaccount.reading, Fresh)
    assert subaccount.label.endswith("WETH+WBTC/USDC")
    assert [debt.token.symbol for debt in subaccount.debts] == ["USDC"]
    assert subaccount.penalty_bps == 1_000
    assert subaccount.margin.risk().health_factor == pytest.approx(1_677_500_000_000_000_000, rel=1e-6)


def test_only_what_the_guard_is_allowed_may_leave(subject: VenusSubject) -> None:
    assert line_of(subject, OWNER, "WETH")[0] == 0
    allow(subject, OWNER, "WETH", 3 * 10**8)
    movable, withdrawable, _, _ = line_of(subject, OWNER, "WETH")
    assert movable == withdrawable == pytest.approx(3 * 10**18, rel=1e-4)
    assert movable >= 3 * 10**18


def test_what_arrives_in_a_market_that_was_not_entered_would_not_count(subject: VenusSubject) -> None:
    node, weth = subject.devnet.node, as_address(subject.venus.tokens["WETH"])
    venus.repay(node, subject.venus, OWNER, "USDC", 41_000 * 10**6)
    venus.leave(node, subject.venus, OWNER, "WETH")
    subaccount = subject.snapshot().subaccount(subject.id_of(OWNER))
    line = subaccount.line(weth)
    assert line is not None
    assert (line.maintenance_weight, line.receivable_raw_max) == (0, 0)
    assert any("the holder did not enter its market" in note for note in subaccount.notes)


@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (Action.TRANSFER, (False, False, True, True)),
        (Action.REDEEM, (True, False, True, True)),
        (Action.MINT, (True, True, True, False)),
    ],
)
def test_a_paused_action_is_stated(
    subject: VenusSubject, action: Action, expected: tuple[bool, bool, bool, bool]
) -> None:
    allow(subject, OWNER, "WETH", 10**10)
    venus.set_paused(subject.devnet.node, subject.venus, "WETH", action)
    assert tuple(map(bool, line_of(subject, OWNER, "WETH"))) == expected


def test_a_supply_cap_leaves_room_for_transfers_alone(subject: VenusSubject) -> None:
    node, market = subject.devnet.node, as_address(subject.venus.markets["WETH"])
    venus.set_supply_cap(node, subject.venus, "WETH", 2_300 * 10**18)
    _, _, receivable, suppliable = line_of(subject, OWNER, "WETH")
    assert receivable > 10**30
    assert suppliable is not None
    assert 74 * 10**18 < suppliable <= 75 * 10**18  # 2000, 20, 5 and 200 and a little interest were supplied
    token = as_address(subject.venus.tokens["WETH"])
    for amount, passes in ((suppliable, True), (suppliable + 1, False)):
        changes = [
            Call(token, encode_call("mint(address,uint256)", MULTICALL3, amount)),
            Call(token, interface("ERC20")["approve"].encode(market, amount)),
        ]
        supply = Call(market, encode_call("mintBehalf(address,uint256)", OWNER.address, amount))
        assert subject.after(changes, [supply])[0].success is passes


def test_what_is_lent_out_moves_but_is_not_withdrawn(subject: VenusSubject) -> None:
    node = subject.devnet.node
    allow(subject, OWNER, "WETH", 10**10)
    venus.supply(node, subject.venus, DEPLOYER, "USDC", 20_000_000 * 10**6)
    venus.borrow(node, subject.venus, DEPLOYER, "WETH", 1_824 * 10**18)
    movable, withdrawable, _, _ = line_of(subject, OWNER, "WETH")
    assert movable >= 20 * 10**18
    assert withdrawable is not None
    assert 0 < withdrawable < 2 * 10**18


def test_a_debt_that_anybody_may_liquidate_is_not_helped_by_collateral(subject: VenusSubject) -> None:
    venus.force_liquidation(subject.devnet.node, subject.venus, "USDC")
    forced = subject.snapshot().subaccount(subject.id_of(OWNER))
    assert forced.is_liquidatable
    assert forced.forced_liquidation is not None
    assert "whatever the health" in forced.forced_liquidation
    assert subject.snapshot().subaccount(subject.id_of(UNPROTECTED)).forced_liquidation is None


# Failures -------------------------------------------------------------------------------------------------------------


def test_a_price_that_is_too_old_makes_its_accounts_unknown(subject: VenusSubject) -> None:
    node = subject.devnet.node
    node.warp(venus.MAX_STALENESS_SECONDS + 60)
    for symbol in ("WETH", "USDC"):
        subject.devnet.chain.set_round(symbol, PRICED[symbol][0] * 10**8, node.timestamp())
    snapshot = subject.snapshot()
    for account in subject.accounts():
        conformance.check_is_unknown(snapshot, account, "Venus's oracle has no price of WBTC")


def test_another_oracle_has_the_pool_found_out_anew(subject: VenusSubject) -> None:
    chain = subject.devnet.chain
    chain.send(DEPLOYER, subject.venus.comptroller, "setPriceOracle(address)", subject.venus.chainlink)
    snapshot = subject.snapshot()
    conformance.check_is_unknown(snapshot, subject.id_of(OWNER), "asks another oracle")
    assert snapshot.is_outdated


def test_a_market_that_was_entered_later_has_the_pool_found_out_anew(subject: VenusSubject) -> None:
    markets = (as_address(subject.venus.markets["WETH"]),)
    account = (as_address(STRANGER.address),)
    settings = replace(
        settings_of(subject.devnet),
        protocols=(VenusSettings(as_address(subject.venus.comptroller), account, markets),),
    )
    node = subject.devnet.node
    portfolio = run_discovery(node, discover(settings))
    venus.enter(node, subject.venus, STRANGER, "USDC")
    snapshot = read_snapshot(node, portfolio)
    conformance.check_is_unknown(snapshot, subject.id_of(STRANGER), "entered a market")
    assert snapshot.is_outdated


def test_interest_until_inclusion_only_lowers_health(subject: VenusSubject) -> None:
    margin = subject.snapshot().subaccount(subject.id_of(OWNER)).margin
    healths = [margin.risk(horizon=Horizon(seconds)).health_factor for seconds in (0, 1, 60, 3_600)]
    assert healths == sorted(healths, reverse=True)
    assert len(set(healths)) == 4
