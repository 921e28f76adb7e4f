"""Whether a rescue is worth its gas, and what gas may cost: the one place in the core that computes with floats.

Whatever leaves for policy, sizing or fees is rounded up to an integer first (basis points, wei, WAD of USD), so that a
decision can be repeated bit for bit from what was written down.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from keeper.core.data_fee import ENVELOPE_BYTES
from keeper.core.plan import History, Kind, Lane, Rescue
from keeper.core.snapshot import Snapshot, Subaccount, SubaccountId, Token
from keeper.core.units import BPS, WAD, Address, Wad, mul_div_up

DAY_SECONDS = 86_400

# Volatility -----------------------------------------------------------------------------------------------------------

HALF_LIFE_SECONDS = DAY_SECONDS
"""The weight of a price move halves in a day: a storm is believed within hours and forgotten within a week."""
QUICK_HALF_LIFE_SECONDS = 2 * 3600
"""Beside it, because a crash is over before a day's average has seen half of it: the larger of both is believed."""
ROUNDS_MIN = 12
"""Fewer price changes than this are not a measurement."""


def volatility_bps_per_day(rounds: Sequence[tuple[int, int]], half_life_seconds: int = HALF_LIFE_SECONDS) -> int | None:
    """The standard deviation of a day's price move, basis points, rounded up; None with too few rounds to tell.

    `rounds` are (unix seconds, answer) of one feed in order of time. Exponentially weighted: the squared log returns
    over the time that they took (a feed answers at irregular times), each with the weight of its age.
    """
    moves = [
        (later_at - earlier_at, math.log(later / earlier), later_at)
        for (earlier_at, earlier), (later_at, later) in itertools.pairwise(rounds)
        if later_at > earlier_at and earlier > 0 and later > 0
    ]
    if len(moves) < ROUNDS_MIN:
        return None
    newest = moves[-1][2]
    weights = [0.5 ** ((newest - at) / half_life_seconds) for _, _, at in moves]
    squares = sum(weight * move * move for weight, (_, move, _) in zip(weights, moves, strict=True))
    seconds = sum(weight * elapsed for weight, (elapsed, _, _) in zip(weights, moves, strict=True))
    return math.ceil(math.sqrt(squares / seconds * DAY_SECONDS) * BPS)


# The chance of liquidation --------------------------------------------------------------------------------------------

DEFERRAL_SECONDS = DAY_SECONDS
"""How long putting a routine rescue off is judged over. The next block is no fair horizon: what is put off is made in
the next storm, when gas costs twenty times as much and a block decides."""
JUMPS_PER_DAY = 0.02
"""Falls too quick to act on, of any size."""
JUMP_MEAN = 0.08
"""Their size, exponentially distributed. Both are set by the falls within six minutes that ETH had: 18.6 %
(2020-03-12), 21.5 % (2021-05-19), 16 % (2024-08-05), and about as much on 2025-10-10: four in seven years, where one a
year is counted with. Within the first two storms 26 were of 4 % or more, their mean excess 3.8 %, three of 15 % or
more; an exponential tail with that mean would have had one and a half, so a mean twice as large is taken."""


def liquidation_probability(fall: float, volatility_per_day: float, seconds: float) -> float:
    """The chance that a price falls by the share `fall` within `seconds`, by diffusion or by a jump.

    Diffusion: first passage of a driftless log-normal price, 2 N(ln(1 - fall) / sigma) (reflection principle). Jumps:
    Poisson arrivals with exponentially distributed sizes.
    """
    if fall <= 0:
        return 1.0
    if fall >= 1:
        return 0.0
    days = seconds / DAY_SECONDS
    jump = 1 - math.exp(-JUMPS_PER_DAY * days * math.exp(-fall / JUMP_MEAN))
    sigma = volatility_per_day * math.sqrt(days)
    touch = math.erfc(-math.log(1 - fall) / (sigma * math.sqrt(2))) if sigma > 0 else 0.0
    return 1 - (1 - touch) * (1 - jump)


def probability_bps(health: Wad, volatility_bps: int, seconds: int) -> int:
    """The chance of touching liquidation from a health within `seconds`, basis points, rounded up."""
    fall = 1 - WAD / health if health > WAD else 0.0
    return math.ceil(liquidation_probability(fall, volatility_bps / BPS, seconds) * BPS)


IMMINENT_BPS = 100
"""A chance of one in a hundred is what "within so long it may be liquidated" means."""
_IMMINENT_DEVIATIONS = 2.5759
"""So many deviations away a price is touched with that chance: 2 N(-2.5759) = 0.01, rounded up."""
_DISTANCE_MAX = 20
"""A fall to a billionth, which no price survives: a feed that went mad must not overflow a float."""


