"""What we send to the guard and read from it, against the guard itself on the local chain."""

from dataclasses import dataclass

import pytest

from keeper.core.plan import Effect, Kind, Lane, Plan, Rescue, Stage, Transfer
from keeper.core.snapshot import GuardState, Snapshot, SubaccountId, Token
from keeper.core.units import WAD
from keeper.protocols.guard import (
    Moved,
    Rescued,
    RescueFailed,
    RescueResult,
    decode_events,
    decode_nothing_rescued,
    decode_results,
    explain_guard_revert,
)
from keeper.protocols.guard_batch import budgets, encode_rebalance, plan_id, simulated_gas, transaction_gas
from keeper.protocols.guard_setup import (
    Limits,
    authorise_on_morpho,
    enrol,
    guard_address,
    guard_code_hash,
    guard_runtime_code,
    set_policy,
)
from keeper.protocols.portfolio import Portfolio
from scripts.localchain.devnet import Devnet
from scripts.localchain.node import NodeError, Receipt
from scripts.localchain.world import KEEPER, OWNER
from tests.protocols.on_chain import as_address, logs_of, portfolio_of, read_snapshot

pytestmark = pytest.mark.devnet

DIGEST = b"\x5a" * 24
DEADLINE = 2**63
OWNER_ADDRESS = as_address(OWNER.address)


@dataclass(frozen=True, slots=True)
class Desk:
    """A keeper's desk after ETH fell: recipients below their ceilings, donors with plenty."""

    devnet: Devnet
    portfolio: Portfolio
    snapshot: Snapshot

    @property
    def guard(self) -> GuardState:
        assert self.snapshot.guard is not None
        return self.snapshot.guard

    @property
    def weth(self) -> Token:
        return next(token for token in self.portfolio.topology.adapters[0].tokens() if token.symbol == "WETH")

    def market(self, name: str) -> SubaccountId:
        return SubaccountId("morpho", self.devnet.deployment.markets[name].id)

    def health(self, account: SubaccountId) -> int:
        return self.snapshot.subaccount(account).margin.risk().health_factor

    # Batches ----------------------------------------------------------------------------------------------------------

    def rescue(self, recipient: str, *gifts: tuple[str, int], min_health_after: int = 0) -> Rescue:
        """Gifts of hundredths of WETH from `wallet` or a market."""
        to = self.market(recipient)
        transfers = tuple(
            Transfer(
                Kind.CROSS if donor == "wallet" else Kind.NATIVE,
                SubaccountId("wallet") if donor == "wallet" else self.market(donor),
                to,
                self.weth,
                hundredths * 10**16,
            )
            for donor, hundredths in gifts
        )
        return Rescue(to, transfers, Stage.NORMAL, Lane.ROUTINE, min_health_after, Effect(to, 0, 0, 0), (), None)

    def calldata(self, plan: Plan, gas: list[int]) -> bytes:
        return encode_rebalance(plan, self.snapshot, plan_id(self.guard.last_sequence + 1, DIGEST), DEADLINE, gas)

    def simulate(self, plan: Plan) -> tuple[RescueResult, ...]:
        data = self.calldata(plan, simulated_gas(plan.rescues, self.snapshot.block.gas_limit))
        return decode_results(self.devnet.node.call(self.guard.address, data, sender=KEEPER.address))

    def send(self, plan: Plan, gas: list[int]) -> Receipt:
        data = self.calldata(plan, gas)
        limit = transaction_gas(data, plan, gas)
        return self.devnet.node.transact(KEEPER.address, self.guard.address, data, gas=limit)


@pytest.fixture
def desk(devnet: Devnet) -> Desk:
    devnet.chain.set_price("WETH", "-12%")
    portfolio = portfolio_of(devnet)
    return Desk(devnet, portfolio, read_snapshot(devnet.node, portfolio))


def a_plan(desk: Desk, *rescues: Rescue) -> Plan:
    return Plan(desk.snapshot.block, rescues, {})


