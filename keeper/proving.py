"""A plan tried out before it is signed: what of it succeeds, as the one transaction that carries it out.

What does not fit into one transaction waits for that one's inclusion, and goes out in the cycle of the very block that
includes it: one block later for each transaction more. It is not sent ahead with the next nonce, because nothing that
makes a batch safe would hold for it. The guard takes only the next sequence number, so the second batch reverts unless
the first took effect; nodes without `eth_simulateV1` cannot try it out on what the first leaves behind, and a rescue
of the first that fails on-chain leaves other donors than the second was planned with; whoever takes over the first
one's nonce would have to outbid the second as well, in the same block; and on a restart its bytes could only be tried
out once the first was settled. So who is urgent goes first.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from keeper.chain.batch import Batch
from keeper.chain.simulate import Simulator
from keeper.core.data_fee import ENVELOPE_BYTES, DataFee
from keeper.core.economics import fee_ceiling_wei, plan_gas
from keeper.core.plan import Lane, Plan
from keeper.core.snapshot import Snapshot, SubaccountId
from keeper.documents import plan_document
from keeper.protocols.guard_batch import (
    TRANSACTION_GAS_MAX,
    budgets,
    encode_rebalance,
    plan_id,
    simulated_gas,
    transaction_gas,
)


@dataclass(frozen=True, slots=True)
class Terms:
    """What a batch has to keep to."""

    deadline_seconds: int
    block_seconds: int
    fee_share_of_value_bps: int
    max_fee_wei: int
    data_fee: DataFee


@dataclass(frozen=True, slots=True)
class Trial:
    """A plan whose every rescue succeeded in a simulation, with its batch; None when nothing is left of it."""

    plan: Plan
    batch: Batch | None
    left_over: tuple[SubaccountId, ...] = ()
    """Whose rescues succeed as well and do not fit into one transaction: they are in the next batch."""


async def try_out(plan: Plan, snapshot: Snapshot, simulator: Simulator, terms: Terms) -> Trial:
    """A rescue that fails is dropped alone and the others are kept. Raises ChainError."""
    trial = await _try_out(plan, snapshot, simulator, terms)
    urgent = {rescue.recipient for rescue in plan.rescues if rescue.lane is Lane.CRITICAL}
    first = {rescue.recipient for rescue in trial.plan.rescues}
    if urgent.isdisjoint(trial.left_over) or first <= urgent:
        return trial
    # Planned in order of rank. Only what was tried out together may go out together, so that is done once more.
    succeed = first.union(trial.left_over)
    places = [place for place, rescue in enumerate(plan.rescues) if rescue.recipient in urgent & succeed]
    alone = await _try_out(replace(plan, verdicts=trial.plan.verdicts).only(places), snapshot, simulator, terms)
    behind = (rescue.recipient for rescue in plan.rescues if rescue.recipient in succeed - urgent)
    return replace(alone, left_over=(*alone.left_over, *behind))


async def _try_out(plan: Plan, snapshot: Snapshot, simulator: Simulator, terms: Terms) -> Trial:
    id = _plan_id(plan, snapshot)
    deadline = snapshot.block.timestamp + terms.deadline_seconds

    def encode(places: Sequence[int], gas_by_rescue: Sequence[int]) -> tuple[bytes, int]:
        part = plan.only(places)
        calldata = encode_rebalance(part, snapshot, id, deadline, gas_by_rescue)
        gas = transaction_gas(calldata, part, gas_by_rescue) + terms.data_fee.gas(len(calldata) + ENVELOPE_BYTES)
        return calldata, gas

    rehearsal = await simulator.rehearse(
        len(plan.rescues),
        lambda places: encode(places, simulated_gas(plan.only(places).rescues, snapshot.block.gas_limit)),
        snapshot.block,
        snapshot.block.timestamp + terms.block_seconds,
    )
    gas_max = min(TRANSACTION_GAS_MAX, snapshot.block.gas_limit)
    passed, left_over = list(rehearsal.passed), list[SubaccountId]()
    calldata, gas = b"", 0
    while passed:
        used = [rehearsal.results[place].gas_used for place in passed]
        calldata, gas = encode(passed, budgets(plan.only(passed).rescues, used))
        if gas <= gas_max:
            break
        # From the end: what comes earlier was tried out without it, and nothing else was.
        left_over.append(plan.rescues[passed.pop()].recipient)
    refused = {plan.rescues[place].recipient: reason for place, reason in rehearsal.refused.items()}
    proven = plan.only(passed).blocked(refused)
    if not passed:
        alone = f"its rescue alone takes more gas than the {gas_max} that a transaction may have"
        return Trial(proven.blocked(dict.fromkeys(left_over, alone)), None)
    ceiling = fee_ceiling_wei(
        snapshot, proven.rescues, plan_gas(proven.rescues), terms.fee_share_of_value_bps, terms.max_fee_wei
    )
    batch = Batch("0x" + id.hex(), proven.lane, calldata, gas, deadline, ceiling)
    return Trial(proven, batch, tuple(left_over))


def _plan_id(plan: Plan, snapshot: Snapshot) -> bytes:
    """The guard's next sequence number and a digest of what is to be done."""
    if snapshot.guard is None:
        raise ValueError("a plan with rescues needs a guard")
    document = json.dumps(plan_document(plan, snapshot), sort_keys=True)
    return plan_id(snapshot.guard.last_sequence + 1, hashlib.sha256(document.encode()).digest())
