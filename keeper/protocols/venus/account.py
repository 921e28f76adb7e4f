"""One account in a pool of Venus at the pinned block: what of it counts, what may move, and why the rest may not.

A transfer of vTokens needs no liquidity and meets no supply cap; a redemption and a supply do. A line states both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keeper.core.amounts import amount_text, figure
from keeper.core.snapshot import CollateralLine, GuardAccount, Token
from keeper.core.units import WAD, Address
from keeper.protocols.venus.math import GRAINS_MIN, Holding, VenusMargin
from keeper.protocols.venus.reading import AMOUNT_MAX, Action, MarketState


@dataclass(frozen=True, slots=True)
class Entry:
    """One market in the account."""

    state: MarketState
    holding: Holding

    @property
    def token(self) -> Token:
        return self.state.market.token


@dataclass(frozen=True, slots=True)
class AccountState:
    """What was read of one account and can be judged."""

    entries: tuple[Entry, ...]
    allowances: Mapping[Address, int | None]
    """The guard's, of each market's vTokens; None where it cannot be read."""
    unread: tuple[str, ...]
    """What could not be read, and is not entered."""

    @property
    def margin(self) -> VenusMargin:
        return VenusMargin(tuple(entry.holding for entry in self.entries))

    @property
    def has_debt(self) -> bool:
        return any(entry.holding.owed_raw for entry in self.entries)

    @property
    def touched(self) -> tuple[Entry, ...]:
        """Those whose price decides."""
        return tuple(
            one for one in self.entries if one.holding.is_entered and (one.holding.tokens or one.holding.owed_raw)
        )


def lines_of(
    account: AccountState, movable: Sequence[Address], enrolment: GuardAccount | None, *, can_give: bool
) -> tuple[tuple[CollateralLine, ...], tuple[str, ...]]:
    """Its collateral, and notes on what does not count or cannot move that could. `movable`: markets that may move."""
    lines: list[CollateralLine] = []
    notes: list[str] = []
    for entry in account.entries:
        holding, state, symbol = entry.holding, entry.state, entry.token.symbol
        held, market = holding.held_raw, entry.state.market.address
        may_move = market in movable
        if not (held or may_move):
            continue
        line = CollateralLine(
            entry.token,
            held,
            0,
            0,
            _weight(holding, holding.threshold),
            _weight(holding, holding.collateral_factor),
            holding.price * 10**entry.token.decimals // WAD,
            0,
            0,
            market,
        )
        problem = None
        if not may_move:
            problem = f"{symbol} is not among the markets that may move"
        elif enrolment is not None and market not in enrolment.forms:
            problem = f"{symbol} is not enrolled in the guard, so it cannot move; `keeper setup` enrols it"
        elif Action.TRANSFER in state.paused:
            problem = f"transfers of {symbol} are paused on Venus, so it cannot leave"
        if problem is None and can_give:
            line = _giving(line, entry, account.allowances[market], notes)
        if may_move and (enrolment is None or market in enrolment.forms):
            line = _receiving(line, entry)
            if not holding.is_entered and (account.has_debt or held):
                notes.append(not_entered(symbol))
        if problem is not None:
            notes.append(problem)
        lines.append(line)
    return tuple(lines), tuple(notes)


def not_entered(symbol: str) -> str:
    """What is said of a market in which nothing counts; nobody but the holder can enter it."""
    return (
        f"{symbol} does not count: the holder did not enter its market, so what arrives there backs nothing: send "
        "enterMarkets"
    )


def _weight(holding: Holding, of_value: int) -> int:
    """What counts of one raw unit, WAD in USD times WAD, rounded down; 0 while it does not count."""
    return holding.price * of_value // WAD if holding.is_entered else 0


def _receiving(line: CollateralLine, entry: Entry) -> CollateralLine:
    if not entry.holding.is_entered:
        return line
    # A transfer into it is stopped at the donor, whose vTokens these are too.
    room = max(AMOUNT_MAX - line.amount_raw, 0)
    suppliable = 0 if Action.MINT in entry.state.paused else entry.state.room_raw
    return replace(
        line, receivable_raw_max=room, suppliable_raw_max=None if suppliable is None else min(room, suppliable)
    )


def _giving(line: CollateralLine, entry: Entry, allowance: int | None, notes: list[str]) -> CollateralLine:
    """The line with what may leave; adds to `notes` why less may than there is."""
    holding, symbol, held = entry.holding, entry.token.symbol, line.amount_raw
    if not held:
        return line
    if allowance is None:
        notes.append(f"the guard's allowance of the vToken of {symbol} cannot be read")
        return line
    movable = min(held, holding.worth_raw(allowance))
    if movable < held:
        notes.append(
            f"the guard may take {figure(movable, entry.token.decimals)} of {amount_text(held, entry.token)}: approve "
            "more of its vToken to make it available"
        )
    if movable < GRAINS_MIN * holding.grain_raw:
        return line  # the guard moves no amount that a market's rounding is a part of
    # A redemption pays out what whole vTokens are worth, up to a part of one more.
    cash = 0 if Action.REDEEM in entry.state.paused else max(entry.state.cash_raw - holding.grain_raw, 0)
    if cash < movable:
        why = "redeeming is paused" if Action.REDEEM in entry.state.paused else "the rest is lent out"
        notes.append(f"only {amount_text(cash, entry.token)} can be redeemed from Venus: {why}")
    return replace(line, movable_raw_max=movable, withdrawable_raw_max=min(movable, cash))
