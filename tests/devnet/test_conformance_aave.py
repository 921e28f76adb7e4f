"""The Aave adapter against the real Aave, in the two versions that it knows."""

from dataclasses import replace
from random import Random

import pytest

from keeper.core.snapshot import Fresh, Horizon, Snapshot, Stale, Subaccount, SubaccountId
from keeper.core.units import INFINITE_HEALTH, Address
from keeper.protocols.abi import explain_revert, interface
from keeper.protocols.base import Call
from keeper.protocols.multicall import MULTICALL3, decode_aggregate3, encode_aggregate3
from keeper.protocols.portfolio import AaveSettings, Portfolio, discover
from scripts.localchain import aave, world
from scripts.localchain.aave import V30, V36, AaveDeployment
from scripts.localchain.abi import encode_call, selector
from scripts.localchain.devnet import Devnet
from scripts.localchain.node import NodeError
from scripts.localchain.world import OWNER, STRANGER, UNPROTECTED, Person
from tests.protocols import conformance
from tests.protocols.on_chain import as_address, read_snapshot, run_discovery, settings_of

pytestmark = pytest.mark.devnet

ALL_OF_IT = 2**256 - 1
"""What a pool takes for all that there is."""

STATES = 100
PRICED = {"WETH": (2_500, 8), "WBTC": (60_000, 8), "wstETH": (1.2, 18), "USDC": (1, 8), "DAI": (1, 8)}
UNSAFE_PRICES_BPS = (4_000, 25_000)
PEOPLE = (OWNER, UNPROTECTED)
EMODE = world.ETH_CORRELATED.id

# Each version's own words for the same refusals.
HEALTHY = {selector("HealthFactorNotBelowThreshold()"), b"45"}
REFUSALS = {
    selector("HealthFactorLowerThanLiquidationThreshold()"), selector("LtvValidationFailed()"), b"35", b"57", b"panic",
}  # fmt: skip
MORE_THAN_THERE_IS = "an arithmetic overflow (panic 0x11)"


def id_of(person: Person) -> SubaccountId:
    return SubaccountId("aave", as_address(person.address))


