"""What the owner has granted, in plain words, and the worst that a stolen hot key could do with it.

A stolen key moves collateral between the enrolled accounts and nothing else. How much is the smaller of two: the cap of
the window, and what donors can give before the guard's own hard floors.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from keeper.core.economics import usd_value
from keeper.core.snapshot import GuardAccount, GuardState, Snapshot, Subaccount, Token, Unknown
from keeper.core.spare import spare_raw
from keeper.core.units import WAD, Address, Wad
from keeper.documents import Document
from keeper.report import age_text, amount_text, health_text, name_of, usd_text

Caps = Mapping[Address, tuple[int, int]]
"""Amount (raw) and window (seconds) of each underlying's cap in the guard."""


@dataclass(frozen=True, slots=True)
class Worst:
    """The most of one token that a stolen key could move between the owner's own accounts."""

    token: Token
    in_window_raw: int
    window_seconds: int
    now_raw: int
    """0 as long as no account with this collateral is below its rescue ceiling: the guard then lets nothing in."""
    in_window_usd: Wad | None
    now_usd: Wad | None

    def __str__(self) -> str:
        most = _with_usd(self.in_window_raw, self.token, self.in_window_usd)
        if not self.in_window_raw:
            return f"{self.token.symbol}: nothing"
        now = (
            _with_usd(self.now_raw, self.token, self.now_usd)
            if self.now_raw
            else "nothing as long as no account needs it"
        )
        return f"{self.token.symbol}: at most {most} in any {age_text(self.window_seconds)}, right now {now}"


def grants(snapshot: Snapshot, guard: GuardState) -> Iterator[str]:
    """What the guard may touch and within which limits, a sentence for each enrolled account."""
    for subaccount, account in _enrolled(snapshot, guard):
        if not account.hard_floor:
            lines = [amount_text(line.movable_raw_max, line.token) for line in subaccount.collateral]
            yield f"{name_of(subaccount)} may give {' and '.join(lines) or 'nothing'}, as far as its allowances go"
            continue
        yield (
            f"{name_of(subaccount)} may receive while its health is below {health_text(account.rescue_ceiling)}, must "
            f"then reach {health_text(account.min_after)}, and may give down to {health_text(account.hard_floor)}"
        )


def worst_cases(snapshot: Snapshot, guard: GuardState, caps: Caps) -> list[Worst]:
    """One for each collateral token, in order of first appearance."""
    tokens = {line.token.address: line.token for each in snapshot.subaccounts for line in each.collateral}
    found: list[Worst] = []
    for address, token in tokens.items():
        amount, window = caps.get(address, (0, 0))
        givable = sum(_givable(subaccount, account, address) for subaccount, account in _enrolled(snapshot, guard))
        is_needed = any(
            _may_receive(subaccount, account, address) for subaccount, account in _enrolled(snapshot, guard)
        )
        in_window = min(amount, givable)
        now = min(guard.remaining_cap_raw.get(address, 0), givable) if is_needed and not guard.is_paused else 0
        found.append(
            Worst(token, in_window, window, now, usd_value(snapshot, token, in_window), usd_value(snapshot, token, now))
        )
    return found


def exposure_document(snapshot: Snapshot, guard: GuardState, caps: Caps) -> Document:
    return {
        "grants": list(grants(snapshot, guard)),
        "stolen_key": [
            {
                "token": worst.token.address,
                "symbol": worst.token.symbol,
                "in_window_raw": str(worst.in_window_raw),
                "window_seconds": worst.window_seconds,
                "now_raw": str(worst.now_raw),
                "in_window_usd_wad": None if worst.in_window_usd is None else str(worst.in_window_usd),
                "now_usd_wad": None if worst.now_usd is None else str(worst.now_usd),
            }
            for worst in worst_cases(snapshot, guard, caps)
        ],
    }


def _enrolled(snapshot: Snapshot, guard: GuardState) -> Iterator[tuple[Subaccount, GuardAccount]]:
    for subaccount in snapshot.subaccounts:
        account = None if subaccount.guard_index is None else guard.account(subaccount.guard_index)
        if account is not None:
            yield subaccount, account


def _givable(subaccount: Subaccount, account: GuardAccount, token: Address) -> int:
    """By the guard's own limit, not by the keeper's policy, which a thief need not follow."""
    return spare_raw(subaccount, token, max(account.hard_floor, WAD))


def _may_receive(subaccount: Subaccount, account: GuardAccount, token: Address) -> bool:
    if not subaccount.has_debt or subaccount.line(token) is None or isinstance(subaccount.reading, Unknown):
        return False
    return subaccount.margin.risk().health_factor < account.rescue_ceiling


def _with_usd(amount_raw: int, token: Token, usd: Wad | None) -> str:
    amount = amount_text(amount_raw, token)
    return amount if usd is None else f"{amount} ({usd_text(usd)})"
