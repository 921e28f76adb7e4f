"""The model's guard: what `rebalance` does to the ledger, rule by rule as in contracts/src/MarginGuard.sol.

A rescue works on a copy of the state that takes its place when the rescue succeeds: whole or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from eth_abi.abi import decode, encode

from keeper.protocols.abi import interface
from keeper.protocols.base import Log
from scripts.simulation.ledger import NO_DEBT, SHARES, USDC, WETH, Market, OracleMuteError, Position, State, Totals

ENTRY_GAS = 25_000
RESCUE_GAS = 120_000
TRANSFER_GAS = 60_000
FINISH_GAS = 30_000
AROUND_GAS = 10_000
"""MarginGuard.FINISH_GAS. The others are about what the real guard takes on the real Morpho."""
TRANSFERS_MAX = 8
RESCUES_MAX = 16
NATIVE, CROSS, REPAY = range(3)
ASSETS = (WETH, USDC)
"""Of every account: what it holds, and what it owes or, the wallet, also holds."""


class RefusedError(Exception):
    """A custom error of the guard."""

    def __init__(self, name: str, *values: object) -> None:
        super().__init__(name)
        errors = interface("MarginGuard").errors.values()
        error = next(each for each in errors if each.name == name)
        self.data = error.selector + encode(error.inputs, values)


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one enrolled account, WAD healths; all zero for the wallet."""

    rescue_ceiling: int
    min_after: int
    max_after: int
    hard_floor: int


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The owner's accounts in the guard by their index: the wallet first, then one for each market."""

    address: str
    keeper: str
    markets: tuple[Market, ...]
    limits: Limits
    """Of every account but the wallet."""

    def market(self, index: int) -> Market | None:
        """None for the wallet. Raises RefusedError for an account that there is not."""
        if index > len(self.markets):
            raise RefusedError("AccountUnknown", index)
        return self.markets[index - 1] if index else None


@dataclass(frozen=True, slots=True)
class Ran:
    """What came of a transaction to the guard."""

    succeeded: bool
    output: bytes
    """Returned, or reverted with."""
    gas_used: int
    state: State
    """As it is afterwards; the one before if it reverted."""
    logs: tuple[Log, ...] = ()
    moves: tuple["Moved", ...] = ()


@dataclass(frozen=True, slots=True)
class Moved:
    """One rescue that took effect: from which accounts into which, and the recipient's health before and after."""

    recipient: int
    donors: tuple[int, ...]
    before: int
    after: int
    state: State
    """Right after it; the next rescue of the same batch may draw further on who gave."""


def execute(guard: Enrolled, state: State, sender: str, data: bytes, gas: int) -> Ran:
    """A call of the guard in the block of `state`, which stays as it is."""
    functions = interface("MarginGuard")
    intrinsic = 21_000 + sum(16 if byte else 4 for byte in data)
    if data == functions["pause"].encode():
        paused = replace(state, is_paused=True)
        return Ran(True, b"", intrinsic + 10_000, paused)
    if data[:4] != functions["rebalance"].selector:
        return Ran(False, b"", intrinsic, state)
    plan_id, deadline, rescues = decode(functions["rebalance"].inputs, data[4:])
    try:
        _require_accepted(guard, state, sender, plan_id, deadline, rescues)
        return _batch(guard, state, plan_id, rescues, gas - intrinsic - ENTRY_GAS, intrinsic)
    except RefusedError as refusal:
        return Ran(False, refusal.data, intrinsic + ENTRY_GAS, state)


def _require_accepted(
    guard: Enrolled, state: State, sender: str, plan_id: bytes, deadline: int, rescues: Sequence[Any]
) -> None:
    if sender != guard.keeper:
        raise RefusedError("CallerIsNotKeeper")
    if state.is_paused:
        raise RefusedError("GuardIsPaused")
    if state.now > deadline:
        raise RefusedError("DeadlinePassed", deadline)
    if not rescues:
        raise RefusedError("NoRescues")
    if len(rescues) > RESCUES_MAX:
        raise RefusedError("TooManyRescues", len(rescues))
    sequence = int.from_bytes(plan_id[:8])
    if sequence != state.last_sequence + 1:
        raise RefusedError("WrongSequence", sequence, state.last_sequence + 1)


def _batch(
    guard: Enrolled, before: State, plan_id: bytes, rescues: Sequence[Any], gas_left: int, intrinsic: int
) -> Ran:
    event = interface("MarginGuard").events
    state = before.copy(before.now)
    state.last_sequence += 1
    results: list[tuple[bool, int, int, int, bytes]] = []
    logs: list[Log] = []
    moves: list[Moved] = []
    spent = 0
    for place, rescue in enumerate(rescues):
        to, _, budget, transfers = rescue
        needed = budget * 64 // 63 + FINISH_GAS
        if gas_left - spent < needed:
            raise RefusedError("GasTooLow", place, needed)
        takes = RESCUE_GAS + TRANSFER_GAS * len(transfers)
        trial = state.copy(state.now)
        try:
            if takes > budget:
                spent += budget + AROUND_GAS
                raise OutOfGasError
            spent += takes + AROUND_GAS
            healths, moved = _rescue(guard, trial, rescue)
        except (RefusedError, OutOfGasError, OracleMuteError) as failure:
            reason = failure.data[:256] if isinstance(failure, RefusedError) else b""
            results.append((False, 0, 0, takes, reason))
            topics = (event["RescueFailed"].topic, plan_id, place.to_bytes(32))
            logs.append(Log(_address(guard), topics, encode(["bytes"], [reason])))
            continue
        state = trial
        results.append((True, *healths, takes, b""))
        moves.append(Moved(to, tuple(each[1] for each in transfers), *healths, state))
        for donor, amount, token in moved:
            topics = (event["Moved"].topic, plan_id, donor.to_bytes(32), to.to_bytes(32))
            logs.append(Log(_address(guard), topics, encode(["address", "uint256"], [token, amount])))
        topics = (event["Rescued"].topic, plan_id, to.to_bytes(32))
        logs.append(Log(_address(guard), topics, encode(["uint256", "uint256"], healths)))
    if not moves:
        raise RefusedError("NothingRescued", results)
    output = encode(["(bool,uint128,uint128,uint64,bytes)[]"], [results])
    return Ran(True, output, intrinsic + ENTRY_GAS + spent, state, tuple(logs), tuple(moves))