NEEDY, NEEDY_TOO, RICH, FREE = "WETH/USDC 86%", "WETH/DAI 77%", "WETH/USDC 77%", "WETH/DAI 86%"


# Batches at their computed gas limit ----------------------------------------------------------------------------------

BATCHES: dict[str, list[tuple[str, list[tuple[str, int]]]]] = {
    "one from an indebted donor": [(NEEDY, [(RICH, 100)])],
    "one from a debt-free donor": [(NEEDY, [(FREE, 100)])],
    "one from the wallet": [(NEEDY, [("wallet", 100)])],
    "one from three donors": [(NEEDY, [("wallet", 50), (FREE, 60), (RICH, 70)])],
    "one with eight transfers": [(NEEDY, [(RICH, 10)] * 8)],
    "two from the same donor": [(NEEDY, [(RICH, 100)]), (NEEDY_TOO, [(RICH, 90)])],
    "two from different donors": [(NEEDY, [(FREE, 100)]), (NEEDY_TOO, [("wallet", 90), (RICH, 30)])],
    "the same recipient twice": [(NEEDY, [(RICH, 50)]), (NEEDY, [(RICH, 50)])],
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
def test_a_batch_succeeds_whole_at_its_computed_gas_limit(
    desk: Desk, batch: list[tuple[str, list[tuple[str, int]]]]
) -> None:
    plan = a_plan(desk, *(desk.rescue(recipient, *gifts) for recipient, gifts in batch))
    results = desk.simulate(plan)
    assert all(result.ok for result in results), [explain_guard_revert(result.reason) for result in results]
    receipt = desk.send(plan, budgets(plan.rescues, [result.gas_used for result in results]))

    id = plan_id(1, DIGEST)
    events = decode_events(desk.guard.address, logs_of(receipt))
    assert not [event for event in events if isinstance(event, RescueFailed)]
    index = {subaccount.id: subaccount.guard_index for subaccount in desk.snapshot.subaccounts}
    assert [event for event in events if isinstance(event, Moved)] == [
        Moved(id, index[move.donor] or 0, index[move.recipient] or 0, desk.weth.address, move.amount_raw)
        for rescue in plan.rescues
        for move in rescue.transfers
    ]
    rescued = [event for event in events if isinstance(event, Rescued)]
    # A block later interest has moved the healths by less than a millionth of what was simulated.
    assert [event.health_after for event in rescued] == [pytest.approx(one.health_after, rel=1e-6) for one in results]

    after = read_snapshot(desk.devnet.node, desk.portfolio)
    assert after.guard is not None
    assert after.guard.last_sequence == 1
    given = sum(move.amount_raw for rescue in plan.rescues for move in rescue.transfers)
    before_cap = desk.guard.remaining_cap_raw[desk.weth.address]
    assert after.guard.remaining_cap_raw[desk.weth.address] == before_cap - given


def test_the_simulation_says_what_the_adapter_says(desk: Desk) -> None:
    plan = a_plan(desk, desk.rescue(NEEDY, (RICH, 100)))
    (result,) = desk.simulate(plan)
    margin = desk.snapshot.subaccount(desk.market(NEEDY)).margin
    assert result.health_before == desk.health(desk.market(NEEDY))
    assert result.health_after == margin.risk({desk.weth.address: 10**18}).health_factor


def test_a_rescue_that_fails_takes_no_other_with_it(desk: Desk) -> None:
    """The first fails late, after it warmed and used its gas; the second has its own."""
    failing = desk.rescue(NEEDY, (RICH, 1), min_health_after=5 * WAD)
    plan = a_plan(desk, failing, desk.rescue(NEEDY_TOO, (RICH, 100)))
    results = desk.simulate(plan)
    assert [result.ok for result in results] == [False, True]
    assert explain_guard_revert(results[0].reason, {1: NEEDY}).startswith(f"{NEEDY} would reach health 1.0")
    receipt = desk.send(plan, budgets(plan.rescues, [result.gas_used for result in results]))
    events = decode_events(desk.guard.address, logs_of(receipt))
    assert [type(event) for event in events] == [RescueFailed, Moved, Rescued]


def test_rescues_that_starve_do_not_take_the_gas_of_those_after_them(desk: Desk) -> None:
    """Each of the first two burns its whole budget; the third still gets all of its own."""
    starving = [desk.rescue(NEEDY, (RICH, 10)), desk.rescue(NEEDY_TOO, (RICH, 10))]
    plan = a_plan(desk, *starving, desk.rescue(NEEDY, (FREE, 100)))
    good = budgets(plan.rescues, [result.gas_used for result in desk.simulate(plan)])[-1]
    receipt = desk.send(plan, [100_000, 100_000, good])
    events = decode_events(desk.guard.address, logs_of(receipt))
    assert [type(event) for event in events] == [RescueFailed, RescueFailed, Moved, Rescued]


def test_a_gas_limit_that_cannot_cover_a_budget_reverts_whole(desk: Desk) -> None:
    plan = a_plan(desk, desk.rescue(NEEDY, (RICH, 100)))
    gas = [400_000]
    data = desk.calldata(plan, gas)
    with pytest.raises(NodeError):
        desk.devnet.node.transact(KEEPER.address, desk.guard.address, data, gas=400_000)
    assert read_snapshot(desk.devnet.node, desk.portfolio).guard == desk.guard


def test_nothing_rescued_reverts_with_every_reason(desk: Desk) -> None:
    plan = a_plan(
        desk,
        desk.rescue(RICH, (FREE, 100)),
        desk.rescue(NEEDY, (RICH, 1), min_health_after=5 * WAD),
    )
    with pytest.raises(NodeError) as refused:
        desk.simulate(plan)
    results = decode_nothing_rescued(refused.value.data)
    assert results is not None
    assert [result.ok for result in results] == [False, False]
    names = {subaccount.guard_index: subaccount.label for subaccount in desk.snapshot.subaccounts}
    sentence = explain_guard_revert(refused.value.data, {i: name for i, name in names.items() if i is not None})
    assert sentence.startswith("no rescue took effect (rescue 0: WETH/USDC 77% has health 2.")
    assert "rescue 1: WETH/USDC 86% would reach health 1.0" in sentence


# The owner's side -----------------------------------------------------------------------------------------------------


def test_the_guard_stands_where_and_as_it_was_computed(desk: Desk) -> None:
    code = desk.devnet.node.code(desk.guard.address)
    assert desk.guard.address == guard_address(OWNER_ADDRESS)
    assert code == guard_runtime_code(OWNER_ADDRESS)
    assert guard_code_hash(OWNER_ADDRESS) != guard_code_hash(as_address(KEEPER.address))


def test_the_owners_transactions_are_understood_by_the_guard(desk: Desk) -> None:
    node = desk.devnet.node
    limits = Limits(13 * 10**17, 11 * 10**17, 15 * 10**17, 105 * 10**16)
    enrolment = next(one for one in desk.portfolio.enrolments() if one.subaccount == desk.market(NEEDY))
    index = desk.snapshot.subaccount(desk.market(NEEDY)).guard_index
    assert index is not None
    call = set_policy(desk.guard.address, index, enrolment, limits)
    node.transact(OWNER.address, call.to, call.data)
    call = authorise_on_morpho(desk.guard.address, as_address(desk.devnet.deployment.morpho), is_authorised=False)
    node.transact(OWNER.address, call.to, call.data)

    after = read_snapshot(node, desk.portfolio)
    assert after.guard is not None
    account = after.guard.accounts[index]
    assert Limits(account.rescue_ceiling, account.min_after, account.max_after, account.hard_floor) == limits
    assert "not authorised" in (after.subaccount(desk.market(NEEDY)).cannot_give or "")

    call = enrol(desk.guard.address, [(enrolment, limits)])
    with pytest.raises(NodeError) as refused:
        node.call(call.to, call.data, sender=OWNER.address)
    assert explain_guard_revert(refused.value.data, {index: NEEDY}) == (
        "the account is enrolled already, as WETH/USDC 86%"
    )
