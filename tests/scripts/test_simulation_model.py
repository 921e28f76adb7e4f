"""The model of the chain follows the rules of the real one, and its judge is neither blind nor hasty."""

import asyncio
import time
from dataclasses import replace
from random import Random

import pytest
from eth_abi.abi import encode
from eth_account import Account
from eth_utils.crypto import keccak

from keeper.core.fees import Fees
from keeper.core.units import WAD, Address
from keeper.protocols.abi import interface
from keeper.protocols.morpho.math import MorphoMargin
from scripts.simulation.chain import GAS_LIMIT, Block, Chain, Pool, RefusedBySendError, Sent
from scripts.simulation.contracts import GUARD
from scripts.simulation.endpoint import CHAIN_ID
from scripts.simulation.guard import CROSS, execute
from scripts.simulation.judge import LATE_SECONDS_MAX, SILENCE_SECONDS_MAX, Judge, Rule
from scripts.simulation.ledger import NO_DEBT, USDC, WETH, Position, State, liquidate
from scripts.simulation.timeline import GENESIS, StandstillError, run, virtual_time
from scripts.simulation.wallet import HOT_KEY, KEEPER, a_wallet
from scripts.simulation.weather import Level

GWEI = 10**9
ETHER = 10**18


def still(_state: State) -> None:
    """Feeds that say nothing new."""