@lru_cache(maxsize=256)
def health_touched_within(seconds: int, volatility_bps: int) -> Wad:
    """The health from which liquidation is touched within `seconds` with the chance `IMMINENT_BPS`, rounded up to four
    decimals.

    By diffusion alone: within the minutes that it is asked for, a jump has no such chance.
    """
    distance = _IMMINENT_DEVIATIONS * volatility_bps / BPS * math.sqrt(seconds / DAY_SECONDS)
    return math.ceil(math.exp(min(distance, _DISTANCE_MAX)) * BPS) * (WAD // BPS)


# Gas ------------------------------------------------------------------------------------------------------------------

BATCH_GAS = 30_000
"""A transaction's own 21k, its calldata, and what the guard does once per batch."""
ENTRY_GAS = {"wallet": 0, "morpho": 0, "aave": 125_000, "euler": 70_000, "venus": 245_000}
"""What the first rescue of a batch that has to do with a protocol takes beyond the others, on either side of it: code,
configuration and prices are read for the first time, interest is accrued. In contracts/snapshots the most that one
rescue between this protocol and Morpho takes beyond the rest of what is assumed here, rounded up; with Morpho and the
wallet it is part of the rest."""
RESCUE_GAS = {"morpho": 120_000, "aave": 135_000, "euler": 180_000, "venus": 305_000}
"""What a rescue takes besides, by the recipient's protocol: its two healths, the supply, every check on either. One
rescue from the wallet less BATCH_GAS, ENTRY_GAS and its transfer, rounded up; Euler's is that of a stand-in."""
TRANSFER_GAS = {"wallet": 40_000, "morpho": 85_000, "aave": 155_000, "euler": 140_000, "venus": 270_000}
"""What a transfer takes that passes through the guard, by the donor's protocol: its collateral, its health, the
withdrawal. What a second transfer adds, from donors with debt, rounded up; from others it is less."""
HANDOVER_GAS = {"aave": 120_000, "euler": 130_000, "venus": 250_000}
"""The same where the token is handed over in the form in which both hold it."""
USUAL_RESCUE_GAS = BATCH_GAS + RESCUE_GAS["morpho"] + TRANSFER_GAS["morpho"]
"""To say for how many rescues there is gas."""
BATCH_BYTES = ENVELOPE_BYTES + 4 + 4 * 32
"""What a transaction holds besides its rescues: the words of `rebalance` of contracts/src/MarginGuard.sol."""
RESCUE_BYTES = 6 * 32
TRANSFER_BYTES = 5 * 32
USUAL_RESCUE_BYTES = BATCH_BYTES + RESCUE_BYTES + 2 * TRANSFER_BYTES
"""A transaction with one rescue of two transfers."""


def transfer_gas(donor: SubaccountId, kind: Kind) -> int:
    """About what a transfer out of an account adds to a batch that has entered its protocol, which is what sources are
    compared by; of a protocol not known as much as of the dearest."""
    if kind is Kind.NATIVE and donor.protocol in HANDOVER_GAS:
        return HANDOVER_GAS[donor.protocol]
    return TRANSFER_GAS.get(donor.protocol, max(TRANSFER_GAS.values()))


Place = tuple[str, str]
"""A protocol, and which pool of it where an account's id says so, as Venus's do."""


def entered(rescue: Rescue) -> frozenset[Place]:
    """What a rescue has to do with; a batch takes ENTRY_GAS once for each."""
    ids = (rescue.recipient, *(transfer.donor for transfer in rescue.transfers))
    return frozenset((id.protocol, id.key.rpartition("/")[0]) for id in ids)


def entry_gas(places: Iterable[Place]) -> int:
    """What it takes to enter all of these."""
    return sum(ENTRY_GAS.get(protocol, max(ENTRY_GAS.values())) for protocol, _ in places)


def _gas_once_entered(rescue: Rescue) -> int:
    fixed = RESCUE_GAS.get(rescue.recipient.protocol, max(RESCUE_GAS.values()))
    return fixed + sum(transfer_gas(transfer.donor, transfer.kind) for transfer in rescue.transfers)


def rescue_gas(rescue: Rescue) -> int:
    """About what a rescue adds to a batch in which no other shares a protocol with it; a limit for sending comes from a
    simulation instead."""
    return entry_gas(entered(rescue)) + _gas_once_entered(rescue)


def rescue_bytes(rescue: Rescue) -> int:
    """What a rescue adds to a batch's bytes."""
    return RESCUE_BYTES + TRANSFER_BYTES * len(rescue.transfers)


def plan_bytes(rescues: Sequence[Rescue]) -> int:
    """The size of the transaction that carries them out; 0 for none."""
    return BATCH_BYTES + sum(rescue_bytes(rescue) for rescue in rescues) if rescues else 0


def plan_gas(rescues: Sequence[Rescue]) -> int:
    """About what a batch uses; 0 for none."""
    if not rescues:
        return 0
    places = frozenset[Place]().union(*map(entered, rescues))
    return BATCH_GAS + entry_gas(places) + sum(map(_gas_once_entered, rescues))


# Dollars --------------------------------------------------------------------------------------------------------------


def usd_value(snapshot: Snapshot, token: Token, amount_raw: int) -> Wad | None:
    """USD, WAD, rounded up; None without a price."""
    price = snapshot.usd_per_unit.get(token.address)
    return None if price is None else mul_div_up(amount_raw, price, 10**token.decimals)


def equity(subaccount: Subaccount) -> Wad:
    """What its collateral is worth over its debt, WAD in its unit of account, rounded down; negative when it is under
    water: then the lenders lose the difference if it is let go, and the owner if it is saved."""
    held = sum(line.amount_raw * line.price // 10**line.token.decimals for line in subaccount.collateral)
    return held - subaccount.margin.risk().debt_value


def loss_usd(snapshot: Snapshot, subaccount: Subaccount) -> Wad | None:
    """What the owner loses by the next liquidation, USD, WAD, rounded up; 0 without debt, None without a price. The
    penalty, but never more than the equity that there is."""
    if not subaccount.has_debt:
        return 0
    price = None if subaccount.unit is None else snapshot.usd_per_unit.get(subaccount.unit.address)
    if price is None:
        return None
    risk = subaccount.margin.risk()
    taken_bps = taken_share_bps(subaccount, min(risk.health_factor, WAD))
    penalty = mul_div_up(mul_div_up(risk.debt_value, price, WAD), taken_bps, BPS)
    return min(penalty, mul_div_up(max(equity(subaccount), 0), price, WAD))


def taken_share_bps(subaccount: Subaccount, health: Wad) -> int:
    """What a liquidation at a health takes beyond what it repays, basis points of the whole debt, rounded up.

    A penalty that grows with the depth is a discount of 1 - health on the collateral, 1 / health - 1 of what is repaid,
    or what makes liquidators strike, where that is more.
    """
    strike = subaccount.strike
    penalty = subaccount.penalty_bps
    if strike.least_bps is not None:
        depth_bps = mul_div_up(WAD, BPS, max(health, 1)) - BPS
        penalty = min(penalty, max(depth_bps, strike.least_bps))
    share = BPS if health < strike.whole_below else strike.share_bps
    return mul_div_up(penalty, share, BPS)


def gas_cost_usd(snapshot: Snapshot, history: History, gas: int, size: int) -> Wad | None:
    """What gas and the bytes of a transaction cost, USD, WAD, rounded up; None without a price of the native coin."""
    if snapshot.usd_per_native is None:
        return None
    gas_price_wei = max(history.gas_price_wei, snapshot.block.base_fee_wei)
    cost_wei = (gas + history.data_fee.gas(size)) * gas_price_wei + history.data_fee.wei(size)
    return mul_div_up(cost_wei, snapshot.usd_per_native, WAD)


def fee_ceiling_wei(snapshot: Snapshot, rescues: Sequence[Rescue], gas: int, share_bps: int, most_wei: int) -> int:
    """The most to pay per gas for a batch: a share of the loss that it avoids, and never over `most_wei`.

    It grows with what is at stake, because a constant fails exactly in a crash. With a price in USD missing the stake
    is not known and the owner's `most_wei` alone limits.
    """
    losses = [rescue.loss_avoided_usd for rescue in rescues]
    known = [loss for loss in losses if loss is not None]
    if len(known) < len(losses) or not snapshot.usd_per_native or gas <= 0:
        return most_wei
    stake_wei = mul_div_up(sum(known), WAD, snapshot.usd_per_native)
    return min(-(-stake_wei * share_bps // (BPS * gas)), most_wei)


def expected_loss_usd(
    snapshot: Snapshot, subaccount: Subaccount, health: Wad, volatility_bps: int, seconds: int = DEFERRAL_SECONDS
) -> Wad | None:
    """The chance of liquidation within `seconds` times what it takes, USD, WAD, rounded up; None without a price."""
    loss = loss_usd(snapshot, subaccount)
    return None if loss is None else mul_div_up(loss, probability_bps(health, volatility_bps, seconds), BPS)


def pair_volatility_bps(subaccount: Subaccount, known: Mapping[Address, int]) -> int | None:
    """A day's deviation of an account's collateral in its debt, basis points, rounded up: of all its feeds together, by
    what is known of each; None where one of them, or all, are not known.

    Feeds count as independent, which overstates pairs that move together.
    """
    if not subaccount.feeds or any(feed not in known for feed in subaccount.feeds):
        return None
    return math.isqrt(max(sum(known[feed] ** 2 for feed in subaccount.feeds) - 1, 0)) + 1


def is_worth_it(lane: Lane, benefit_usd: Wad | None, cost_usd: Wad | None, multiple: int) -> bool:
    """Whether to make a rescue: always in the critical lane, and when a price in USD is missing."""
    if lane is Lane.CRITICAL or benefit_usd is None or cost_usd is None:
        return True
    return benefit_usd > multiple * cost_usd
