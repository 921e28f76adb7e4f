"""What the owner has still to permit the guard, and what was permitted once and no account needs any more."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial

from keeper.commands.specks import specks_missing
from keeper.commands.wanted import Wanted, named_token, raw_amount
from keeper.core.snapshot import GuardProtocol, Snapshot, Subaccount, Token
from keeper.core.units import Address
from keeper.errors import ConfigError
from keeper.protocols.aave.adapter import AaveV3
from keeper.protocols.abi import interface, short
from keeper.protocols.base import Call, Enrolment
from keeper.protocols.euler.adapter import EulerV2
from keeper.protocols.euler.math import number_of
from keeper.protocols.guard_setup import (
    OwnerCall,
    approve,
    approve_a_token,
    approve_on_aave,
    approve_shares,
    approve_v_token,
    authorise_on_morpho,
    leave_speck,
)
from keeper.protocols.morpho.adapter import MorphoBlue
from keeper.protocols.permissions import (
    Place,
    decode_permissions,
    managed,
    permission_calls,
    places,
    questions,
    shares_place,
)
from keeper.protocols.venus.adapter import VenusPool
from keeper.protocols.wallet import Wallet
from keeper.session import Session

OPTION = "--allowance"


def needed_places(
    session: Session, snapshot: Snapshot, enrolments: Sequence[Enrolment], wanted: Wanted
) -> frozenset[Place]:
    """Where the guard needs a permission, or has a use for one, once everything else was sent."""
    enrolled = () if snapshot.guard is None else snapshot.guard.accounts
    a_tokens = {known: token.address for known, token in session.portfolio.a_tokens().items()}
    kept = (one for one in enrolled if (one.is_live or one.awaits_holder) and not wanted.retires(one.index))
    accounts = [*kept, *enrolments]
    return frozenset([*places(accounts, a_tokens), *managed(accounts)])


# What is missing ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Allowance:
    """A token that the guard may take, and what permits it."""

    place: Place
    token: Token
    permit: Callable[[int], OwnerCall]
    account: str = ""
    """The id of the sub-account whose it is; empty: the wallet's."""


async def permission_calls_missing(
    session: Session, snapshot: Snapshot, guard: Address, wanted: Wanted, needed: frozenset[Place]
) -> list[OwnerCall]:
    """The owner's own; whoever else holds an enrolled account permits it himself."""
    owner = session.portfolio.topology.owner
    calls: list[OwnerCall] = []
    allowed: list[_Allowance] = []
    for adapter in session.portfolio.topology.adapters:
        match adapter:
            case MorphoBlue():
                if Place(GuardProtocol.MORPHO, adapter.morpho, adapter.owner) not in needed:
                    continue
                is_authorised = interface("Morpho")["isAuthorized"]
                (result,) = await session.reader.aggregate(
                    [Call(adapter.morpho, is_authorised.encode(adapter.owner, guard))], snapshot.block
                )
                if not any(result.data):
                    calls.append(authorise_on_morpho(guard, adapter.morpho))
            case AaveV3():
                allowed += [_owners(owner, token, guard, approve_a_token) for token in adapter.a_tokens().values()]
                if any(one.holder == owner and adapter.wants_manager(one) for one in _of(snapshot, adapter.name)):
                    calls.append(approve_on_aave(guard, adapter.pool.address))
                specks = await specks_missing(session, snapshot.block, adapter, guard, owner)
                calls += [
                    leave_speck(guard, token)
                    for token in specks
                    if Place(GuardProtocol.WALLET, token.address, owner) in needed
                ]
            case EulerV2():
                allowed += _of_sub_accounts(adapter, guard)
            case VenusPool():
                allowed += [_owners(owner, token, guard, approve_v_token) for token in adapter.shares()]
            case Wallet():
                allowed += [_owners(owner, token, guard, approve) for token in adapter.held]
    # A wallet may list the shares of the first sub-account, which is the owner itself.
    once = {one.place: one for one in allowed if one.place in needed}
    return calls + await _allowance_calls(session, snapshot, guard, list(once.values()), wanted)


