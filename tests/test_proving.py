"""What of a plan goes into one transaction, and what into the next."""

from dataclasses import replace
from typing import Any, cast

import pytest
from eth_abi.abi import encode

from keeper.chain.answers import SimulatedResult
from keeper.chain.simulate import Simulator
from keeper.core.data_fee import DataFee
from keeper.core.plan import History
from keeper.core.planner import make_plan
from keeper.core.verdict import Blocked, Rescue
from keeper.proving import Terms, Trial, try_out
from tests.builders import GUARD, KEEPER, a_policy, a_snapshot, a_subaccount, a_wallet

TERMS = Terms(
    deadline_seconds=300, block_seconds=12, fee_share_of_value_bps=2_000, max_fee_wei=3_000 * 10**9, data_fee=DataFee()
)
RESCUES_AT = 100


ACCOUNTS = [("a", "100", "1.12"), ("b", "20", "1.03"), ("c", "10", "1.03")]
"""The first has most to lose and time to lose it in."""


class Node:
    """Every rescue succeeds, with this much gas."""

    def __init__(self, gas: int) -> None:
        self._gas = gas

    async def simulate_v1(self, calls: Any, block_hash: str, timestamp: int) -> tuple[SimulatedResult, ...]:  # noqa: ARG002
        count = int.from_bytes(calls[0].data[RESCUES_AT : RESCUES_AT + 32])
        results = [(True, 10**18, 2 * 10**18, self._gas, b"")] * count
        return (SimulatedResult(True, encode(["(bool,uint128,uint128,uint64,bytes)[]"], [results]), 200_000, ""),)


async def tried_out(gas: int, *, block_gas: int = 30_000_000, data_fee: DataFee = DataFee()) -> Trial:  # noqa: B008
    accounts = [a_subaccount(name, health="1.03") for name in "abc"]
    built = a_snapshot(*accounts, a_wallet("100"))
    snapshot = replace(built, block=replace(built.block, gas_limit=block_gas))
    plan = make_plan(snapshot, a_policy(*accounts, a_wallet("100")), History())
    assert len(plan.rescues) == 3
    return await try_out(
        plan, snapshot, Simulator(cast(Any, Node(gas)), GUARD, KEEPER), replace(TERMS, data_fee=data_fee)
    )


@pytest.mark.parametrize(
    ("gas", "block_gas", "fit"),
    [
        (200_000, 30_000_000, 3),
        (3_500_000, 60_000_000, 3),
        (3_800_000, 60_000_000, 2),  # 5.76 million each: a transaction has 2^24 at most
        (6_000_000, 60_000_000, 1),
        (3_500_000, 16_000_000, 2),
    ],
)
async def test_what_does_not_fit_is_due_and_left_for_the_next_transaction(gas: int, block_gas: int, fit: int) -> None:
    trial = await tried_out(gas, block_gas=block_gas)
    assert trial.batch is not None
    assert trial.batch.gas <= min(2**24, block_gas)
    assert (len(trial.plan.rescues), len(trial.left_over)) == (fit, 3 - fit)
    left = {rescue.recipient for rescue in trial.plan.rescues}.symmetric_difference(trial.left_over)
    assert len(left) == 3
    assert [trial.plan.verdicts[id] for id in trial.left_over] == [Rescue()] * (3 - fit)


async def test_who_is_urgent_does_not_wait_behind_a_larger_loss_that_is_not() -> None:
    accounts = [a_subaccount(name, weth=weth, health=health) for name, weth, health in ACCOUNTS]
    snapshot = a_snapshot(*accounts, a_wallet("1000"))
    plan = make_plan(snapshot, a_policy(*accounts, a_wallet("1000")), History())
    assert [str(rescue.recipient) for rescue in plan.rescues] == ["morpho:a", "morpho:b", "morpho:c"], "by rank"
    trial = await try_out(plan, snapshot, Simulator(cast(Any, Node(3_800_000)), GUARD, KEEPER), TERMS)
    assert [str(rescue.recipient) for rescue in trial.plan.rescues] == ["morpho:b", "morpho:c"]
    assert [str(id) for id in trial.left_over] == ["morpho:a"]
    trial = await try_out(plan, snapshot, Simulator(cast(Any, Node(3_000_000)), GUARD, KEEPER), TERMS)
    assert (len(trial.plan.rescues), trial.left_over) == (3, ()), "together, where there is room for all"


async def test_what_arbitrum_takes_for_the_bytes_is_part_of_the_limit() -> None:
    plain, rollup = await tried_out(200_000), await tried_out(200_000, data_fee=DataFee(gas_per_kilobyte=100_000))
    assert plain.batch is not None
    assert rollup.batch is not None
    size = len(rollup.batch.calldata) + 120
    assert rollup.batch.gas == plain.batch.gas + -(-100_000 * size // 1_000)


async def test_a_rescue_that_no_transaction_can_hold_is_blocked_by_name() -> None:
    trial = await tried_out(12_000_000)
    assert trial.batch is None
    reasons = [each.reason for each in trial.plan.verdicts.values() if isinstance(each, Blocked)]
    assert reasons == ["its rescue alone takes more gas than the 16777216 that a transaction may have"] * 3