class Model:
    """A wallet with one position at a health, ten idle WETH, and a chain of one block."""

    def __init__(self, health: str = "1.10") -> None:
        wallet = a_wallet(Random(1))
        self.guard = wallet.guard
        self.market = wallet.guard.markets[0]
        state = wallet.state
        state.balances, state.allowances = {WETH: 10 * ETHER, USDC: 0}, {WETH: 10 * ETHER, USDC: 0}
        allowed = 100 * ETHER * state.price // 10**36 * self.market.lltv // WAD
        shares = int(allowed / float(health)) * 10**6
        state.positions[self.market.id] = Position(100 * ETHER, shares)
        state.nonce = 7
        self.state = state
        first = Block(100, f"0x{'ab' * 32}", None, GENESIS, 10 * GWEI, GAS_LIMIT // 2, state)
        self.chain = Chain(self.guard, first, still)

    def block(self, *waiting: Sent, parent: Block | None = None, others_gas: int = GAS_LIMIT // 2) -> Block:
        parent = parent or self.chain.head
        return self.chain.build(parent, parent.timestamp + 12, waiting, others_gas)

    def rescue(self, amount: int, *, sequence: int | None = None, deadline: int = GENESIS + 300) -> bytes:
        number = self.state.last_sequence + 1 if sequence is None else sequence
        transfers = [(CROSS, 0, 0, 0, amount)]
        arguments = [(number << 192).to_bytes(32), deadline, [(1, 104 * WAD // 100, 400_000, transfers)]]
        rebalance = interface("MarginGuard")["rebalance"]
        return rebalance.selector + encode(rebalance.inputs, arguments)


def a_transaction(
    data: bytes = b"", *, nonce: int = 7, max_fee_gwei: int = 30, tip_gwei: int = 1, gas: int = 600_000, to: str = GUARD
) -> Sent:
    fields = {
        "type": 2,
        "chainId": CHAIN_ID,
        "nonce": nonce,
        "to": bytes.fromhex(to[2:]),
        "value": 0,
        "data": data,
        "gas": gas,
        "maxFeePerGas": max_fee_gwei * GWEI,
        "maxPriorityFeePerGas": tip_gwei * GWEI,
    }
    raw = bytes(Account.from_key(HOT_KEY).sign_transaction(fields).raw_transaction)
    return Sent.of(f"0x{keccak(raw).hex()}", raw)


# Time -----------------------------------------------------------------------------------------------------------------


def test_a_day_passes_at_once_and_everybody_sees_it() -> None:
    async def sleep() -> tuple[float, float]:
        await asyncio.sleep(86_400)
        return time.time(), asyncio.get_running_loop().time()

    with virtual_time() as loop:
        assert run(loop, sleep()) == (GENESIS + 86_400, 86_400)
    assert time.time() != GENESIS + 86_400


def test_waiting_for_what_can_never_happen_is_an_error() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    with virtual_time() as loop, pytest.raises(StandstillError):
        run(loop, forever())


# The chain ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("used", "fee"), [(GAS_LIMIT, 11_250_000_000), (GAS_LIMIT // 2, 10 * GWEI), (0, 8_750_000_000)]
)
def test_the_base_fee_moves_by_an_eighth_at_most(used: int, fee: int) -> None:
    model = Model()
    parent = model.block(others_gas=used)
    assert model.block(parent=parent).base_fee_wei == fee


def test_a_transaction_that_pays_less_than_the_base_fee_waits() -> None:
    model = Model()
    cheap, enough = (a_transaction(model.rescue(10 * ETHER), max_fee_gwei=fee) for fee in (9, 10))
    assert model.block(cheap).included == ()
    assert [each.sent for each in model.block(enough).included] == [enough]


def test_a_nonce_ahead_waits_for_the_one_before_it() -> None:
    model = Model()
    assert model.block(a_transaction(model.rescue(ETHER), nonce=8)).included == ()


def test_a_reorganisation_takes_blocks_away_and_their_transactions_with_them() -> None:
    model = Model()
    first = model.chain.head
    sent = a_transaction(model.rescue(10 * ETHER))
    model.chain.adopt(model.block(sent))
    old = model.chain.head
    model.chain.adopt(model.block())
    assert model.chain.find(sent.hash, model.chain.head) is not None
    other = model.block(parent=model.block(parent=model.block(parent=first)))
    gone = model.chain.adopt(other)
    assert [each.number for each in gone] == [101, 102]
    assert model.chain.find(sent.hash, model.chain.head) is None
    assert model.chain.find(sent.hash, old) is not None, "a node that still is on the old fork has it"
    assert not model.chain.is_canonical(old)


@pytest.mark.parametrize(
    ("max_fee_gwei", "tip_gwei", "refusal"),
    [
        (33, 11, None),
        (32, 11, "replacement transaction underpriced"),
        (33, 10, "replacement transaction underpriced"),
        (30, 10, "already known"),
    ],
)
def test_a_pool_replaces_only_what_pays_a_tenth_more_in_both_fields(
    max_fee_gwei: int, tip_gwei: int, refusal: str | None
) -> None:
    model, pool = Model(), Pool()
    data = model.rescue(10 * ETHER)
    pool.add(a_transaction(data, max_fee_gwei=30, tip_gwei=10), model.state)
    dearer = a_transaction(data, max_fee_gwei=max_fee_gwei, tip_gwei=tip_gwei)
    if refusal is None:
        pool.add(dearer, model.state)
        assert pool.waiting() == [dearer]
    else:
        with pytest.raises(RefusedBySendError, match=f"^{refusal}$"):
            pool.add(dearer, model.state)


@pytest.mark.parametrize(("gas", "is_taken"), [(2**24, True), (2**24 + 1, False)])
def test_no_transaction_may_have_more_gas_than_the_chain_allows(gas: int, is_taken: bool) -> None:
    model, pool = Model(), Pool()
    if is_taken:
        pool.add(a_transaction(gas=gas), model.state)
    else:
        with pytest.raises(RefusedBySendError, match="too high"):
            pool.add(a_transaction(gas=gas), model.state)


# Accounts and guard ---------------------------------------------------------------------------------------------------


def test_a_health_is_what_the_keeper_computes_from_the_same_numbers() -> None:
    model = Model("1.2345")
    state = model.state.copy(GENESIS + 1_000)
    totals = state.accrued(model.market)
    held = state.positions[model.market.id]
    margin = MorphoMargin(
        Address(WETH), Address(USDC), held.collateral, held.borrow_shares, totals.borrow_assets, totals.borrow_shares,
        state.price, model.market.lltv, 10**12, 0,
    )  # fmt: skip
    assert margin.risk().health_factor == state.health(model.market)
    assert 12 * WAD // 10 < state.health(model.market) < 1_235 * WAD // 1_000


def test_a_rescue_moves_what_it_says_and_counts_it_against_the_cap() -> None:
    model = Model("1.10")
    before = model.state.caps[WETH].remaining(GENESIS)
    ran = execute(model.guard, model.state, KEEPER, model.rescue(10 * ETHER), 900_000)
    assert ran.succeeded
    assert ran.state.positions[model.market.id].collateral == 110 * ETHER
    assert ran.state.balances[WETH] == 0
    assert ran.state.caps[WETH].remaining(GENESIS) == before - 10 * ETHER
    assert ran.state.last_sequence == model.state.last_sequence + 1
    assert model.state.positions[model.market.id].collateral == 100 * ETHER, "the state before stays as it was"


@pytest.mark.parametrize(
    ("health", "amount", "error"),
    [
        ("1.199", 10 * ETHER, None),
        ("1.21", 10 * ETHER, "RecipientIsHealthy"),
        ("1.01", 2 * ETHER, "RecipientBelowMinimum"),
        ("1.10", 10 * ETHER + 1, "TokenCallFailed"),
    ],
)
def test_the_guard_refuses_what_the_real_one_refuses(health: str, amount: int, error: str | None) -> None:
    model = Model(health)
    ran = execute(model.guard, model.state, KEEPER, model.rescue(amount), 900_000)
    assert ran.succeeded is (error is None)
    if error is not None:
        selector = next(each for each, known in interface("MarginGuard").errors.items() if known.name == error)
        assert selector in ran.output


@pytest.mark.parametrize(("sequence", "deadline", "sender"), [(99, 300, KEEPER), (None, -1, KEEPER), (None, 300, WETH)])
def test_a_batch_that_is_not_the_next_one_or_too_late_or_anothers_is_refused(
    sequence: int | None, deadline: int, sender: str
) -> None:
    model = Model()
    data = model.rescue(ETHER, sequence=sequence, deadline=GENESIS + deadline)
    ran = execute(model.guard, model.state, sender, data, 900_000)
    assert not ran.succeeded
    assert ran.state is model.state


def test_a_liquidation_leaves_no_debt_and_takes_the_penalty() -> None:
    model = Model("0.999")
    liquidate(model.state, model.market)
    assert model.state.health(model.market) == NO_DEBT
    # 86 % of the collateral's worth are owed, and 4.38 % more are taken (the incentive at an LLTV of 86 %).
    assert 10 * ETHER < model.state.positions[model.market.id].collateral < 11 * ETHER


# The judge ------------------------------------------------------------------------------------------------------------


def a_judge(model: Model) -> Judge:
    return Judge(model.chain, Level.CALM, ETHER)


def rules(judge: Judge) -> list[Rule]:
    return [violation.rule for violation in judge.violations]


def test_a_transaction_to_anybody_else_is_out_of_scope() -> None:
    model = Model()
    judge = a_judge(model)
    judge.sent(1, a_transaction(model.rescue(ETHER)), None)
    assert rules(judge) == []
    judge.sent(1, a_transaction(model.rescue(ETHER), to=WETH, nonce=8), None)
    assert rules(judge) == [Rule.SCOPE]


@pytest.mark.parametrize(
    ("dearer", "is_broken"), [(Fees(36 * GWEI, 9 * GWEI), False), (Fees(35 * GWEI, 9 * GWEI), True)]
)
def test_a_replacement_must_be_an_eighth_dearer(dearer: Fees, is_broken: bool) -> None:
    model = Model()
    judge = a_judge(model)
    data = model.rescue(ETHER)
    judge.sent(1, a_transaction(data, max_fee_gwei=32, tip_gwei=8), None)
    judge.sent(2, a_transaction(data, max_fee_gwei=dearer.max_fee_wei // GWEI, tip_gwei=dearer.tip_wei // GWEI), None)
    assert rules(judge) == ([Rule.BUMP] if is_broken else [])


@pytest.mark.parametrize(("seconds", "is_broken"), [(LATE_SECONDS_MAX, False), (LATE_SECONDS_MAX + 1, True)])
def test_bytes_after_their_deadline_are_told(seconds: int, is_broken: bool) -> None:
    model = Model()
    judge = a_judge(model)
    judge.sent(1, a_transaction(model.rescue(ETHER, deadline=GENESIS - seconds)), None)
    assert rules(judge) == ([Rule.DEADLINE] if is_broken else [])


def test_an_urgent_need_that_could_be_met_may_wait_one_block_on_a_calm_day() -> None:
    model = Model("1.05")
    model.state.balances[WETH] = model.state.allowances[WETH] = 200 * ETHER
    judge = a_judge(model)
    for _ in range(2):
        model.chain.adopt(model.block())
        judge.block(1, model.chain.head, [], is_good=True)
    assert rules(judge) == [Rule.LEFT_TO_DIE]


@pytest.mark.parametrize(("idle", "is_good"), [(1, True), (200, False)])
def test_nobody_is_blamed_for_what_could_not_be_done(idle: int, is_good: bool) -> None:
    model = Model("1.05")
    model.state.balances[WETH] = model.state.allowances[WETH] = idle * ETHER
    judge = a_judge(model)
    for _ in range(4):
        model.chain.adopt(model.block())
        judge.block(1, model.chain.head, [], is_good=is_good)
    assert rules(judge) == []


def test_blindness_must_be_told_and_told_again_when_it_comes_back() -> None:
    judge = a_judge(Model())
    judge.blind(SILENCE_SECONDS_MAX, 0)
    assert rules(judge) == []
    judge.heard(80, "no_fresh_view", "No new block for 60 s.")
    judge.blind(SILENCE_SECONDS_MAX + 1, 0)
    assert rules(judge) == []
    judge.blind(1_000, 900)
    assert rules(judge) == [Rule.SILENCE]


def test_what_the_chain_has_and_the_journal_has_not_is_forgotten() -> None:
    model = Model()
    judge = a_judge(model)
    model.chain.adopt(model.block(a_transaction(model.rescue(10 * ETHER))))
    judge.end(1, [])
    assert rules(judge) == [Rule.FORGOTTEN]


def test_a_fault_of_the_keepers_own_is_one_at_every_level() -> None:
    judge = replace(a_judge(Model()), level=Level.KILLS)
    judge.heard(1, "node_failing", "It does not answer.")
    assert rules(judge) == []
    judge.heard(1, "cycle_failed", "A cycle failed (KeyError).")
    assert rules(judge) == [Rule.FAULT]