class OutOfGasError(Exception):
    """A rescue used up its own gas."""


def _rescue(guard: Enrolled, state: State, rescue: Any) -> tuple[tuple[int, int], list[tuple[int, int, str]]]:
    """MarginGuard.executeRescue: the recipient's healths, and what moved; changes `state`."""
    to, minimum, _, transfers = rescue
    if not transfers:
        raise RefusedError("NoTransfers")
    if len(transfers) > TRANSFERS_MAX:
        raise RefusedError("TooManyTransfers", len(transfers))
    recipient = guard.market(to)
    if recipient is None:
        raise RefusedError("RecipientHasNoDebt", to)
    before = state.health(recipient)
    if before == NO_DEBT:
        raise RefusedError("RecipientHasNoDebt", to)
    if before >= guard.limits.rescue_ceiling:
        raise RefusedError("RecipientIsHealthy", to, before, guard.limits.rescue_ceiling)
    if before <= recipient.lltv:
        raise RefusedError("RecipientWorthNoMoreThanItOwes", to, before, recipient.lltv)
    moved = [_transfer(guard, state, recipient, to, transfer) for transfer in transfers]
    after = state.health(recipient)
    least = max(guard.limits.min_after, minimum, before)
    if after < least:
        raise RefusedError("RecipientBelowMinimum", to, after, least)
    if after > guard.limits.max_after:
        raise RefusedError("RecipientAboveMaximum", to, after, guard.limits.max_after)
    return (before, after), moved


def _transfer(guard: Enrolled, state: State, recipient: Market, to: int, transfer: Any) -> tuple[int, int, str]:
    kind, donor_index, from_asset, to_asset, amount = transfer
    donor = guard.market(donor_index)
    if donor_index == to:
        raise RefusedError("DonorIsRecipient", to)
    if amount == 0:
        raise RefusedError("AmountIsZero")
    token, arrives_as = ASSETS[int(from_asset)], ASSETS[int(to_asset)]
    if donor is not None and token != WETH:
        raise RefusedError("AssetDoesNotMove", donor_index, from_asset)
    if arrives_as != token:
        raise RefusedError("UnderlyingsDiffer", token, arrives_as)
    is_repaid = token == USDC
    expected = REPAY if is_repaid else CROSS if donor is None else NATIVE
    if kind != expected:
        raise RefusedError("WrongKind", donor_index, to, expected)
    cap = state.caps[token].at(state.now)
    if amount > cap.remaining(state.now):
        raise RefusedError("CapExceeded", token, amount, cap.remaining(state.now))
    state.caps[token] = replace(cap, current=cap.current + amount)
    if donor is None:
        _pull(state, token, amount)
    else:
        _withdraw(guard, state, donor, donor_index, amount)
    if is_repaid:
        _repay(state, recipient, amount)
    else:
        held = state.positions[recipient.id]
        state.positions[recipient.id] = replace(held, collateral=held.collateral + amount)
    return donor_index, amount, token


def _pull(state: State, token: str, amount: int) -> None:
    if amount > min(state.balances[token], state.allowances[token]):
        raise RefusedError("TokenCallFailed", token)
    state.balances[token] -= amount
    state.allowances[token] -= amount


def _withdraw(guard: Enrolled, state: State, donor: Market, index: int, amount: int) -> None:
    held = state.positions[donor.id]
    if amount > held.collateral:
        raise RefusedError("DebitDiffers", index, amount, held.collateral, 0)
    state.positions[donor.id] = replace(held, collateral=held.collateral - amount)
    left = state.health(donor)
    if left < guard.limits.hard_floor:
        raise RefusedError("DonorBelowHardFloor", index, left, guard.limits.hard_floor)


def _repay(state: State, market: Market, amount: int) -> None:
    """Morpho.repay: SharesMathLib.toSharesDown."""
    totals = state.accrued(market)
    shares = amount * (totals.borrow_shares + SHARES) // (totals.borrow_assets + 1)
    position = state.positions[market.id]
    if shares > position.borrow_shares:
        raise RefusedError("RepaymentDiffers", 0, amount, state.debt(market), 0)
    left = position.borrow_shares - shares
    state.totals[market.id] = Totals(max(0, totals.borrow_assets - amount), totals.borrow_shares - shares, state.now)
    state.positions[market.id] = Position(position.collateral, left)


def _address(guard: Enrolled) -> Any:
    return guard.address


__all__ = ["Enrolled", "Limits", "Moved", "Ran", "RefusedError", "execute"]
