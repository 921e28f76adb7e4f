"""What is missing between the chain and what the configuration says: the owner's transactions, in their order.

And what is too much: a permission that no enrolled account needs any more is taken back.
"""

from collections.abc import Sequence
from dataclasses import replace

from eth_utils.crypto import keccak

from keeper.commands.permitting import needed_places, permission_calls_missing, revocation_calls
from keeper.commands.wanted import Wanted, by_token, raw_amount
from keeper.core.snapshot import GuardAccount, Snapshot, Token
from keeper.core.units import Address
from keeper.errors import ConfigError
from keeper.protocols.abi import interface
from keeper.protocols.base import Call, Enrolment
from keeper.protocols.guard_setup import (
    Cap,
    Limits,
    OwnerCall,
    deploy_guard,
    deploy_library,
    enrol,
    guard_address,
    guard_code_hash,
    library_address,
    retire,
    set_caps,
    set_keeper,
    set_policy,
    unpause,
)
from keeper.protocols.permissions import LISTS_FORMS
from keeper.session import Session

DEFAULT_WINDOW_SECONDS = 86_400
"""Without a cap of the owner's own: what the wallet holds of a token now may be moved once a day."""


async def missing_calls(session: Session, wanted: Wanted) -> list[OwnerCall]:
    """The owner's transactions that bring the chain to what the configuration says, in the order to send them.

    Raises ConfigError when something else than this owner's guard is at the guard's address.
    """
    config = session.config
    owner = config.guard.owner
    guard = config.guard.address or guard_address(owner)
    keeper = wanted.keeper or session.portfolio.topology.keeper
    configured = session.portfolio.topology.keeper
    if configured is not None and keeper != configured:
        raise ConfigError(
            f"--keeper is {keeper}, and [signer] signs as {configured}, which the guard would refuse; leave --keeper "
            "out, or name that key's keystore in [signer]."
        )
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
        calls = await _library_calls(session, snapshot)
    else:
        if guard != guard_address(owner):
            raise ConfigError(
                f"There is nothing at [guard] address {guard}; leave it out to have the guard at "
                f"{guard_address(owner)}."
            )
        calls = [*await _library_calls(session, snapshot), deploy_guard(owner)]
    calls += _retirement_calls(snapshot, guard, wanted)
    enrolments = _kept_enrolments(session, snapshot, wanted)
    calls += _enrolment_calls(session, snapshot, guard, enrolments)
    calls += await _cap_calls(session, snapshot, guard, wanted)
    if snapshot.guard is None or snapshot.guard.keeper != keeper:
        calls.append(set_keeper(guard, keeper))
    if wanted.is_unpaused and snapshot.guard is not None and snapshot.guard.is_paused:
        calls.append(unpause(guard))
    needed = needed_places(session, snapshot, enrolments, wanted)
    calls += await permission_calls_missing(session, snapshot, guard, wanted, needed)
    return calls + await revocation_calls(session, snapshot, needed)


def _require_own_guard(guard: Address, owner: Address, code: bytes, snapshot: Snapshot) -> None:
    if snapshot.guard is None:
        raise ConfigError(f"{(snapshot.guard_problem or 'the guard cannot be read').capitalize()}.")
    if keccak(code) != guard_code_hash(owner):
        raise ConfigError(
            f"The code at {guard} is not the guard that this keeper was built with; give it no permission, and "
            "correct [guard] address."
        )


async def _library_calls(session: Session, snapshot: Snapshot) -> list[OwnerCall]:
    """What the guard's code is linked with, where no guard of the chain needed it before.

    Only one code can ever be at its address: the address is made of it.
    """
    return [] if await session.rpc.code(library_address(), snapshot.block.hash) else [deploy_library()]


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
        if (account.is_live or account.awaits_holder) and wanted.retires(account.index)
    }
    if not retired:
        return []
    call = retire(guard, retired)
    if retired.keys() & label_of.keys():
        reminder = "What keeper.toml still names, the next `keeper setup` enrols anew."
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
    accounts = () if snapshot.guard is None else snapshot.guard.accounts
    # Whoever has not joined yet is enrolled all the same, and a second time the guard would refuse it.
    known_as = {_identity(account): account for account in accounts if account.is_live or account.awaits_holder}
    new: list[tuple[Enrolment, Limits]] = []
    changed: list[OwnerCall] = []
    for enrolment in enrolments:
        limits = _limits(session, enrolment)
        known = known_as.get(_identity(enrolment))
        if known is None:
            new.append((enrolment, limits))
        elif not _has_all(known, enrolment):
            # The tokens of an enrolment are fixed; indexes are never reused, so it is enrolled anew.
            changed.append(retire(guard, {known.index: f"{enrolment.label} with its old list of tokens"}))
            new.append((enrolment, limits))
        elif Limits(known.rescue_ceiling, known.min_after, known.max_after, known.hard_floor) != limits:
            changed.append(set_policy(guard, known.index, enrolment, limits))
    return changed + ([enrol(guard, new)] if new else [])


def _has_all(known: GuardAccount, enrolment: Enrolment) -> bool:
    """An enrolment on Euler lists vaults, one on Venus markets, every other one the tokens themselves."""
    listed = known.forms if enrolment.protocol in LISTS_FORMS else known.assets
    return set(enrolment.assets) <= set(listed)


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
            if line.token.address not in session.portfolio.underlyings:
                continue  # shares of a second vault, which do not move
            tokens[line.token.address] = line.token
            held[line.token.address] = held.get(line.token.address, 0) + line.amount_raw
    asked = by_token(wanted.caps, tokens.values(), "--cap")
    current = await _current_caps(session, snapshot, guard, list(tokens))
    caps: list[Cap] = []
    for address, token in tokens.items():
        if address in asked:
            amount, window = asked[address]
            cap = Cap(token, raw_amount(amount, token), window)
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
