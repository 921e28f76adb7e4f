"""What a transaction offers and costs: fees that nodes accept, never below the market, and a budget for a day.

What is offered has headroom, because a fee that is too low fails in the very hour it is for; what is judged against
ceiling and budget is what is expected to be paid. All of it rounds against us.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from keeper.core.coins import UNNAMED_COIN, coin_text
from keeper.core.data_fee import NO_DATA_FEE, DataFee
from keeper.core.plan import Lane

BUMP = Fraction(9, 8)
"""Geth accepts a replacement only at +10 % on both fee fields, others at +12.5 %."""
BASE_FEE_GROWTH = Fraction(9, 8)
"""The most that a base fee rises from one block to the next (EIP-1559); rollups allow less."""


@dataclass(frozen=True, slots=True)
class Fees:
    """The two fee fields of a transaction, wei per gas."""

    max_fee_wei: int
    tip_wei: int

    def bumped(self) -> "Fees":
        """The least that every node accepts as a replacement: 9/8 of both, rounded up, and more by one wei at least."""
        return Fees(_bumped(self.max_fee_wei), _bumped(self.tip_wei))

    def at_least(self, other: "Fees") -> "Fees":
        """The larger of each field."""
        return Fees(max(self.max_fee_wei, other.max_fee_wei), max(self.tip_wei, other.tip_wei))


@dataclass(frozen=True, slots=True)
class TooExpensive:
    """No fees are both acceptable to the nodes and below the ceiling."""

    needed_wei: int
    ceiling_wei: int
    is_for_bump: bool = False
    """Whether only earlier bytes with the same nonce make it so dear."""


@dataclass(frozen=True, slots=True)
class Market:
    """What gas costs at the moment, wei per gas."""

    base_fee_wei: int
    """Of the next block, at most."""
    tip_routine_wei: int
    tip_critical_wei: int
    data_fee: DataFee = NO_DATA_FEE

    def tip_wei(self, lane: Lane) -> int:
        return self.tip_critical_wei if lane is Lane.CRITICAL else self.tip_routine_wei

    def projected_wei(self, blocks: int) -> int:
        """The most that the base fee can be `blocks` from now, the next block being 1: each is an eighth dearer."""
        fee = self.base_fee_wei
        for _ in range(blocks - 1):
            fee = -(-fee * BASE_FEE_GROWTH.numerator // BASE_FEE_GROWTH.denominator)
        return fee


STORM_MULTIPLE = 20
"""How much dearer gas gets in the hour of a crash than it was before: a base fee grows so much in 26 full blocks."""
LATELY_HOURS = 24


@dataclass(frozen=True, slots=True)
class Lately:
    """What gas cost in the last hours. A quiet market alone says nothing about what a rescue will cost: fees rise in
    the very crash that it is for."""

    _hours: Mapping[int, tuple[tuple[int, ...], tuple[int, ...]]] = field(
        default_factory=dict[int, tuple[tuple[int, ...], tuple[int, ...]]]
    )
    """By hour since 1970 the least and the most of each price."""

    def and_saw(self, at: int, markets: Iterable[Market]) -> "Lately":
        """With what was seen at a time, unix seconds; without what is too long ago by then."""
        hour = at // 3_600
        hours = {each: seen for each, seen in self._hours.items() if each > hour - LATELY_HOURS}
        prices = [*hours.get(hour, ()), *map(_prices, markets)]
        hours[hour] = _least(prices), _most(prices)
        return Lately(hours)

    def storm(self, now: Market) -> Market:
        """What gas costs in a storm: the most lately, and at least so many times the least; tips as the most lately."""
        today = _prices(now)
        least = _least([today, *(low for low, _ in self._hours.values())])
        most = _most([today, *(high for _, high in self._hours.values())])
        base_fee, per_kilobyte, gas_per_kilobyte = (
            max(high, STORM_MULTIPLE * low) for low, high in zip(least[1:], most[1:], strict=True)
        )
        return Market(base_fee, most[0], most[0], DataFee(per_kilobyte, gas_per_kilobyte))


def _prices(market: Market) -> tuple[int, ...]:
    data_fee = market.data_fee
    return market.tip_critical_wei, market.base_fee_wei, data_fee.wei_per_kilobyte, data_fee.gas_per_kilobyte


def _least(prices: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(map(min, zip(*prices, strict=True)))


def _most(prices: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
    return tuple(map(max, zip(*prices, strict=True)))


@dataclass(frozen=True, slots=True)
class FeePolicy:
    """How fees are chosen and when a transaction counts as stuck; the ceiling belongs to each intent."""

    base_fee_multiple: int = 2
    """Headroom over the base fee: x2 lasts for six full blocks."""
    inclusion_blocks: int = 2
    """Blocks until a transaction is expected to be included."""
    replace_after_seconds: int = 24
    """A transaction that was not included for so long after signing is replaced by a dearer one."""
    resend_after_seconds: int = 12
    """Nodes drop transactions and restart: the same bytes are offered again after so long."""
    final_after_blocks: int = 8
    """Blocks on top of the receipt's after which it is taken as final on a chain that does not say what is."""
    max_fee_wei: int = 0
    """The most per gas, whatever is at risk: how far above an intent's own ceiling the bump rule alone may lift it."""
    private_routine_seconds: int = 0
    """How long only the private relay is offered a batch's transactions, from the signing of the first."""
    private_critical_seconds: int = 0

    def private_seconds(self, lane: Lane) -> int:
        return self.private_critical_seconds if lane is Lane.CRITICAL else self.private_routine_seconds


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent on gas in a day, wei; `reserve_wei` of it only by the critical lane."""

    daily_wei: int
    reserve_wei: int = 0
    coin: str = UNNAMED_COIN
    """What the chain's own coin is called."""

    def limit_wei(self, lane: Lane) -> int:
        return self.daily_wei if lane is Lane.CRITICAL else self.daily_wei - self.reserve_wei

    def left_wei(self, lane: Lane, spent_wei: int) -> int:
        """`spent_wei`: in the last 24 hours."""
        return max(self.limit_wei(lane) - spent_wei, 0)

    def objection(self, lane: Lane, cost_wei: int, spent_wei: int) -> str | None:
        """Why something of this cost may not be sent now, as the end of a sentence."""
        limit_wei = self.limit_wei(lane)
        if spent_wei + cost_wei <= limit_wei:
            return None
        kept = "" if lane is Lane.CRITICAL or not self.reserve_wei else " without the emergency reserve"
        cost, spent, limit = (coin_text(wei, self.coin) for wei in (cost_wei, spent_wei, limit_wei))
        return (
            f"it would cost up to {cost}, {spent} were spent in 24 hours, and the budget is {limit}{kept}; "
            "raise [fees] daily_budget"
        )


