"""What the guard was permitted to do, on every contract that its enrolments ever named.

Retiring an account takes back none of it: only the holder can, on the contract itself. So a permission that no live
account needs any more is named, and can be taken back.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from keeper.core.snapshot import GuardAccount, GuardProtocol, GuardState
from keeper.core.units import Address
from keeper.protocols.abi import ZERO_ADDRESS, interface
from keeper.protocols.base import Call, CallResult, Enrolment
from keeper.protocols.euler.math import account as sub_account
from keeper.protocols.euler.math import number_of

LISTS_FORMS = frozenset((GuardProtocol.EULER, GuardProtocol.VENUS))
"""Whose enrolments list what the tokens are held as; of the others the tokens themselves."""

UNLIMITED_RAW = 1 << 128
"""An allowance from here on is none: no token has so many units."""


ATokens = Mapping[tuple[Address, Address], Address]
"""The aToken of each pool and underlying that is known."""
NO_A_TOKENS: ATokens = {}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a holder can permit the guard something."""

    kind: GuardProtocol
    """MORPHO: an authorisation, AAVE: being a position manager, both all or nothing. WALLET: an allowance of one token,
    also of an aToken, a vToken or an Euler vault's shares. EULER: such an allowance of shares by another sub-account
    than its owner's own address."""
    contract: Address
    holder: Address
    """Who has to permit it; a sub-account of Euler cannot itself."""
    evc: Address | None = None
    """EULER: through which the owner of the sub-account permits it."""

    @property
    def is_allowance(self) -> bool:
        return self.kind in (GuardProtocol.WALLET, GuardProtocol.EULER)

    def is_permitted_by(self, owner: Address) -> bool:
        """Whether it is the owner's to give and to take back."""
        if self.kind is GuardProtocol.EULER:
            return number_of(owner, self.holder) is not None
        return self.holder == owner


@dataclass(frozen=True, slots=True)
class Permission:
    place: Place
    amount_raw: int | None
    """Of an allowance; 1 or 0 for what is all or nothing; None when the contract did not answer."""
    is_needed: bool
    """Whether a live account uses it."""

    @property
    def is_left_behind(self) -> bool:
        """Given, or perhaps given, and of no use any more."""
        return not self.is_needed and self.amount_raw != 0

    @property
    def is_unlimited(self) -> bool:
        return self.place.is_allowance and self.amount_raw is not None and self.amount_raw >= UNLIMITED_RAW


def places(accounts: Iterable[GuardAccount | Enrolment], a_tokens: ATokens = NO_A_TOKENS) -> tuple[Place, ...]:
    """What these accounts need, each once, in order; of an Aave account nothing where its aTokens are not known.

    Being a position manager is not among it: a guard that is none moves what is in use already.
    """
    found: dict[Place, None] = {}
    for account in accounts:
        found.update(dict.fromkeys(_places(account, a_tokens)))
    return tuple(found)


def _places(account: GuardAccount | Enrolment, a_tokens: ATokens) -> list[Place]:
    holder = account.holder
    match account.protocol:
        case GuardProtocol.MORPHO:
            return [Place(GuardProtocol.MORPHO, account.target, holder)]
        case GuardProtocol.AAVE:
            known = (a_tokens.get((account.target, asset)) for asset in account.assets)
            return [Place(GuardProtocol.WALLET, a_token, holder) for a_token in known if a_token is not None]
        case GuardProtocol.EULER:
            vaults = account.forms if isinstance(account, GuardAccount) else account.assets
            return [shares_place(account.target, vault, holder, int(account.key, 16)) for vault in vaults]
        case GuardProtocol.VENUS:
            markets = account.forms if isinstance(account, GuardAccount) else account.assets
            return [Place(GuardProtocol.WALLET, market, holder) for market in markets]
        case GuardProtocol.WALLET:
            return [Place(GuardProtocol.WALLET, asset, holder) for asset in account.assets]


def shares_place(evc: Address, vault: Address, owner: Address, number: int) -> Place:
    """Where a sub-account's shares are allowed: the first one is the owner itself, and permits like any holder."""
    if number == 0:
        return Place(GuardProtocol.WALLET, vault, owner)
    return Place(GuardProtocol.EULER, vault, sub_account(owner, number), evc)


def managed(accounts: Iterable[GuardAccount | Enrolment]) -> tuple[Place, ...]:
    """Where these accounts may make the guard a position manager, so that it can switch on what it brings."""
    pools = (Place(GuardProtocol.AAVE, one.target, one.holder) for one in accounts if _is_on_aave(one))
    return tuple(dict.fromkeys(pools))


def _is_on_aave(account: GuardAccount | Enrolment) -> bool:
    return account.protocol is GuardProtocol.AAVE


def questions(guard: GuardState, tokens: Iterable[Address], a_tokens: ATokens = NO_A_TOKENS) -> tuple[Place, ...]:
    """Everything that was ever enrolled, and the owner's allowances of these tokens and of all known aTokens."""
    owners = (
        Place(GuardProtocol.WALLET, token, guard.owner)
        for token in (*tokens, *a_tokens.values())
        if token != ZERO_ADDRESS  # a unit of account that is no token
    )
    return tuple(dict.fromkeys([*places(guard.accounts, a_tokens), *managed(guard.accounts), *owners]))


_ASKS = {
    GuardProtocol.MORPHO: ("Morpho", "isAuthorized"),
    GuardProtocol.AAVE: ("AavePool", "isApprovedPositionManager"),
}


def permission_calls(guard: GuardState, asked: Sequence[Place]) -> list[Call]:
    calls: list[Call] = []
    for place in asked:
        contract, function = _ASKS.get(place.kind, ("ERC20", "allowance"))
        calls.append(Call(place.contract, interface(contract)[function].encode(place.holder, guard.address)))
    return calls


def decode_permissions(
    guard: GuardState, asked: Sequence[Place], results: Sequence[CallResult], a_tokens: ATokens = NO_A_TOKENS
) -> tuple[Permission, ...]:
    """In the order of what was asked; those that are neither given nor of use are left out."""
    live = [account for account in guard.accounts if account.is_live]
    needed, useful = set(places(live, a_tokens)), set(managed(live))
    found: list[Permission] = []
    for place, result in zip(asked, results, strict=True):
        amount = int.from_bytes(result.data) if result.success and len(result.data) == 32 else None
        if place.kind is GuardProtocol.AAVE and not result.success:
            amount = 0  # Aave v3.0 knows no position managers
        is_needed = place in needed or (place in useful and amount != 0)
        if is_needed or amount != 0:
            found.append(Permission(place, amount, is_needed))
    return tuple(found)
