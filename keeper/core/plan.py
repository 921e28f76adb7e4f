"""The plan of one cycle: which rescues, from which donors, how much, and a verdict for every subaccount."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, IntEnum
from typing import NamedTuple, TypeAlias

from keeper.core.data_fee import NO_DATA_FEE, DataFee
from keeper.core.snapshot import Block, SubaccountId, Token
from keeper.core.units import Address, Wad
from keeper.core.verdict import Blocked, Verdict
from keeper.core.verdict import Rescue as OnItsWay


class Kind(IntEnum):
    """`Kind` of contracts/src/MarginGuard.sol."""

    NATIVE = 0
    """In the form that both hold it in, within one protocol."""
    CROSS = 1
    """The underlying is withdrawn here and supplied there, in the same transaction."""
    REPAY = 2
    """The debt token is taken from the donor and repays the recipient's debt."""


class Lane(Enum):
    ROUTINE = "routine"
    CRITICAL = "critical"


class Stage(Enum):
    NORMAL = "normal"
    """The recipient goes to its target, donors stay above their floors and above their triggers after a shock."""
    LAST_STAND = "last stand"
    """Recipient and donors share the largest cushion that they can."""


@dataclass(frozen=True, slots=True)
class Transfer:
    kind: Kind
    donor: SubaccountId
    recipient: SubaccountId
    token: Token
    amount_raw: int

    @property
    def is_repayment(self) -> bool:
        return self.kind is Kind.REPAY


@dataclass(frozen=True, slots=True)
class Effect:
    """What a rescue does to one subaccount's health, at the expected inclusion."""

    subaccount: SubaccountId
    before: Wad
    after: Wad
    after_shock: Wad


@dataclass(frozen=True, slots=True)
class Urgency:
    """What a rescue was judged by when it was planned, beside the health."""

    volatility_bps: int = 0
    """A day's deviation of its prices."""
    trigger: Wad = 0
    """As it was widened for that; a health below it made the rescue due."""
    soon_seconds: int = 0
    """Who may be liquidated within so long is critical: a few times what a transaction takes now."""


@dataclass(frozen=True, slots=True)
class Rescue:
    """All transfers into one recipient; they succeed or fail as a whole."""

    recipient: SubaccountId
    transfers: tuple[Transfer, ...]
    stage: Stage
    lane: Lane
    min_health_after: Wad
    """Enforced on-chain: what the planned health becomes if prices fall by a whole shock on the way, never below
    `survive`. Nearer to the planned health it would refuse rescues in the very crash that they are for."""
    effect: Effect
    donors: tuple[Effect, ...]
    """One per distinct donor with debt, in order of first use."""
    loss_avoided_usd: Wad | None
    """What a liquidation would have taken; None when the price in USD is not known."""
    urgency: Urgency = Urgency()


@dataclass(frozen=True, slots=True)
class InFlight:
    """A batch that was sent and is not resolved yet: its recipients are not planned for again."""

    plan_id: str
    lane: Lane
    recipients: frozenset[SubaccountId]
    may_be_replaced: bool = False
    """Whether a critical batch may take its nonce. Such a batch takes its place, so it serves these recipients too."""
    is_stuck: bool = False
    """Whether it was not included in time: what is planned anew takes its place, where that differs."""


@dataclass(frozen=True, slots=True)
class LastRescue:
    """The last rescue of a subaccount that took effect."""

    at: int
    """Unix seconds."""
    health_after: Wad
    """As the guard found it."""


PriceOf: TypeAlias = tuple[SubaccountId, Address]
"""The price of a token as one account's protocol takes it."""


class PriceSeen(NamedTuple):
    """A price that held from a block until the next that was seen; the last one of several, until it was seen last."""

    at: int
    """Unix seconds."""
    price: Wad
    """In the account's unit of account, per whole token."""


