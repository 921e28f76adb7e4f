"""Everything that one cycle knows about the chain, read at one block.

A snapshot is a value: the planner gets nothing else to look at, and whatever could not be read has a name in it and is
never taken for healthy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple, Protocol

from keeper.core.risk import Risk
from keeper.core.units import BPS, WAD, Address, Wad


@dataclass(frozen=True, slots=True)
class Block:
    number: int
    hash: str
    parent_hash: str
    timestamp: int
    base_fee_wei: int
    gas_limit: int


@dataclass(frozen=True, slots=True)
class Token:
    address: Address
    symbol: str
    decimals: int


class SubaccountId(NamedTuple):
    """`morpho:0x3a85…` (the whole market id), `wallet`; `str()` is the form in JSON, config and the journal.

    A tuple, because a plan looks ids up by the hundred thousand, and the hash of a dataclass is Python.
    """

    protocol: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.protocol}:{self.key}" if self.key else self.protocol

    @classmethod
    def parse(cls, text: str) -> "SubaccountId":
        protocol, _, key = text.partition(":")
        return cls(protocol, key)


# How well a subaccount is known ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fresh:
    """Every part was read at the pinned block and every price is within its feed's own heartbeat."""


@dataclass(frozen=True, slots=True)
class FreshnessUnverified:
    """Read, but the age of a price cannot be known (`reason` names the oracle or feed)."""

    reason: str
    is_outdated: bool = False
    """Whether that is because something changed that is read rarely: finding it out anew may mend it."""


@dataclass(frozen=True, slots=True)
class Stale:
    """Read, but a price is older than its feed's heartbeat allows: nothing leaves an account with debt on it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Disputed:
    """Read, but a second source or the last minutes say another price: nothing leaves an account with debt on it.

    Never of an adapter: it is what a plan makes of an account (`keeper.core.disputes`).
    """

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Not read, or read as nonsense. Never healthy."""

    reason: str
    is_outdated: bool = False
    """As of `FreshnessUnverified`."""


Reading = Fresh | FreshnessUnverified | Stale | Disputed | Unknown


# Subaccounts ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far ahead a health is stated: `seconds` of interest at the last rate seen plus `rate_margin` (WAD a year)."""

    seconds: int = 0
    rate_margin: Wad = 0


NOW = Horizon()
NOTHING: Mapping[Address, int] = {}


class Margin(Protocol):
    """One subaccount's exact arithmetic at the pinned block, with its contract's own rounding.

    The state it computes from is inside it, so a planner needs no adapter and no node.
    """

    def risk(
        self,
        deltas: Mapping[Address, int] = NOTHING,
        horizon: Horizon = NOW,
        falls_bps: Mapping[Address, int] = NOTHING,
        repaid: Mapping[Address, int] = NOTHING,
    ) -> Risk:
        """The risk after collateral changed by `deltas` (raw units by token), debt grew to the horizon and was then
        `repaid` (raw units by token), and prices fell by `falls_bps` (basis points by token).

        A price is one in the unit of account: a token that is collateral and debt falls on both sides, and the unit
        itself never falls. Raises ValueError when a delta takes out more than there is, or more is repaid than is owed.
        """
        ...


@dataclass(frozen=True, slots=True)
class CollateralLine:
    """One asset that backs a subaccount.

    The weights are linear: `amount_raw * weight // WAD` is about the value that counts, WAD in the unit of account.
    Only `Margin` is exact.
    """

    token: Token
    amount_raw: int
    movable_raw_max: int
    """What its protocol and the permissions let leave now, whatever the margin says: liquidity, allowance, freezes."""
    receivable_raw_max: int
    """What may still arrive: supply caps, freezes."""
    maintenance_weight: Wad
    initial_weight: Wad
    price: Wad
    """Unit of account per whole token, WAD, rounded down; for estimates and for people."""
    withdrawable_raw_max: int | None = None
    """What may leave its protocol, where less than may move within it (liquidity lent out); None: just as much."""
    suppliable_raw_max: int | None = None
    """What may arrive from outside its protocol, where less than from within (supply cap, freeze); None: as much."""
    form: Address | None = None
    """What the asset is held as: Morpho, an aToken, a vault, the token itself. Between two accounts that hold it in one
    form it moves as it is; None: it is always taken out."""


