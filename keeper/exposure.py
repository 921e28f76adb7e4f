"""What was granted to the guard, what it lets the keeper do with that, and the worst that a stolen hot key could do.

A stolen key moves collateral between the enrolled accounts and nothing else: in any window no more than the cap, to and
fro. What of it can end up in another account than now is bounded by three more numbers, at the prices of this block:
what donors can give before the guard's hard floors; right now, also what accounts can take up to the guard's maxima,
and nothing at all while no account is below its rescue ceiling. What cannot be read counts as the whole cap.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from keeper.core.amounts import amount_text
from keeper.core.economics import usd_value
from keeper.core.sizing import PRECISION_BITS, largest
from keeper.core.snapshot import GuardAccount, GuardProtocol, GuardState, Snapshot, Subaccount, Token, Unknown
from keeper.core.spare import spare_raw
from keeper.core.units import WAD, Address, Wad, mul_div_up
from keeper.documents import Document
from keeper.protocols.permissions import Permission
from keeper.report import age_text, health_text, name_of, short, usd_text

Caps = Mapping[Address, tuple[int, int]]
"""Amount (raw) and window (seconds) of each underlying's cap in the guard."""


# What was granted, and what for ---------------------------------------------------------------------------------------


def permission_text(permission: Permission, tokens: Mapping[Address, Token]) -> str:
    """What a holder granted, half a sentence: `its allowance from 0x70…79c8 is 2 WETH`."""
    place = permission.place
    holder, contract = short(place.holder), short(place.contract)
    if place.kind is GuardProtocol.MORPHO:
        if permission.amount_raw is None:
            return f"whether {holder} authorised it on Morpho {contract} cannot be read"
        return f"{holder} {'authorised' if permission.amount_raw else 'has not authorised'} it on Morpho {contract}"
    if place.kind is GuardProtocol.AAVE:
        return f"{holder} made it a position manager on Aave {contract}"
    symbol = tokens[place.contract].symbol if place.contract in tokens else contract
    if permission.amount_raw is None:
        return f"its allowance of {symbol} from {holder} cannot be read"
    if permission.is_unlimited:
        return f"its allowance of {symbol} from {holder} is unlimited"
    return f"its allowance from {holder} is {_amount(permission.amount_raw, place.contract, tokens)}"


def limits(snapshot: Snapshot, guard: GuardState, caps: Caps) -> Iterator[str]:
    """What the guard lets the keeper do, a sentence for each live account and each cap."""
    known = {subaccount.guard_index: subaccount for subaccount in snapshot.subaccounts}
    for account in guard.accounts:
        if account.is_live:
            yield _limit(account, known.get(account.index))
    tokens = _tokens(snapshot)
    for address, (amount, window) in caps.items():
        if amount:
            left = _amount(guard.remaining_cap_raw.get(address, 0), address, tokens)
            yield (
                f"of {tokens[address].symbol if address in tokens else short(address)} at most "
                f"{_amount(amount, address, tokens)} may move in any {age_text(window)}, {left} of it now"
            )


def _limit(account: GuardAccount, subaccount: Subaccount | None) -> str:
    name = (
        f"account number {account.index} of {short(account.holder)}, which is not in the file,"
        if subaccount is None
        else name_of(subaccount)
    )
    if account.protocol is GuardProtocol.WALLET:
        return f"{name} may give, as far as its allowances go"
    return (
        f"{name} may receive while its health is below {health_text(account.rescue_ceiling)}, must then end between "
        f"{health_text(account.min_after)} and {health_text(account.max_after)}, and may give down to "
        f"{health_text(account.hard_floor)}"
    )


# The worst ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Worst:
    """The most of one token that a stolen key could move between the holders' own accounts."""

    token: Token
    cap_raw: int
    """Moved in any window, to and fro."""
    window_seconds: int
    displaced_raw: int
    """Of that, in another account than now when a window ends."""
    now_raw: int
    """In another account than now when the next block ends; 0 while no account is below its rescue ceiling."""
    usd_per_token: Wad | None

    def __str__(self) -> str:
        if not self.cap_raw:
            return f"{self.token.symbol}: nothing, for it has no cap"
        if not self.displaced_raw:
            return f"{self.token.symbol}: nothing, for no account has any to spare"
        now = self._text(self.now_raw) if self.now_raw else "nothing, for no account may receive it"
        return (
            f"{self.token.symbol}: at most {self._text(self.cap_raw)} in any {age_text(self.window_seconds)}, to and "
            f"fro, of which {self._text(self.displaced_raw)} could end up in another account; right now {now}"
        )

    def usd(self, amount_raw: int) -> Wad | None:
        """WAD, rounded up; None without a price."""
        price = self.usd_per_token
        return None if price is None else mul_div_up(amount_raw, price, 10**self.token.decimals)

    def _text(self, amount_raw: int) -> str:
        usd = self.usd(amount_raw)
        amount = amount_text(amount_raw, self.token)
        return amount if usd is None else f"{amount} ({usd_text(usd)})"