@dataclass(frozen=True, slots=True)
class Dispute:
    """Why the prices of one account with debt are not believed, and how much worse it may stand."""

    subaccount: SubaccountId
    reasons: tuple[str, ...]
    """One for each token."""
    falls_bps: Mapping[Address, int]
    """How far prices fall (negative: rise) from its own oracle's to the worst that is said; only what harms it."""
    said: Mapping[Address, Wad] = field(default_factory=dict[Address, Wad])
    """What second sources say or, while they are silent, said last, in its unit of account."""

    def __str__(self) -> str:
        return "; ".join(self.reasons)


@dataclass(frozen=True, slots=True)
class History:
    """What earlier cycles add to a decision; a value that is stored with the plan."""

    last_rescues: Mapping[SubaccountId, LastRescue] = field(default_factory=dict[SubaccountId, LastRescue])
    in_flight: InFlight | None = None
    volatility_bps_per_day: Mapping[Address, int] = field(default_factory=dict[Address, int])
    """Per feed, measured on the journal's prices."""
    gas_price_wei: int = 0
    """What a unit of gas is expected to cost at inclusion."""
    data_fee: DataFee = NO_DATA_FEE
    """What a rollup charges for bytes besides."""
    protect_only: bool = False
    """The owner's pause that still lets debt-free donors give."""
    base_fee_low_wei: int = 0
    """The lowest base fee of the last hour; 0: not known."""
    inclusion_delay_seconds: int = 0
    """The longest that a transaction of ours took to be included in the last hour, or waits for by now."""
    waiting_since: Mapping[SubaccountId, int] = field(default_factory=dict[SubaccountId, int])
    """Since when (unix seconds) a rescue that is due waits for a fuller batch."""
    prices: Mapping[PriceOf, Sequence[PriceSeen]] = field(default_factory=dict[PriceOf, Sequence[PriceSeen]])
    """What each account's protocol took its tokens for lately, oldest first."""
    last_said: Mapping[PriceOf, Wad] = field(default_factory=dict[PriceOf, Wad])
    """What second sources said last of the prices that they dispute (`keeper.core.disputes`)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The decision of one cycle; the same inputs give the same plan, bit for bit."""

    block: Block
    rescues: tuple[Rescue, ...]
    """In execution order."""
    verdicts: Mapping[SubaccountId, Verdict]
    """One for every subaccount of the snapshot, in its order."""
    notes: tuple[str, ...] = ()
    """What is not as usual about this decision, as sentences: a price that is missing, thresholds that were widened."""
    is_widened: bool = False
    """Whether it was made with thresholds widened for the volatility (`keeper.core.urgency`)."""
    disputes: Mapping[SubaccountId, Dispute] = field(default_factory=dict[SubaccountId, Dispute])
    """The accounts whose prices are disputed, in the snapshot's order."""

    @property
    def lane(self) -> Lane:
        """Critical if one of its rescues is."""
        return Lane.CRITICAL if any(rescue.lane is Lane.CRITICAL for rescue in self.rescues) else Lane.ROUTINE

    def only(self, places: Sequence[int]) -> "Plan":
        """With these of its rescues, in this order."""
        return replace(self, rescues=tuple(self.rescues[place] for place in places))

    def blocked(self, reasons: Mapping[SubaccountId, str]) -> "Plan":
        """With these recipients' verdicts blocked, each by its reason; their rescues are to be left out by `only`."""
        return replace(self, verdicts={**self.verdicts, **{id: Blocked(reason) for id, reason in reasons.items()}})

    def waiting(self, recipients: Collection[SubaccountId]) -> "Plan":
        """Without the rescues of those recipients, whom a batch on its way serves."""
        left = tuple(rescue for rescue in self.rescues if rescue.recipient not in recipients)
        served = [rescue.recipient for rescue in self.rescues if rescue.recipient in recipients]
        return replace(
            self, rescues=left, verdicts={**self.verdicts, **dict.fromkeys(served, OnItsWay(in_flight=True))}
        )

    def held(self, reason: str) -> "Plan":
        """The same decision with nothing sent: every rescue that it held is blocked by `reason`."""
        return self.only(()).blocked({rescue.recipient: reason for rescue in self.rescues})
