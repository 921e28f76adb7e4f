"""What the guard was permitted to do, on every contract that its enrolments ever named.

Retiring an account takes back none of it: only the holder can, on the contract itself. So a permission that no live
account needs any more is named, and can be taken back.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keeper.core.snapshot import GuardAccount, GuardProtocol, GuardState
from keeper.core.units import Address
from keeper.protocols.abi import interface
from keeper.protocols.base import Call, CallResult, Enrolment

UNLIMITED_RAW = 1 << 128
"""An allowance from here on is none: no token has so many units."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a holder can permit the guard something."""

    kind: GuardProtocol
    """MORPHO: an authorisation, all or nothing. WALLET: an allowance of one token."""
    contract: Address
    holder: Address


@dataclass(frozen=True, slots=True)
class Permission:
    place: Place
    amount_raw: int | None
    """Of an allowance; 1 or 0 for an authorisation; None when the contract did not answer."""
    is_needed: bool
    """Whether a live account uses it."""

    @property
    def is_left_behind(self) -> bool:
        """Given, or perhaps given, and of no use any more."""
        return not self.is_needed and self.amount_raw != 0

    @property
    def is_unlimited(self) -> bool:
        is_allowance = self.place.kind is GuardProtocol.WALLET
        return is_allowance and self.amount_raw is not None and self.amount_raw >= UNLIMITED_RAW


def places(accounts: Iterable[GuardAccount | Enrolment]) -> tuple[Place, ...]:
    """What these accounts need, each once, in order."""
    found: dict[Place, None] = {}
    for account in accounts:
        contracts = (account.target,) if account.protocol is GuardProtocol.MORPHO else account.assets
        found.update({Place(account.protocol, contract, account.holder): None for contract in contracts})
    return tuple(found)


def questions(guard: GuardState, tokens: Iterable[Address]) -> tuple[Place, ...]:
    """Everything that was ever enrolled, and the owner's allowances of these tokens."""
    owners = (Place(GuardProtocol.WALLET, token, guard.owner) for token in tokens)
    return tuple(dict.fromkeys([*places(guard.accounts), *owners]))


def permission_calls(guard: GuardState, asked: Sequence[Place]) -> list[Call]:
    is_authorised, allowance = interface("Morpho")["isAuthorized"], interface("ERC20")["allowance"]
    return [
        Call(place.contract, (is_authorised if place.kind is GuardProtocol.MORPHO else allowance).encode(*arguments))
        for place in asked
        for arguments in [(place.holder, guard.address)]
    ]


def decode_permissions(
    guard: GuardState, asked: Sequence[Place], results: Sequence[CallResult]
) -> tuple[Permission, ...]:
    """In the order of what was asked; those that are neither given nor needed are left out."""
    needed = set(places(account for account in guard.accounts if account.is_live))
    found = (
        Permission(
            place,
            int.from_bytes(result.data) if result.success and len(result.data) == 32 else None,
            place in needed,
        )
        for place, result in zip(asked, results, strict=True)
    )
    return tuple(permission for permission in found if permission.is_needed or permission.amount_raw != 0)
