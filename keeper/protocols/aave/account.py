"""One Aave account at the pinned block: what of it counts, what may move, and why the rest may not.

A transfer of aTokens needs no liquidity and meets no supply cap; a withdrawal and a supply do. A line states both.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from keeper.core.amounts import amount_text, figure
from keeper.core.snapshot import WHOLE, CollateralLine, GuardAccount, Strike, Token
from keeper.core.units import BPS, WAD, Address
from keeper.protocols.aave.math import GROWTH_MIN, AaveMargin, Holding, linear_weight
from keeper.protocols.aave.state import ReserveState
from keeper.protocols.aave.versions import RAY, Version
from keeper.protocols.aave.words import AccountFlags, Terms

DUST_PARTS = 100 * (GROWTH_MIN + 1)
"""What is worth no more than this part of the debt does not keep the guard from switching an asset on: a hundredth of
the debt is the least that a rescue is made of, and that is more than `GROWTH_MIN` times the dust."""

# LiquidationLogic.sol of aave-v3-origin 3.6.0; without the size also of core-v3 1.19.3.
CLOSE_SHARE_BPS = 5_000
CLOSE_WHOLE_BELOW = 95 * WAD // 100 + 1
"""At 0.95 itself the whole debt may be repaid."""
SMALL_BASE = 2_000 * 10**8
"""MIN_BASE_MAX_CLOSE_FACTOR_THRESHOLD, base units."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One reserve in the account."""

    state: ReserveState
    terms: Terms
    holding: Holding
    refusal: str | None
    """Why what arrives of it would not count; None: it counts."""

    @property
    def token(self) -> Token:
        return self.state.reserve.token


@dataclass(frozen=True, slots=True)
class AccountState:
    """What was read of one account and can be judged."""

    version: Version
    entries: tuple[Entry, ...]
    allowances_raw: Mapping[Address, int | None]
    """The guard's, of each reserve's aToken; None where it cannot be read."""
    unread: tuple[str, ...]
    """What could not be read, and is neither in use nor owed."""

    @property
    def holdings(self) -> tuple[Holding, ...]:
        return tuple(entry.holding for entry in self.entries)

    @property
    def touched(self) -> tuple[Entry, ...]:
        """Those whose price the pool asks for this account."""
        return tuple(entry for entry in self.entries if entry.holding.is_in_use or entry.holding.owed_scaled)

    @property
    def has_debt(self) -> bool:
        return any(entry.holding.owed_scaled for entry in self.entries)

    @property
    def penalty_bps(self) -> int:
        """The worst of what it uses as collateral: a liquidator chooses."""
        bonuses = (one.terms.bonus_bps for one in self.entries if one.holding.is_in_use and one.holding.supplied_scaled)
        return max((bonus - BPS for bonus in bonuses if bonus > BPS), default=0)

    def strike(self, margin: AaveMargin) -> Strike:
        """Half of the debt at most above a health of 0.95; all where a side is small.

        LiquidationLogic.executeLiquidationCall looks at the one collateral and the one debt that are chosen, so a
        single small one counts.
        """
        sides = [
            amount * entry.state.price // entry.state.unit_raw
            for entry in self.entries
            for amount in (
                margin.held_raw(entry.holding) if entry.holding.is_in_use else 0,
                margin.owed_raw(entry.holding),
            )
            if amount
        ]
        if self.version.closes_small_whole and min(sides, default=0) < SMALL_BASE:
            return WHOLE
        return Strike(CLOSE_SHARE_BPS, CLOSE_WHOLE_BELOW)


# What counts ----------------------------------------------------------------------------------------------------------