def expected_cost_wei(market: Market, policy: FeePolicy, fees: Fees, gas: int, size: int) -> int:
    """What a transaction with this gas limit and of `size` bytes costs at most, if included when it is expected to be:
    the base fee may have risen in every block until then."""
    per_gas = min(market.projected_wei(policy.inclusion_blocks) + fees.tip_wei, fees.max_fee_wei)
    return gas * per_gas + market.data_fee.wei(size)


def rescues_affordable(market: Market, balance_wei: int, gas: int, size: int) -> int:
    """For how many transactions of this gas and size a balance lasts at these fees, rounded down."""
    per_gas = market.projected_wei(2) + market.tip_critical_wei
    cost_wei = (gas + market.data_fee.gas(size)) * per_gas + market.data_fee.wei(size)
    return balance_wei // max(cost_wei, 1)


def leanest_fees(market: Market, lane: Lane, taken: Iterable[Fees]) -> Fees:
    """For a node that takes no more, because of the balance or a cap of its own: what the next block takes for
    certain, and the least above `taken`, what a node was seen to take with the same nonce."""
    tip = market.tip_wei(lane)
    fees = Fees(market.base_fee_wei + tip, tip)
    for earlier in taken:
        fees = fees.at_least(earlier.bumped())
    return fees


def next_nonce_fees(
    market: Market,
    lane: Lane,
    policy: FeePolicy,
    ceiling_wei: int,
    floor: Fees | None,
    bumped_wei_max: int | None = None,
) -> Fees | TooExpensive:
    """Fees at which a transaction with this nonce is accepted and likely included, at most `ceiling_wei` per gas.

    Both fields are at least 9/8 of `floor` (earlier bytes with the same nonce) and never below the market: a
    replacement that only satisfies the bump rule would be as stuck as what it replaces. Where the bump rule demands
    more than the ceiling and the market does not, the fee goes up to `bumped_wei_max`: what is paid is the market's
    base fee and the tip, not the fee that is offered.
    """
    tip = market.tip_wei(lane)
    headroom = max(market.base_fee_wei * policy.base_fee_multiple, market.projected_wei(policy.inclusion_blocks))
    wanted = Fees(headroom + tip, tip)
    # Below base fee + 1 wei of tip no block takes it; below the bump no node does.
    least = Fees(market.base_fee_wei + 1, 0)
    if floor is not None:
        bumped = floor.bumped()
        wanted, least = wanted.at_least(bumped), least.at_least(bumped)
    needed = max(least.max_fee_wei, least.tip_wei)
    if needed > ceiling_wei:
        paid = market.base_fee_wei + max(least.tip_wei, 1)
        if paid > ceiling_wei:
            return TooExpensive(paid, ceiling_wei)
        most = ceiling_wei if bumped_wei_max is None else bumped_wei_max
        if needed > most:
            return TooExpensive(needed, most, is_for_bump=True)
        return Fees(needed, min(wanted.tip_wei, max(ceiling_wei - market.base_fee_wei, least.tip_wei)))
    max_fee = min(max(wanted.max_fee_wei, wanted.tip_wei), ceiling_wei)
    return Fees(max_fee, min(wanted.tip_wei, max_fee))


def _bumped(wei: int) -> int:
    return max(-(-wei * BUMP.numerator // BUMP.denominator), wei + 1)