def _owners(
    owner: Address, token: Token, guard: Address, permit: Callable[[Address, Token, int], OwnerCall]
) -> _Allowance:
    return _Allowance(Place(GuardProtocol.WALLET, token.address, owner), token, partial(permit, guard, token))


def _of_sub_accounts(adapter: EulerV2, guard: Address) -> Iterator[_Allowance]:
    for position in adapter.topology.positions:
        for vault in adapter.topology.vaults:
            place = shares_place(adapter.evc, vault.address, adapter.owner, position.number)
            permit = partial(approve_shares, guard, place, vault.share, position.label)
            yield _Allowance(place, vault.share, permit, str(position.id))


def _of(snapshot: Snapshot, protocol: str) -> Iterator[Subaccount]:
    return (subaccount for subaccount in snapshot.subaccounts if subaccount.id.protocol == protocol)


async def _allowance_calls(
    session: Session, snapshot: Snapshot, guard: Address, allowed: Sequence[_Allowance], wanted: Wanted
) -> list[OwnerCall]:
    erc20 = interface("ERC20")
    reads = [
        Call(one.token.address, data)
        for one in allowed
        for data in (erc20["allowance"].encode(one.place.holder, guard), erc20["balanceOf"].encode(one.place.holder))
    ]
    results = await session.reader.aggregate(reads, snapshot.block)
    asked = _asked(wanted.allowances, allowed)
    calls: list[OwnerCall] = []
    for one, of_allowance, of_balance in zip(allowed, results[::2], results[1::2], strict=True):
        allowance, balance = int.from_bytes(of_allowance.data), int.from_bytes(of_balance.data)
        # An allowance that is there is the owner's decision, whatever the balance has become.
        amount = raw_amount(asked[one.place], one.token) if one.place in asked else allowance or balance
        if amount != allowance:
            calls.append(one.permit(amount))
    return calls


def _asked(wanted: Mapping[str, Decimal], allowed: Sequence[_Allowance]) -> dict[Place, Decimal]:
    """A name without an account means every account that holds the token. Raises ConfigError for one that is none."""
    found: dict[Place, Decimal] = {}
    for name, amount in sorted(wanted.items(), key=lambda one: "/" in one[0]):
        account, _, symbol = name.rpartition("/")
        theirs = [one for one in allowed if not account or one.account == account.lower()]
        if not theirs and account:
            known = ", ".join(dict.fromkeys(one.account for one in allowed if one.account)) or "none"
            raise ConfigError(
                f"{OPTION} names {account!r}, which is no enrolled sub-account of Euler; there are {known}."
            )
        token = named_token(symbol, (one.token for one in theirs), OPTION)
        found |= {one.place: amount for one in theirs if one.token == token}
    return found


# What is too much -----------------------------------------------------------------------------------------------------


async def revocation_calls(session: Session, snapshot: Snapshot, needed: frozenset[Place]) -> list[OwnerCall]:
    """What the owner once permitted and no account needs; another holder's is his own to take back."""
    guard = snapshot.guard
    if guard is None:
        return []
    portfolio = session.portfolio
    tokens = {token.address: token for token in portfolio.tokens()}
    a_tokens = {known: token.address for known, token in portfolio.a_tokens().items()}
    asked = [
        place
        for place in questions(guard, tokens, a_tokens)
        if place not in needed and place.is_permitted_by(guard.owner)
    ]
    results = await session.reader.aggregate(permission_calls(guard, asked), snapshot.block)
    found = decode_permissions(guard, asked, results, a_tokens)
    return [_revocation(guard.address, guard.owner, one.place, tokens) for one in found]


def _revocation(guard: Address, owner: Address, place: Place, tokens: Mapping[Address, Token]) -> OwnerCall:
    token = tokens.get(place.contract) or Token(place.contract, short(place.contract), 0)
    match place.kind:
        case GuardProtocol.MORPHO:
            return authorise_on_morpho(guard, place.contract, is_authorised=False)
        case GuardProtocol.AAVE:
            return approve_on_aave(guard, place.contract, is_approved=False)
        case GuardProtocol.EULER:
            return approve_shares(guard, place, token, f"euler {number_of(owner, place.holder)}", 0)
        case GuardProtocol.WALLET | GuardProtocol.VENUS:
            return approve(guard, token, 0)