class AaveSubject:
    """Two accounts with several collaterals and debts, one of them in an e-mode.

    Multicall3 may take their aTokens, so that a change and its effect fit into one call.
    """

    def __init__(self, devnet: Devnet, market: AaveDeployment) -> None:
        self.devnet, self.market = devnet, market
        node = devnet.node
        aave.open_account(node, market, OWNER, {"WETH": 20 * 10**18, "WBTC": 10**8}, {"USDC": 40_000 * 10**6})
        aave.open_account(
            node, market, UNPROTECTED, {"WETH": 5 * 10**18, "wstETH": 20 * 10**18}, {"WETH": 16 * 10**18}
        )  # fmt: skip
        aave.borrow(node, market, OWNER, "DAI", 5_000 * 10**18)
        aave.choose_emode(node, market, UNPROTECTED, EMODE)
        for person in PEOPLE:
            for token in market.a_tokens.values():
                devnet.chain.send(person, token, "approve(address,uint256)", MULTICALL3, 2**255)
        accounts = tuple(as_address(person.address) for person in PEOPLE)
        assets = tuple(as_address(market.tokens[spec.symbol]) for spec in world.RESERVES)
        settings = replace(
            settings_of(devnet), protocols=(AaveSettings(as_address(market.pool), accounts, assets),)
        )  # fmt: skip
        self.portfolio: Portfolio = run_discovery(node, discover(settings))

    def snapshot(self) -> Snapshot:
        return read_snapshot(self.devnet.node, self.portfolio)

    def accounts(self) -> list[SubaccountId]:
        return [id_of(person) for person in PEOPLE]

    def wait(self, seconds: int) -> None:
        self.devnet.node.set_next_timestamp(self.devnet.node.timestamp() + seconds)
        self.devnet.node.mine()

    def shake(self, random: Random) -> None:
        chain, node = self.devnet.chain, self.devnet.node
        node.set_next_timestamp(node.timestamp() + random.choice((1, 2, 13, 3_600, 86_400, 7 * 86_400)))
        self._change_an_account(random)
        for symbol in random.sample(sorted(PRICED), 2):
            usual, decimals = PRICED[symbol]
            answer = int(usual * 10**decimals) * random.randint(*UNSAFE_PRICES_BPS) // 10_000 + random.randint(0, 99)
            chain.set_round(symbol, answer, node.timestamp())

    def _change_an_account(self, random: Random) -> None:
        """What the pool refuses stays as it is. WETH stays in use, and debts above a unit of account."""
        node, market, person = self.devnet.node, self.market, random.choice(PEOPLE)
        spec = random.choice(world.RESERVES)
        whole = 10 ** world.token(spec.symbol).decimals
        amount = random.randint(1, 20_000 * whole // (PRICED[spec.symbol][0] if spec.symbol != "wstETH" else 3_000))
        try:
            match random.randrange(6):
                case 0:
                    aave.supply(node, market, person, spec.symbol, amount)
                case 1:
                    aave.transfer(node, market, person, spec.symbol, STRANGER.address, amount // 4)
                case 2:
                    aave.borrow(node, market, person, spec.symbol, amount)
                case 3:
                    self._repay_a_third(person, spec.symbol)
                case 4 if spec.symbol != "WETH":
                    aave.use_as_collateral(node, market, person, spec.symbol, random.random() < 0.7)
                case _:
                    aave.choose_emode(node, market, person, random.choice((0, EMODE)))
        except NodeError:
            node.mine()

    def _repay_a_third(self, person: Person, symbol: str) -> None:
        node, market = self.devnet.node, self.market
        answer = node.call(market.variable_debt_tokens[symbol], encode_call("balanceOf(address)", person.address))
        amount = int.from_bytes(answer) // 3
        self._mint(person, symbol, amount)
        repay = "repay(address,uint256,uint256,address)"
        self.devnet.chain.send(
            person, market.pool, repay, market.tokens[symbol], amount, aave.VARIABLE_RATE, person.address
        )

    def _mint(self, person: Person, symbol: str, amount: int) -> None:
        token = self.market.tokens[symbol]
        self.devnet.chain.send(person, token, "mint(address,uint256)", person.address, amount)
        self.devnet.chain.send(person, token, "approve(address,uint256)", self.market.pool, amount)

    # The contracts' own opinion ---------------------------------------------------------------------------------------

    def health(self, account: SubaccountId, delta_raw: int = 0) -> int:
        return self.health_after(account, self._moving(account, "WETH", delta_raw))

    def _moving(self, account: SubaccountId, symbol: str, delta_raw: int) -> list[Call]:
        if delta_raw < 0:
            return [self.taking(account, symbol, -delta_raw)]
        return self.supplying(account, symbol, delta_raw) if delta_raw else []

    def health_after(self, account: SubaccountId, calls: list[Call]) -> int:
        pool = as_address(self.market.pool)
        calls = [*calls, Call(pool, interface("AavePool")["getUserAccountData"].encode(account.key))]
        results = decode_aggregate3(self.devnet.node.call(MULTICALL3, encode_aggregate3(calls)), len(calls))
        assert all(result.success for result in results), [explain_revert(result.data) for result in results]
        return min(int.from_bytes(results[-1].data[160:]), INFINITE_HEALTH)

    def taking(self, account: SubaccountId, symbol: str, amount: int, to: str = STRANGER.address) -> Call:
        a_token = as_address(self.market.a_tokens[symbol])
        return Call(a_token, encode_call("transferFrom(address,address,uint256)", account.key, to, amount))

    def withdrawing(self, account: SubaccountId, symbol: str, amount: int) -> list[Call]:
        # 3.0 rounds to the nearest, so now and then a raw unit less arrives than was asked for: then as much leaves.
        leaving = ALL_OF_IT if self.market.version == V30 else amount
        withdraw = encode_call(
            "withdraw(address,uint256,address)", self.market.tokens[symbol], leaving, STRANGER.address
        )
        return [self.taking(account, symbol, amount, MULTICALL3), Call(as_address(self.market.pool), withdraw)]

    def supplying(self, account: SubaccountId, symbol: str, amount: int) -> list[Call]:
        pool, token = as_address(self.market.pool), as_address(self.market.tokens[symbol])
        supply = encode_call("supply(address,uint256,address,uint16)", token, amount, account.key, 0)
        return [*self._minting(symbol, amount), Call(pool, supply)]

    def repaying(self, account: SubaccountId, symbol: str, amount: int) -> list[Call]:
        pool, token = as_address(self.market.pool), self.market.tokens[symbol]
        repay = encode_call(
            "repay(address,uint256,uint256,address)", token, amount, aave.VARIABLE_RATE, account.key
        )  # fmt: skip
        return [*self._minting(symbol, amount), Call(pool, repay)]

    def _minting(self, symbol: str, amount: int) -> list[Call]:
        token = as_address(self.market.tokens[symbol])
        return [
            Call(token, encode_call("mint(address,uint256)", MULTICALL3, amount)),
            Call(token, interface("ERC20")["approve"].encode(self.market.pool, amount)),
        ]

    def is_liquidatable(self, account: SubaccountId) -> bool:
        data = encode_call(
            "liquidationCall(address,address,address,uint256,bool)",
            self.market.tokens["WETH"], self.market.tokens["USDC"], account.key, 1, False,
        )  # fmt: skip
        return self._refusal(self.market.pool, data, STRANGER.address) not in HEALTHY

    def lets_leave(self, account: SubaccountId, amount_raw: int) -> bool:
        return self.lets_transfer(account, "WETH", amount_raw)

    def lets_transfer(self, account: SubaccountId, symbol: str, amount_raw: int) -> bool:
        data = encode_call("transfer(address,uint256)", STRANGER.address, amount_raw)
        refusal = self._refusal(self.market.a_tokens[symbol], data, account.key)
        assert refusal is None or refusal in REFUSALS, refusal
        return refusal is None

    def _refusal(self, to: str, data: bytes, sender: str) -> bytes | None:
        """The selector of an error, or the text of one, or `panic`; None when it passes."""
        try:
            self.devnet.node.call(to, data, sender=sender)
        except NodeError as refused:
            words = explain_revert(refused.data)
            if words == MORE_THAN_THERE_IS:
                return b"panic"
            return words.encode() if refused.data[:4] == bytes.fromhex("08c379a0") else refused.data
        return None


@pytest.fixture(params=[V36, V30])
def subject(request: pytest.FixtureRequest, devnet: Devnet) -> AaveSubject:
    deployment = devnet.deployment
    market = (
        deployment.aave if request.param == V36 else aave.deploy_v30(devnet.node, deployment.tokens, deployment.feeds)
    )
    return AaveSubject(devnet, market)


# To the wei -----------------------------------------------------------------------------------------------------------


def test_health_and_movable_amounts_are_the_contracts_in_random_states(subject: AaveSubject) -> None:
    # In 3.0 two neighbouring amounts may be booked as one: which, hangs on the second in which the index was read.
    grain_raw = 2 if subject.market.version == V30 else 1
    conformance.check_arithmetic_in_random_states(subject, Random(20_260_201), STATES, grain_raw)


def test_health_at_inclusion_bounds_what_the_contract_then_says(subject: AaveSubject) -> None:
    conformance.check_health_at_inclusion_is_a_bound(subject, Random(20_260_203), STATES // 4)


def test_every_asset_moves_as_the_pool_moves_it_in_random_states(subject: AaveSubject) -> None:
    """Transfers, withdrawals, supplies and repayments of any asset, each to the wei; the largest transfer is exact."""
    random = Random(20_260_205)
    for _ in range(STATES):
        subject.shake(random)
        snapshot = subject.snapshot()
        for account in subject.accounts():
            subaccount = snapshot.subaccount(account)
            symbol = random.choice([spec.symbol for spec in world.RESERVES])
            _check_leaving(subject, subaccount, symbol, random)
            _check_arriving(subject, subaccount, symbol, random)
            _check_repaying(subject, subaccount, random)


def _check_leaving(subject: AaveSubject, subaccount: Subaccount, symbol: str, random: Random) -> None:
    token = as_address(subject.market.tokens[symbol])
    line = subaccount.line(token)
    assert line is not None
    largest = conformance.largest_movable(subaccount, token)
    # 3.0 rounds to the nearest, so it lets go of one raw unit more than it says that there is.
    more = 2 if subject.market.version == V30 and largest == line.amount_raw else 1
    assert not subject.lets_transfer(subaccount.id, symbol, max(largest, 0) + more)
    if largest <= 0:
        return
    assert subject.lets_transfer(subaccount.id, symbol, largest)
    amount = random.randint(1, largest)
    health = subaccount.margin.risk({token: -amount}).health_factor
    assert health == subject.health_after(subaccount.id, [subject.taking(subaccount.id, symbol, amount)])
    assert health == subject.health_after(subaccount.id, subject.withdrawing(subaccount.id, symbol, amount))


def _check_arriving(subject: AaveSubject, subaccount: Subaccount, symbol: str, random: Random) -> None:
    token = as_address(subject.market.tokens[symbol])
    amount = random.randint(10**4, 10 ** world.token(symbol).decimals * 10)
    health = subaccount.margin.risk({token: amount}).health_factor
    line = subaccount.line(token)
    assert line is not None
    supplied = subject.health_after(subaccount.id, subject.supplying(subaccount.id, symbol, amount))
    if line.receivable_raw_max:
        assert health == supplied
    else:
        assert health <= supplied  # what was never held is switched on by a supply, if not by a transfer


def _check_repaying(subject: AaveSubject, subaccount: Subaccount, random: Random) -> None:
    for debt in subaccount.debts:
        for amount in (random.randint(1, debt.amount_raw), debt.amount_raw):
            risk = subaccount.margin.risk(repaid={debt.token.address: amount})
            after = subject.health_after(subaccount.id, subject.repaying(subaccount.id, debt.token.symbol, amount))
            # Of less than one unit of account WAD is too coarse for the last wei.
            assert after - (risk.debt_value < 10**18) <= risk.health_factor <= after


def test_what_a_transfer_brings_is_at_least_what_was_foretold(subject: AaveSubject) -> None:
    """A transfer is rounded for its recipient on 3.6: up to one scaled unit more than a supply."""
    random = Random(20_260_207)
    giver, taker = id_of(UNPROTECTED), id_of(OWNER)
    weth = as_address(subject.market.tokens["WETH"])
    for _ in range(20):
        subject.wait(random.randint(1, 10**6))
        before = subject.snapshot().subaccount(taker)
        amount = random.randint(1, 10**18)
        foretold = before.margin.risk({weth: amount}).health_factor
        assert foretold <= before.margin.risk({weth: amount + 2}).health_factor
        actual = subject.health_after(taker, [subject.taking(giver, "WETH", amount, taker.key)])
        assert foretold <= actual <= before.margin.risk({weth: amount + 2}).health_factor


# What does not count, and what may not move ---------------------------------------------------------------------------


def line_of(subject: AaveSubject, symbol: str) -> tuple[int, int | None, int, int | None]:
    """Movable, withdrawable, receivable and suppliable of the owner's account."""
    line = subject.snapshot().subaccount(id_of(OWNER)).line(as_address(subject.market.tokens[symbol]))
    assert line is not None
    return line.movable_raw_max, line.withdrawable_raw_max, line.receivable_raw_max, line.suppliable_raw_max


def test_an_asset_that_was_never_held_counts_as_the_versions_say(subject: AaveSubject) -> None:
    account, market, chain = id_of(OWNER), subject.market, subject.devnet.chain
    steth = as_address(market.tokens["wstETH"])
    arriving = [subject.taking(id_of(UNPROTECTED), "wstETH", 10**18, account.key)]
    if market.version == V36:
        assert line_of(subject, "wstETH")[2] == 0
        before = subject.snapshot().subaccount(account)
        unused = before.margin.risk().health_factor
        assert subject.health_after(account, arriving) == unused == before.margin.risk({steth: 10**18}).health_factor
        # The guard does not do it yet, so Multicall3 switches it on in its place.
        for manager in (subject.devnet.deployment.guard, MULTICALL3):
            chain.send(OWNER, market.pool, "approvePositionManager(address,bool)", manager, True)
        enable = "setUserUseReserveAsCollateralOnBehalfOf(address,bool,address)"
        arriving.append(Call(as_address(market.pool), encode_call(enable, steth, True, account.key)))
    assert line_of(subject, "wstETH")[2] > 0
    margin = subject.snapshot().subaccount(account).margin
    actual = subject.health_after(account, arriving)
    assert margin.risk().health_factor < margin.risk({steth: 10**18}).health_factor <= actual
    assert actual <= margin.risk({steth: 10**18 + 2}).health_factor


def test_frozen_and_paused_reserves_are_seen(subject: AaveSubject) -> None:
    node, market, guard = subject.devnet.node, subject.market, subject.devnet.deployment.guard
    subject.devnet.chain.send(OWNER, market.a_tokens["WETH"], "approve(address,uint256)", guard, 10**18)
    assert line_of(subject, "WETH")[:2] == (10**18, 10**18)
    aave.set_frozen(node, market, "WETH", True)
    movable, withdrawable, receivable, suppliable = line_of(subject, "WETH")
    assert (movable, withdrawable, suppliable) == (10**18, 10**18, 0)
    assert receivable > 0
    # A freeze takes the LTV away on 3.6, and then WETH must leave before WBTC may.
    assert subject.lets_transfer(id_of(OWNER), "WBTC", 1) is (market.version == V30)
    wbtc = as_address(market.tokens["WBTC"])
    risk = subject.snapshot().subaccount(id_of(OWNER)).margin.risk({wbtc: -1})
    assert risk.lets_collateral_leave is (market.version == V30)
    aave.set_paused(node, market, "WETH", True)
    assert line_of(subject, "WETH") == (0, 0, 0, 0)


def test_an_asset_without_ltv_in_its_emode_must_leave_first(devnet: Devnet) -> None:
    subject = AaveSubject(devnet, devnet.deployment.aave)
    account, market = id_of(UNPROTECTED), subject.market
    weth, steth = (as_address(market.tokens[symbol]) for symbol in ("WETH", "wstETH"))
    assert subject.lets_transfer(account, "WETH", 1)
    before = subject.snapshot().subaccount(account).margin.risk().health_factor
    setter = "setAssetLtvzeroInEMode(address,uint8,bool)"
    devnet.chain.send(world.DEPLOYER, market.configurator, setter, steth, EMODE, True)
    margin = subject.snapshot().subaccount(account).margin
    assert before >= margin.risk().health_factor == subject.health(account)
    for symbol, token, may_leave in (("WETH", weth, False), ("wstETH", steth, True)):
        assert subject.lets_transfer(account, symbol, 1) is may_leave
        assert margin.risk({token: -1}).lets_collateral_leave is may_leave


def test_beside_isolated_collateral_nothing_can_be_switched_on(subject: AaveSubject) -> None:
    node, market, chain = subject.devnet.node, subject.market, subject.devnet.chain
    aave.supply(node, market, OWNER, "WETH", 10 * 10**18)
    aave.use_as_collateral(node, market, OWNER, "WBTC", False)
    # A configurator gives no ceiling to what is held already, so the pool is told in its name.
    weth = market.tokens["WETH"]
    word = int.from_bytes(node.call(market.pool, encode_call("getConfiguration(address)", weth))) | 10**9 << 212
    node.set_balance(market.configurator, 10**18)
    node.request("anvil_impersonateAccount", market.configurator)
    chain.send(market.configurator, market.pool, "setConfiguration(address,(uint256))", weth, (word,))
    node.request("anvil_stopImpersonatingAccount", market.configurator)
    with pytest.raises(NodeError):
        aave.use_as_collateral(node, market, OWNER, "WBTC", True)
    assert line_of(subject, "WBTC")[2] == 0
    assert line_of(subject, "WETH")[2] > 0
    subaccount = subject.snapshot().subaccount(id_of(OWNER))
    assert "the account is isolated to WETH, so WBTC cannot count beside it" in subaccount.notes
    assert subaccount.margin.risk().health_factor == subject.health(subaccount.id)


def test_what_the_supply_cap_leaves_is_exact_but_for_a_unit_or_two(subject: AaveSubject) -> None:
    aave.set_supply_cap(subject.devnet.node, subject.market, "WETH", 2_030)
    room = line_of(subject, "WETH")[3]
    assert room is not None
    account = id_of(OWNER)
    subject.health_after(account, subject.supplying(account, "WETH", room))
    with pytest.raises(AssertionError):
        subject.health_after(account, subject.supplying(account, "WETH", room + 4))


# Named, and never healthy ---------------------------------------------------------------------------------------------


def test_an_answer_below_zero_stops_every_account_that_rests_on_it(subject: AaveSubject) -> None:
    subject.devnet.chain.set_round("WBTC", 0, subject.devnet.node.timestamp())
    after = subject.snapshot()
    conformance.check_is_unknown(after, id_of(OWNER), "does not answer")
    other = after.subaccount(id_of(UNPROTECTED))
    assert other.reading == Fresh()
    assert other.margin.risk().health_factor == subject.health(other.id)


def test_a_price_past_its_heartbeat_is_stale(subject: AaveSubject) -> None:
    subject.devnet.node.warp(86_400 + 301)
    for symbol in ("USDC", "DAI", "WBTC", "WETH"):
        subject.devnet.chain.set_price(symbol, "+0%")
    snapshot = subject.snapshot()
    assert snapshot.subaccount(id_of(OWNER)).reading == Fresh()
    stale = snapshot.subaccount(id_of(UNPROTECTED)).reading  # through the ratio behind wstETH's price
    assert isinstance(stale, Stale)
    assert "wstETH/ETH" in stale.reason


def test_values_are_in_usd_and_usd_need_no_feed(subject: AaveSubject) -> None:
    snapshot = subject.snapshot()
    subaccount = snapshot.subaccount(id_of(OWNER))
    assert subaccount.unit is not None
    assert snapshot.usd_per_unit[subaccount.unit.address] == 10**18
    assert 44_999 * 10**18 < subaccount.margin.risk(horizon=Horizon(12)).debt_value < 45_100 * 10**18
    assert Address(subaccount.id.key) == subaccount.holder
