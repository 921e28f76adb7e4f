"""What is missing between the chain and what the configuration says: the owner's transactions, in their order.

And what is too much: a permission that no enrolled account needs any more is taken back.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TypeVar

from eth_utils.crypto import keccak

from keeper.core.snapshot import GuardAccount, GuardProtocol, Snapshot, Subaccount, Token
from keeper.core.units import Address
from keeper.errors import ConfigError
from keeper.protocols.aave_v3 import AaveV3
from keeper.protocols.abi import interface, short
from keeper.protocols.base import Call, Enrolment
from keeper.protocols.guard_setup import (
    Cap,
    Limits,
    OwnerCall,
    approve,
    approve_a_token,
    approve_on_aave,
    authorise_on_morpho,
    deploy_guard,
    enrol,
    guard_address,
    guard_code_hash,
    retire,
    set_caps,
    set_keeper,
    set_policy,
    unpause,
)
from keeper.protocols.morpho_blue import MorphoBlue
from keeper.protocols.permissions import Place, decode_permissions, managed, permission_calls, places, questions
from keeper.protocols.wallet import Wallet
from keeper.session import Session

T = TypeVar("T")

DEFAULT_WINDOW_SECONDS = 86_400
"""Without a cap of the owner's own: what the wallet holds of a token now may be moved once a day."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the owner asked for on the command line, by token symbol or address."""

    keeper: Address | None
    is_unpaused: bool
    """Whether a pause of the guard is to be ended: the owner may have meant it, so only on request."""
    caps: Mapping[str, tuple[Decimal, int]]
    allowances: Mapping[str, Decimal]
    retired: frozenset[int] | None
    """Enrolment numbers of accounts to be taken out for good; None: of all of them."""

    def retires(self, index: int | None) -> bool:
        return index is not None and (self.retired is None or index in self.retired)


async def missing_calls(session: Session, wanted: Wanted) -> list[OwnerCall]:
    """The owner's transactions that bring the chain to what the configuration says, in the order to send them.

    Raises ConfigError when something else than this owner's guard is at the guard's address.
    """
    config = session.config
    owner = config.guard.owner
    guard = config.guard.address or guard_address(owner)
    keeper = wanted.keeper or session.portfolio.topology.keeper
    if keeper is None:
        raise ConfigError("No hot key is known: configure [signer], or name its address with --keeper.")
    if keeper == owner:
        raise ConfigError(
            "The hot key is the owner's own: make another one for the keeper, with nothing but gas money."
        )
    snapshot = await session.look()
    code = await session.rpc.code(guard, snapshot.block.hash)
    if code:
        _require_own_guard(guard, owner, code, snapshot)
        calls: list[OwnerCall] = []
    else:
        if guard != guard_address(owner):
            raise ConfigError(
                f"There is nothing at [guard] address {guard}; leave it out to have the guard at "
                f"{guard_address(owner)}."
            )
        calls = [deploy_guard(owner)]
    calls += _retirement_calls(snapshot, guard, wanted)
    enrolments = _kept_enrolments(session, snapshot, wanted)
    calls += _enrolment_calls(session, snapshot, guard, enrolments)
    calls += await _cap_calls(session, snapshot, guard, wanted)
    if snapshot.guard is None or snapshot.guard.keeper != keeper:
        calls.append(set_keeper(guard, keeper))
    if wanted.is_unpaused and snapshot.guard is not None and snapshot.guard.is_paused:
        calls.append(unpause(guard))
    needed = _needed_places(session, snapshot, enrolments, wanted)
    calls += await _permission_calls(session, snapshot, guard, wanted, needed)
    return calls + await _revocation_calls(session, snapshot, needed)


def _require_own_guard(guard: Address, owner: Address, code: bytes, snapshot: Snapshot) -> None:
    if snapshot.guard is None:
        raise ConfigError(f"{(snapshot.guard_problem or 'the guard cannot be read').capitalize()}.")
    if keccak(code) != guard_code_hash(owner):
        raise ConfigError(
            f"The code at {guard} is not the guard that this keeper was built with; give it no permission, and "
            "correct [guard] address."
        )


# Accounts -------------------------------------------------------------------------------------------------------------


def _retirement_calls(snapshot: Snapshot, guard: Address, wanted: Wanted) -> list[OwnerCall]:
    """Raises ConfigError for a number that no account ever had."""
    accounts = () if snapshot.guard is None else snapshot.guard.accounts
    for index in wanted.retired or ():
        if index >= len(accounts):
            raise ConfigError(f"--retire {index}: the guard has no account of that number; `keeper check` lists them.")
    label_of = {each.guard_index: each.label for each in snapshot.subaccounts}
    retired = {
        account.index: label_of.get(account.index, f"account number {account.index}")
        for account in accounts
        if account.is_live and wanted.retires(account.index)
    }
    if not retired:
        return []
    call = retire(guard, retired)
    if retired.keys() & label_of.keys():
        reminder = "Take it out of keeper.toml too, or the next `keeper setup` enrols it anew."
        call = replace(call, says=f"{call.says} {reminder}")
    return [call]


