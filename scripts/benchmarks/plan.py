"""How long a plan takes: on a calm day, and after a fall of all prices that leaves too little for everybody."""

import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from keeper.core.plan import History
from keeper.core.planner import make_plan
from keeper.core.snapshot import Snapshot, Subaccount
from keeper.core.units import BPS
from keeper.protocols.morpho_math import MorphoMargin
from keeper.session import open_session
from scripts.benchmarks.wallet import WideWallet


@dataclass(frozen=True, slots=True)
class PlanTime:
    """Processor seconds, the median."""

    subaccounts: int
    fall_percent: int
    rescues: int
    seconds: float


async def measure_plans(wallet: WideWallet, falls_percent: Sequence[int], repetitions: int) -> list[PlanTime]:
    """One for each fall of the price of what backs all accounts. Raises what reading a snapshot raises."""
    async with open_session(wallet.config("plan")) as session:
        snapshot = await session.look()
    measured: list[PlanTime] = []
    for fall in falls_percent:
        fallen = _after(snapshot, fall)
        history = History(gas_price_wei=fallen.block.base_fee_wei)
        times: list[float] = []
        rescues = 0
        for _ in range(repetitions):
            start = time.thread_time()
            rescues = len(make_plan(fallen, session.policy, history).rescues)
            times.append(time.thread_time() - start)
        measured.append(PlanTime(len(wallet.markets), fall, rescues, statistics.median(times)))
    return measured


def _after(snapshot: Snapshot, fall_percent: int) -> Snapshot:
    return replace(snapshot, subaccounts=tuple(_fallen(each, fall_percent) for each in snapshot.subaccounts))


def _fallen(subaccount: Subaccount, fall_percent: int) -> Subaccount:
    margin = subaccount.margin
    if not isinstance(margin, MorphoMargin):
        return subaccount
    price = margin.price * (BPS - 100 * fall_percent) // BPS
    return replace(subaccount, margin=replace(margin, price=price))