@dataclass(frozen=True, slots=True)
class Debt:
    token: Token
    amount_raw: int
    """Rounded up, accrued to the pinned block."""
    price: Wad
    """Unit of account per whole token, WAD, rounded up; for estimates and for people."""
    form: Address | None = None
    """The vault that it is owed to, where several lend the same token; else None."""
    is_forced: bool = False
    """Whether anybody may liquidate it whatever the account's health."""


@dataclass(frozen=True, slots=True)
class Strike:
    """How much less than its full penalty on the whole debt a liquidation takes that comes at the line."""

    share_bps: int = BPS
    """What of the debt it may repay at once, basis points."""
    whole_below: Wad = 0
    """The health below which it may repay all of it."""
    least_bps: int | None = None
    """Where the penalty grows from nothing with the depth below the line: the least that liquidators strike for, basis
    points; None: it does not grow."""


WHOLE = Strike()


@dataclass(frozen=True, slots=True)
class Subaccount:
    """One independently liquidatable position, or the wallet itself (no debt, nothing to liquidate)."""

    id: SubaccountId
    label: str
    """For people: `WETH/USDC 86%`, `wallet`."""
    holder: Address
    guard_index: int | None
    """Its enrolment in the guard; None: not protected."""
    unit: Token | None
    """The unit of account of its values; None for the wallet, which has no margin."""
    collateral: tuple[CollateralLine, ...]
    debts: tuple[Debt, ...]
    """What it owes, by token; none: it owes nothing."""
    margin: Margin
    penalty_bps: int
    """What a liquidation takes beyond the debt it repays, in basis points of that debt, rounded up."""
    reading: Reading
    feeds: tuple[Address, ...] = ()
    """The aggregators behind its prices, for the explanation and the freshness."""
    cannot_give: str | None = None
    """Why nothing may leave (permission missing, frozen), or None."""
    cannot_receive: str | None = None
    forced_liquidation: str | None = None
    """Why anybody may liquidate it whatever its health, and what to do; None: only below the line."""
    notes: tuple[str, ...] = ()
    """For people: what is there and does not count, and what would make it count."""
    unread: tuple[str, ...] = ()
    """What of it could not be read while the rest could, as sentences; it counts for nothing."""
    strike: Strike = WHOLE
    """What a liquidation takes at once; `penalty_bps` is the most, of the debt repaid."""

    @property
    def has_debt(self) -> bool:
        return bool(self.debts)

    @property
    def is_liquidatable(self) -> bool:
        """Whether anybody may liquidate it at this block, as far as that could be read."""
        if isinstance(self.reading, Unknown):
            return False
        return self.forced_liquidation is not None or self.margin.risk().is_liquidatable

    @property
    def net_held(self) -> frozenset[Address]:
        """The tokens that it has more of than it owes: whose fall harms it. Of all others a rise does."""
        owed = {debt.token.address: debt.amount_raw * debt.price // 10**debt.token.decimals for debt in self.debts}
        return frozenset(
            line.token.address
            for line in self.collateral
            if line.amount_raw * line.maintenance_weight // WAD >= owed.get(line.token.address, 0)
        )

    def line(self, token: Address) -> CollateralLine | None:
        # A loop, as a plan asks by the thousand, and a generator takes longer.
        for line in self.collateral:
            if line.token.address == token:
                return line
        return None

    def debt(self, token: Address) -> Debt | None:
        for debt in self.debts:
            if debt.token.address == token:
                return debt
        return None


# Prices and guard -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FeedRound:
    """The latest answer of one Chainlink-type aggregator, and how old it may be."""

    feed: Address
    name: str
    answer: int
    decimals: int
    updated_at: int
    heartbeat_seconds: int | None
    """None: not configured, so its age cannot be judged."""


@dataclass(frozen=True, slots=True)
class SecondPrice:
    """What somebody else than the protocols' own oracles says that a token costs."""

    token: Token
    source: str
    """For people: `Uniswap v3 pool 0x88e6…5640 (5m)`."""
    quote: Address | None
    """The token that it is priced in; None: US dollars."""
    price: Wad | None
    """Per whole token, rounded down; None when it does not answer."""
    problem: str = ""
    """Why it does not answer: unknown, never agreement."""


class GuardProtocol(IntEnum):
    """`Protocol` of contracts/src/MarginGuard.sol."""

    WALLET = 0
    MORPHO = 1
    AAVE = 2
    EULER = 3
    VENUS = 4


@dataclass(frozen=True, slots=True)
class GuardAccount:
    """One enrolment, as the guard stores it; limits are WAD healths."""

    index: int
    protocol: GuardProtocol
    holder: Address
    target: Address
    key: str
    assets: tuple[Address, ...]
    """The tokens that may move, as they are outside of any protocol."""
    rescue_ceiling: Wad
    min_after: Wad
    max_after: Wad
    hard_floor: Wad
    is_live: bool
    forms: tuple[Address, ...] = ()
    """What each of the assets is held as: Morpho, an aToken, a vault, the token itself; zero: it can only be repaid."""
    awaits_holder: bool = False
    """Enrolled, but its holder has not joined, or has left: it takes no part."""

    def __hash__(self) -> int:
        """Of what makes it unique: all accounts together are looked up in every block."""
        return hash((self.index, self.key))


@dataclass(frozen=True, slots=True)
class GuardState:
    """The guard at the pinned block."""

    address: Address
    owner: Address
    keeper: Address
    is_paused: bool
    last_sequence: int
    accounts: tuple[GuardAccount, ...]
    """All that were ever enrolled, each at the place of its index."""
    remaining_cap_raw: Mapping[Address, int]
    """What may still move in the current window, by underlying; a token without a cap may not move at all."""

    def account(self, index: int) -> GuardAccount | None:
        """The live enrolment with this index; None when it was retired or never existed."""
        account = self.accounts[index] if 0 <= index < len(self.accounts) else None
        return account if account is not None and account.is_live else None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The wallet, its prices and its guard, all read in one call pinned to `block.hash`."""

    chain_id: int
    block: Block
    subaccounts: tuple[Subaccount, ...]
    guard: GuardState | None
    """None: no guard configured, or it could not be read (then `guard_problem` says why)."""
    guard_problem: str | None
    feeds: tuple[FeedRound, ...]
    usd_per_unit: Mapping[Address, Wad] = field(default_factory=dict[Address, Wad])
    """USD per whole token, WAD; a token without a usable feed is absent."""
    usd_per_native: Wad | None = None
    keeper_balance_wei: int | None = None
    """The hot key's gas money; None without a signer or when it could not be read."""
    native_symbol: str | None = None
    """What the native coin is called where it is held as a token, `WETH`; None: no token is known to be it."""
    second_prices: tuple[SecondPrice, ...] = ()
    sequencer_problem: str | None = None
    """Why no price of this chain is believed enough to take from an account with debt: its sequencer is down, came back
    a moment ago, or nobody knows. None: it is up, or the chain has none."""

    @property
    def is_outdated(self) -> bool:
        """Whether what is read rarely has to be found out anew."""
        readings = (each.reading for each in self.subaccounts)
        return any(isinstance(one, FreshnessUnverified | Unknown) and one.is_outdated for one in readings)

    def subaccount(self, id: SubaccountId) -> Subaccount:
        """Raises KeyError for one that is not in this snapshot."""
        for candidate in self.subaccounts:
            if candidate.id == id:
                return candidate
        raise KeyError(str(id))