def _kept_enrolments(session: Session, snapshot: Snapshot, wanted: Wanted) -> list[Enrolment]:
    """What the configuration wants enrolled, but for what is to be retired now, or was a moment ago."""
    accounts = () if snapshot.guard is None else snapshot.guard.accounts
    retired = {_identity(account) for account in accounts if wanted.retires(account.index)}
    return [each for each in session.portfolio.enrolments() if _identity(each) not in retired]


def _identity(enrolled: Enrolment | GuardAccount) -> tuple[Address, Address, str]:
    """What no two live accounts of a guard have in common. Accounts._identity, contracts/src/Accounts.sol"""
    return enrolled.holder, enrolled.target, enrolled.key


def _enrolment_calls(
    session: Session, snapshot: Snapshot, guard: Address, enrolments: Sequence[Enrolment]
) -> list[OwnerCall]:
    index_of = {subaccount.id: subaccount.guard_index for subaccount in snapshot.subaccounts}
    new: list[tuple[Enrolment, Limits]] = []
    changed: list[OwnerCall] = []
    for enrolment in enrolments:
        limits = _limits(session, enrolment)
        index = index_of.get(enrolment.subaccount)
        if index is None:
            new.append((enrolment, limits))
            continue
        known = None if snapshot.guard is None else snapshot.guard.account(index)
        if known is not None and not set(enrolment.assets) <= set(known.assets) and enrolment.assets:
            # The tokens of an enrolment are fixed; indexes are never reused, so it is enrolled anew.
            changed.append(retire(guard, {index: f"{enrolment.label} with its old list of tokens"}))
            new.append((enrolment, limits))
        elif (
            known is not None
            and Limits(known.rescue_ceiling, known.min_after, known.max_after, known.hard_floor) != limits
        ):
            changed.append(set_policy(guard, index, enrolment, limits))
    return changed + ([enrol(guard, new)] if new else [])


def _limits(session: Session, enrolment: Enrolment) -> Limits:
    if enrolment.subaccount.protocol == "wallet":
        return Limits(0, 0, 0, 0)
    thresholds = session.policy.subaccounts[enrolment.subaccount].thresholds
    return Limits(thresholds.rescue_ceiling, thresholds.survive, thresholds.max_after, thresholds.hard_floor)


# Caps -----------------------------------------------------------------------------------------------------------------


async def _cap_calls(session: Session, snapshot: Snapshot, guard: Address, wanted: Wanted) -> list[OwnerCall]:
    held: dict[Address, int] = {}
    tokens: dict[Address, Token] = {}
    for subaccount in snapshot.subaccounts:
        for line in subaccount.collateral:
            tokens[line.token.address] = line.token
            held[line.token.address] = held.get(line.token.address, 0) + line.amount_raw
    asked = _by_token(wanted.caps, tokens.values(), "--cap")
    current = await _current_caps(session, snapshot, guard, list(tokens))
    caps: list[Cap] = []
    for address, token in tokens.items():
        if address in asked:
            amount, window = asked[address]
            cap = Cap(token, _raw(amount, token), window)
        elif current[address] == (0, 0) and held[address]:
            cap = Cap(token, held[address], DEFAULT_WINDOW_SECONDS)
        else:
            continue
        if current[address] != (cap.amount_raw, cap.window_seconds):
            caps.append(cap)
    return [set_caps(guard, caps)] if caps else []


async def _current_caps(
    session: Session, snapshot: Snapshot, guard: Address, tokens: Sequence[Address]
) -> dict[Address, tuple[int, int]]:
    if snapshot.guard is None:
        return dict.fromkeys(tokens, (0, 0))
    cap = interface("MarginGuard")["cap"]
    results = await session.reader.aggregate([Call(guard, cap.encode(token)) for token in tokens], snapshot.block)
    answers = [cap.decode(result.data) for result in results]
    return {token: (amount, window) for token, (amount, window) in zip(tokens, answers, strict=True)}


# Permissions ----------------------------------------------------------------------------------------------------------


def _needed_places(
    session: Session, snapshot: Snapshot, enrolments: Sequence[Enrolment], wanted: Wanted
) -> frozenset[Place]:
    """Where the guard needs a permission, or has a use for one, once everything else was sent."""
    enrolled = () if snapshot.guard is None else snapshot.guard.accounts
    a_tokens = {known: token.address for known, token in session.portfolio.a_tokens().items()}
    kept = (account for account in enrolled if account.is_live and not wanted.retires(account.index))
    accounts = [*kept, *enrolments]
    return frozenset([*places(accounts, a_tokens), *managed(accounts)])