def entries_of(
    version: Version,
    flags: AccountFlags,
    read: Sequence[tuple[ReserveState, Terms, int, int]],
    *,
    guard_may_switch_on: bool,
) -> tuple[Entry, ...]:
    """From each reserve's state, its terms in this account, and the scaled amounts supplied and owed."""
    in_use = [state for state, *_ in read if flags.uses(state.reserve.id)]
    owes = sum(owed * state.debt_index // RAY * state.price // state.unit_raw for state, _, _, owed in read)
    entries: list[Entry] = []
    for state, own, supplied, owed in read:
        is_in_use = flags.uses(state.reserve.id)
        worth = supplied * state.income_index // RAY * state.price // state.unit_raw
        is_more_than_dust = bool(supplied) and not (version.has_position_managers and worth * DUST_PARTS <= owes)
        refusal = None if is_in_use else _refusal(version, state, own, is_more_than_dust, in_use, guard_may_switch_on)
        holding = Holding(
            state.reserve.token.address,
            state.unit_raw,
            state.price,
            supplied,
            state.income_index,
            owed,
            state.debt_index,
            state.borrow_rate,
            own.threshold_bps,
            is_in_use,
            refusal is None,
            # GenericLogic.calculateUserAccountData: v3.0 does not look at what has no threshold.
            own.ltv_bps == 0 and (version.has_category_bitmaps or own.threshold_bps > 0),
        )
        entries.append(Entry(state, own, holding, refusal))
    return tuple(entries)


def _refusal(
    version: Version,
    state: ReserveState,
    own: Terms,
    is_more_than_dust: bool,
    in_use: Sequence[ReserveState],
    guard_may_switch_on: bool,
) -> str | None:
    """Why an asset that is not in use as collateral would not count on arrival.

    ValidationLogic.validateUseAsCollateral and validateAutomaticUseAsCollateral.
    """
    symbol = state.reserve.token.symbol
    if own.ltv_bps == 0:
        return f"{symbol} has an LTV of 0, so it cannot be switched on as collateral"
    if state.flags.is_isolated:
        return f"{symbol} is isolated collateral, which counts only after the holder switched it on"
    if len(in_use) == 1 and in_use[0].flags.is_isolated:
        return f"the account is isolated to {in_use[0].reserve.token.symbol}, so {symbol} cannot count beside it"
    if is_more_than_dust:
        # The guard switches on only what was hardly there before: what is switched off is off because its holder said
        # so, and dust may be a stranger's.
        return f"{symbol} is switched off as collateral: switch it on with setUserUseReserveAsCollateral"
    if version.has_position_managers and not guard_may_switch_on:
        return manager_note(symbol, has_guard=True)
    return None


def manager_note(symbol: str, *, has_guard: bool) -> str:
    """What is said of an asset that would count if the guard might switch it on; its holder always may."""
    if not has_guard:
        return f"{symbol} is not in use as collateral: switch it on with setUserUseReserveAsCollateral"
    return (
        f"{symbol} is not in use as collateral and the guard may not switch it on: send approvePositionManager(guard, "
        "true), or switch it on with setUserUseReserveAsCollateral"
    )


# What may move --------------------------------------------------------------------------------------------------------


def lines_of(
    account: AccountState,
    margin: AaveMargin,
    assets: Sequence[Address],
    enrolment: GuardAccount | None,
    *,
    has_guard: bool,
    can_give: bool,
) -> tuple[tuple[CollateralLine, ...], tuple[str, ...]]:
    """Its collateral, and notes on what does not count or cannot move that could. `assets` are those that may move."""
    lines: list[CollateralLine] = []
    notes: list[str] = []
    blocker = _blocker(account)
    for entry in account.entries:
        holding, symbol, address = entry.holding, entry.token.symbol, entry.token.address
        held = margin.held_raw(holding)
        may_move = address in assets
        if not (held or holding.is_in_use or may_move):
            continue
        weight = linear_weight(holding, margin.value_scale)
        price = holding.price * margin.value_scale
        line = CollateralLine(entry.token, held, 0, 0, weight, weight, price, 0, 0, entry.state.reserve.a_token)
        problem = None
        if not may_move:
            problem = f"{symbol} is not among the assets that may move"
        elif enrolment is not None and address not in enrolment.assets:
            problem = f"{symbol} is not enrolled in the guard, so it cannot move"
        elif entry.state.flags.is_paused:
            problem = f"{symbol} is paused on Aave, so it cannot move"
        if problem is None:
            line = _receiving(line, entry, account.version)
            if can_give:
                line = _giving(line, entry, account.allowances_raw[address], blocker, notes)
            # Whoever owes nothing needs nothing, and misses only what it holds already.
            problem = entry.refusal if account.has_debt or held else None
            if problem == manager_note(symbol, has_guard=True):
                problem = manager_note(symbol, has_guard=has_guard)
        if problem is not None and (held or may_move):
            notes.append(problem)
        lines.append(line)
    return tuple(lines), tuple(notes)


def _blocker(account: AccountState) -> Entry | None:
    """The collateral with an LTV of 0 that must leave before any other may."""
    if not account.has_debt:
        return None
    return next((one for one in account.entries if one.holding.is_in_use and one.holding.blocks_others), None)


def _receiving(line: CollateralLine, entry: Entry, version: Version) -> CollateralLine:
    if entry.refusal is not None:
        return line
    # A scaled amount is at most the raw one, since an index starts at one.
    room = max(version.scaled_max - line.amount_raw, 0)
    suppliable = entry.state.suppliable_raw
    return replace(
        line, receivable_raw_max=room, suppliable_raw_max=None if suppliable is None else min(room, suppliable)
    )


def _giving(
    line: CollateralLine, entry: Entry, allowance_raw: int | None, blocker: Entry | None, notes: list[str]
) -> CollateralLine:
    """The line with what may leave; adds to `notes` why less may than there is."""
    symbol, held = entry.token.symbol, line.amount_raw
    if not held:
        return line
    if blocker is not None and entry.holding.is_in_use and not entry.holding.blocks_others:
        notes.append(f"{blocker.token.symbol} has an LTV of 0 and must leave before {symbol} may")
        return line
    if allowance_raw is None:
        notes.append(f"the guard's allowance of the aToken of {symbol} cannot be read")
        return line
    movable = min(held, allowance_raw)
    if movable < held:
        notes.append(
            f"the guard may take {figure(movable, entry.token.decimals)} of {amount_text(held, entry.token)}: approve "
            "more of its aToken to make it available"
        )
    withdrawable = entry.state.withdrawable_raw
    if withdrawable < movable:
        notes.append(f"only {amount_text(withdrawable, entry.token)} can be withdrawn from Aave: the rest is lent out")
    return replace(line, movable_raw_max=movable, withdrawable_raw_max=min(movable, withdrawable))