def worst_cases(snapshot: Snapshot, guard: GuardState, caps: Caps) -> list[Worst]:
    """One for each collateral token, in order of first appearance."""
    return [_worst(snapshot, guard, token, *caps.get(address, (0, 0))) for address, token in _tokens(snapshot).items()]


def _worst(snapshot: Snapshot, guard: GuardState, token: Token, cap_raw: int, window_seconds: int) -> Worst:
    known = {subaccount.guard_index: subaccount for subaccount in snapshot.subaccounts}
    accounts = [(known.get(each.index), each) for each in guard.accounts if each.is_live and _has(each, token)]
    left_raw = 0 if guard.is_paused else guard.remaining_cap_raw.get(token.address, 0)
    readable = [
        (subaccount, account)
        for subaccount, account in accounts
        if subaccount is not None and not isinstance(subaccount.reading, Unknown)
    ]
    usd = _usd_per_token(snapshot, token)
    if len(readable) < len(accounts):
        return Worst(token, cap_raw, window_seconds, cap_raw, left_raw, usd)
    givable = sum(_givable_raw(subaccount, account, token) for subaccount, account in readable)
    room = sum(_room_raw(subaccount, account, token) for subaccount, account in readable)
    is_needed = any(
        subaccount.has_debt and subaccount.margin.risk().health_factor < account.rescue_ceiling
        for subaccount, account in readable
    )
    now = min(left_raw, givable, room) if is_needed else 0
    return Worst(token, cap_raw, window_seconds, min(cap_raw, givable), now, usd)


def _has(account: GuardAccount, token: Token) -> bool:
    return token.address in account.assets


def _givable_raw(subaccount: Subaccount, account: GuardAccount, token: Token) -> int:
    """By the guard's own limit, not by the keeper's policy, which a thief need not follow; rounded up."""
    line = subaccount.line(token.address)
    if line is None:
        return 0
    return min(_rounded_up(spare_raw(subaccount, token.address, max(account.hard_floor, WAD))), line.amount_raw)


def _room_raw(subaccount: Subaccount, account: GuardAccount, token: Token) -> int:
    """What the guard lets it end above what it has now: up to its maximum, also if it is drained first; rounded up."""
    line = subaccount.line(token.address)
    if line is None or not subaccount.has_debt:
        return 0

    def slack(amount: int) -> tuple[int]:
        risk = subaccount.margin.risk({token.address: amount})
        return (risk.debt_value * (account.max_after + 1) - risk.collateral_value * WAD,)

    most = line.amount_raw
    while most and slack(most)[0] >= 0 and most < 1 << 128:
        most *= 2
    return _rounded_up(largest(slack, most or 1 << 128))


def _rounded_up(amount_raw: int) -> int:
    """At least what a search that stops within its precision was looking for."""
    return amount_raw + (amount_raw >> PRECISION_BITS) + 1 if amount_raw else 0


def _usd_per_token(snapshot: Snapshot, token: Token) -> Wad | None:
    """By the token's own feed, else by the price that an account's oracle gives it in a unit that has one."""
    own = snapshot.usd_per_unit.get(token.address)
    if own is not None:
        return own
    for subaccount in snapshot.subaccounts:
        line = subaccount.line(token.address)
        if line is not None and line.price and subaccount.unit is not None:
            value = usd_value(snapshot, subaccount.unit, mul_div_up(line.price, 10**subaccount.unit.decimals, WAD))
            if value is not None:
                return value
    return None


def _tokens(snapshot: Snapshot) -> dict[Address, Token]:
    return {line.token.address: line.token for each in snapshot.subaccounts for line in each.collateral}


def _amount(amount_raw: int, token: Address, tokens: Mapping[Address, Token]) -> str:
    known = tokens.get(token)
    return f"{amount_raw} raw units of {short(token)}" if known is None else amount_text(amount_raw, known)


# As a document --------------------------------------------------------------------------------------------------------


def exposure_document(permissions: Sequence[Permission], sentences: Sequence[str], worst: Sequence[Worst]) -> Document:
    return {
        "permissions": [
            {
                "kind": "allowance" if each.place.is_allowance else "authorisation",
                "contract": each.place.contract,
                "holder": each.place.holder,
                "amount_raw": None if each.amount_raw is None else str(each.amount_raw),
                "left_behind": each.is_left_behind,
            }
            for each in permissions
        ],
        "limits": list(sentences),
        "stolen_key": [
            {
                "token": each.token.address,
                "symbol": each.token.symbol,
                "cap_raw": str(each.cap_raw),
                "window_seconds": each.window_seconds,
                "displaced_raw": str(each.displaced_raw),
                "now_raw": str(each.now_raw),
                "cap_usd_wad": _wad(each.usd(each.cap_raw)),
                "displaced_usd_wad": _wad(each.usd(each.displaced_raw)),
                "now_usd_wad": _wad(each.usd(each.now_raw)),
            }
            for each in worst
        ],
    }


def _wad(usd: Wad | None) -> str | None:
    return None if usd is None else str(usd)