async def _permission_calls(
    session: Session, snapshot: Snapshot, guard: Address, wanted: Wanted, needed: frozenset[Place]
) -> list[OwnerCall]:
    """The owner's own; whoever else holds an enrolled account permits it himself."""
    owner = session.portfolio.topology.owner
    calls: list[OwnerCall] = []
    allowed: list[Allowance] = []
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
                a_tokens = adapter.a_tokens().values()
                allowed += [(token, approve_a_token) for token in a_tokens if _is_needed(token, owner, needed)]
                if any(one.holder == owner and adapter.wants_manager(one) for one in _of(snapshot, adapter.name)):
                    calls.append(approve_on_aave(guard, adapter.pool.address))
            case Wallet():
                allowed += [(token, approve) for token in adapter.held if _is_needed(token, owner, needed)]
    return calls + await _allowance_calls(session, snapshot, guard, allowed, wanted)


Allowance = tuple[Token, Callable[[Address, Token, int], OwnerCall]]
"""A token that the guard may take, and what permits it."""


def _is_needed(token: Token, owner: Address, needed: frozenset[Place]) -> bool:
    return Place(GuardProtocol.WALLET, token.address, owner) in needed


def _of(snapshot: Snapshot, protocol: str) -> Iterator[Subaccount]:
    return (subaccount for subaccount in snapshot.subaccounts if subaccount.id.protocol == protocol)


async def _revocation_calls(session: Session, snapshot: Snapshot, needed: frozenset[Place]) -> list[OwnerCall]:
    """What the owner once permitted and no account needs; another holder's is his own to take back."""
    guard = snapshot.guard
    if guard is None:
        return []
    of_aave = session.portfolio.a_tokens()
    named = (token for adapter in session.portfolio.topology.adapters for token in adapter.tokens())
    tokens = {token.address: token for token in (*named, *of_aave.values())}
    a_tokens = {known: token.address for known, token in of_aave.items()}
    asked = [
        place for place in questions(guard, tokens, a_tokens) if place not in needed and place.holder == guard.owner
    ]
    results = await session.reader.aggregate(permission_calls(guard, asked), snapshot.block)
    found = decode_permissions(guard, asked, results, a_tokens)
    return [_revocation(guard.address, one.place, tokens) for one in found]


def _revocation(guard: Address, place: Place, tokens: Mapping[Address, Token]) -> OwnerCall:
    match place.kind:
        case GuardProtocol.MORPHO:
            return authorise_on_morpho(guard, place.contract, is_authorised=False)
        case GuardProtocol.AAVE:
            return approve_on_aave(guard, place.contract, is_approved=False)
        case _:
            return approve(guard, tokens.get(place.contract) or Token(place.contract, short(place.contract), 0), 0)


async def _allowance_calls(
    session: Session, snapshot: Snapshot, guard: Address, allowed: Sequence[Allowance], wanted: Wanted
) -> list[OwnerCall]:
    erc20, owner = interface("ERC20"), session.portfolio.topology.owner
    reads = [
        Call(token.address, data)
        for token, _ in allowed
        for data in (erc20["allowance"].encode(owner, guard), erc20["balanceOf"].encode(owner))
    ]
    results = await session.reader.aggregate(reads, snapshot.block)
    asked = _by_token(wanted.allowances, [token for token, _ in allowed], "--allowance")
    calls: list[OwnerCall] = []
    for (token, permit), of_allowance, of_balance in zip(allowed, results[::2], results[1::2], strict=True):
        allowance, balance = int.from_bytes(of_allowance.data), int.from_bytes(of_balance.data)
        # An allowance that is there is the owner's decision, whatever the balance has become.
        amount = _raw(asked[token.address], token) if token.address in asked else allowance or balance
        if amount != allowance:
            calls.append(permit(guard, token, amount))
    return calls


def _by_token(asked: Mapping[str, T], tokens: Iterable[Token], option: str) -> dict[Address, T]:
    """Raises ConfigError for a symbol or address that is none of the tokens'."""
    found: dict[Address, T] = {}
    known = list(tokens)
    for name, value in asked.items():
        matching = [token for token in known if name.lower() in (token.symbol.lower(), token.address)]
        if len(matching) != 1:
            there_are = ", ".join(token.symbol for token in known)
            raise ConfigError(f"{option} names {name!r}, which is not one of the wallet's tokens: {there_are}.")
        found[matching[0].address] = value
    return found


def _raw(amount: Decimal, token: Token) -> int:
    return int(amount.scaleb(token.decimals))
