"""`keeper setup`: the owner's transactions that are still missing, and what each of them allows."""

import asyncio
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal, TypeVar

from eth_utils.crypto import keccak
from pydantic_core import PydanticCustomError
from rich.console import RenderableType

from keeper.chain.owner import impersonated, open_owner_keystore, send_all, unlocked
from keeper.commands.answer import Answer, Verbatim
from keeper.config import load_config
from keeper.config_values import config_folder, parse_address, parse_seconds, parse_secret
from keeper.core.snapshot import Snapshot, Token
from keeper.core.units import Address
from keeper.documents import Document
from keeper.errors import ChainError, ConfigError
from keeper.protocols.abi import interface
from keeper.protocols.base import Call, Enrolment
from keeper.protocols.guard_setup import (
    Cap,
    Limits,
    OwnerCall,
    approve,
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
from keeper.protocols.wallet import Wallet
from keeper.session import Session, open_session

Form = Literal["list", "safe", "cast"]
T = TypeVar("T")

DEFAULT_WINDOW_SECONDS = 86_400
"""Without a cap of the owner's own: what the wallet holds of a token now may be moved once a day."""

NOTHING_WAS_SENT = (
    "Nothing was sent. Sign these with the owner's key: --form safe prints them for the Safe Transaction Builder, "
    "--form cast as `cast send` lines, --send sends them with the owner's keystore."
)

_CAP = re.compile(r"([^=]+)=([0-9_.]+)/([0-9]+[a-z]+)")
_ALLOWANCE = re.compile(r"([^=]+)=([0-9_.]+)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the owner asked for on the command line, by token symbol or address."""

    keeper: Address | None
    is_unpaused: bool
    """Whether a pause of the guard is to be ended: the owner may have meant it, so only on request."""
    caps: Mapping[str, tuple[Decimal, int]]
    allowances: Mapping[str, Decimal]


def setup(
    config_path: Path,
    *,
    keeper: str | None,
    unpaused: bool,
    form: Form,
    caps: Sequence[str],
    allowances: Sequence[str],
    send: bool,
    owner_keystore: Path | None,
    owner_password: str | None,
    impersonate: bool,
) -> Answer:
    wanted = Wanted(
        None if keeper is None else _address(keeper, "--keeper"),
        unpaused,
        dict(map(_cap, caps)),
        dict(map(_allowance, allowances)),
    )
    if send and not impersonate and (owner_keystore is None or owner_password is None):
        raise ConfigError("--send needs --owner-keystore and --owner-password, or --impersonate on a local chain.")
    return asyncio.run(_setup(config_path, wanted, form, send, owner_keystore, owner_password, impersonate))


async def _setup(
    config_path: Path,
    wanted: Wanted,
    form: Form,
    send: bool,
    owner_keystore: Path | None,
    owner_password: str | None,
    impersonate: bool,
) -> Answer:
    config = load_config(config_path)
    owner = config.guard.owner
    async with open_session(config) as session:
        calls = await missing_calls(session, wanted)
        hashes: list[str] = []
        if send and calls:
            if impersonate:
                sender = await impersonated(session.rpc, owner)
            else:
                account = open_owner_keystore(owner_keystore or Path(), _password(owner_password), owner)
                sender = await unlocked(session.rpc, account, config.chain.chain_id, config.fees.tip)
            hashes = await send_all(sender, calls)
            await _require_nothing_missing(session, wanted)
    guard = config.guard.address or guard_address(owner)
    document: Document = {
        "chain_id": config.chain.chain_id,
        "owner": owner,
        "guard": guard,
        "transactions": [_call_document(call) for call in calls],
        "sent": hashes,
    }
    if form == "safe":
        safe = _safe_document(calls, config.chain.chain_id)
        return Answer([Verbatim(json.dumps(safe, indent=2))], safe)
    parts = _cast_lines(calls, owner) if form == "cast" else _list_lines(calls, guard, hashes)
    return Answer(parts, document)


async def _require_nothing_missing(session: Session, wanted: Wanted) -> None:
    """The chain is the proof. Raises ChainError when what was sent did not bring about what was wanted."""
    left = await missing_calls(session, wanted)
    if left:
        raise ChainError(
            f"Everything was sent and taken, and this is missing all the same: {left[0].says} Look at `keeper check`."
        )


# What is missing ------------------------------------------------------------------------------------------------------


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
    calls += _enrolment_calls(session, snapshot, guard)
    calls += await _cap_calls(session, snapshot, guard, wanted)
    if snapshot.guard is None or snapshot.guard.keeper != keeper:
        calls.append(set_keeper(guard, keeper))
    if wanted.is_unpaused and snapshot.guard is not None and snapshot.guard.is_paused:
        calls.append(unpause(guard))
    return calls + await _permission_calls(session, snapshot, guard, wanted)


def _require_own_guard(guard: Address, owner: Address, code: bytes, snapshot: Snapshot) -> None:
    if snapshot.guard is None:
        raise ConfigError(f"{(snapshot.guard_problem or 'the guard cannot be read').capitalize()}.")
    if keccak(code) != guard_code_hash(owner):
        raise ConfigError(
            f"The code at {guard} is not the guard that this keeper was built with; give it no permission, and "
            "correct [guard] address."
        )


def _enrolment_calls(session: Session, snapshot: Snapshot, guard: Address) -> list[OwnerCall]:
    index_of = {subaccount.id: subaccount.guard_index for subaccount in snapshot.subaccounts}
    new: list[tuple[Enrolment, Limits]] = []
    changed: list[OwnerCall] = []
    for enrolment in session.portfolio.enrolments():
        limits = _limits(session, enrolment)
        index = index_of.get(enrolment.subaccount)
        if index is None:
            new.append((enrolment, limits))
            continue
        known = None if snapshot.guard is None else snapshot.guard.account(index)
        if known is not None and not set(enrolment.assets) <= set(known.assets) and enrolment.assets:
            # The tokens of an enrolment are fixed; indexes are never reused, so it is enrolled anew.
            changed.append(retire(guard, index, f"{enrolment.label} with its old list of tokens"))
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


async def _permission_calls(session: Session, snapshot: Snapshot, guard: Address, wanted: Wanted) -> list[OwnerCall]:
    calls: list[OwnerCall] = []
    for adapter in session.portfolio.topology.adapters:
        match adapter:
            case MorphoBlue():
                is_authorised = interface("Morpho")["isAuthorized"]
                (result,) = await session.reader.aggregate(
                    [Call(adapter.morpho, is_authorised.encode(adapter.owner, guard))], snapshot.block
                )
                if not any(result.data):
                    calls.append(authorise_on_morpho(guard, adapter.morpho))
            case Wallet():
                calls += await _allowance_calls(session, snapshot, guard, adapter, wanted)
    return calls


async def _allowance_calls(
    session: Session, snapshot: Snapshot, guard: Address, wallet: Wallet, wanted: Wanted
) -> list[OwnerCall]:
    erc20 = interface("ERC20")
    reads = [
        Call(token.address, data)
        for token in wallet.held
        for data in (erc20["allowance"].encode(wallet.owner, guard), erc20["balanceOf"].encode(wallet.owner))
    ]
    results = await session.reader.aggregate(reads, snapshot.block)
    asked = _by_token(wanted.allowances, wallet.held, "--allowance")
    calls: list[OwnerCall] = []
    for token, of_allowance, of_balance in zip(wallet.held, results[::2], results[1::2], strict=True):
        allowance, balance = int.from_bytes(of_allowance.data), int.from_bytes(of_balance.data)
        # An allowance that is there is the owner's decision, whatever the balance has become.
        amount = _raw(asked[token.address], token) if token.address in asked else allowance or balance
        if amount != allowance:
            calls.append(approve(guard, token, amount))
    return calls


# What the owner typed -------------------------------------------------------------------------------------------------


def _address(text: str, where: str) -> Address:
    try:
        return parse_address(text)
    except ValueError as problem:
        raise ConfigError(f"{where} is {text!r}: {problem}.") from None


def _password(reference: str | None) -> str:
    """Relative to the folder that the owner is in. Raises ConfigError when it is missing."""
    token = config_folder.set(Path.cwd())
    try:
        return parse_secret(reference).reveal()
    except PydanticCustomError:
        raise ConfigError(
            "--owner-password takes a reference, env:NAME or file:PATH: others can read what stands on a command line."
        ) from None
    finally:
        config_folder.reset(token)


def _cap(text: str) -> tuple[str, tuple[Decimal, int]]:
    match = _CAP.fullmatch(text.replace(" ", ""))
    if match is None:
        raise ConfigError(f"--cap {text!r} is not of the form WETH=50/1d.")
    try:
        amount, window = Decimal(match[2]), parse_seconds(match[3])
    except (ValueError, InvalidOperation):
        raise ConfigError(f"--cap {text!r} is not of the form WETH=50/1d.") from None
    if window == 0:
        raise ConfigError(f"--cap {text!r} has no window: the guard refuses it, and it would limit nothing.")
    return match[1], (amount, window)


def _allowance(text: str) -> tuple[str, Decimal]:
    match = _ALLOWANCE.fullmatch(text.replace(" ", ""))
    try:
        if match is not None:
            return match[1], Decimal(match[2])
    except InvalidOperation:
        pass
    raise ConfigError(f"--allowance {text!r} is not of the form WETH=20.")


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


# What it answers ------------------------------------------------------------------------------------------------------


def _call_document(call: OwnerCall) -> Document:
    return {"to": call.to, "data": f"0x{call.data.hex()}", "value_wei": str(call.value_wei), "says": call.says}


def _safe_document(calls: Sequence[OwnerCall], chain_id: int) -> Document:
    """The Safe Transaction Builder's batch file, version 1.0."""
    return {
        "version": "1.0",
        "chainId": str(chain_id),
        "meta": {"name": "Margin guard set-up", "description": " ".join(call.says for call in calls)},
        "transactions": [
            {
                "to": call.to,
                "value": str(call.value_wei),
                "data": f"0x{call.data.hex()}",
                "contractMethod": None,
                "contractInputsValues": None,
            }
            for call in calls
        ],
    }


def _cast_lines(calls: Sequence[OwnerCall], owner: Address) -> list[RenderableType]:
    lines: list[RenderableType] = []
    for call in calls:
        lines += [
            Verbatim(f"# {call.says}"),
            Verbatim(f"cast send --rpc-url $ETH_RPC_URL --from {owner} {call.to} 0x{call.data.hex()}"),
        ]
    return lines or ["# Nothing is missing."]


def _list_lines(calls: Sequence[OwnerCall], guard: Address, hashes: Sequence[str]) -> list[RenderableType]:
    if not calls:
        return [f"Nothing is missing: the guard {guard} has everything that the configuration says."]
    lines: list[RenderableType] = []
    for number, call in enumerate(calls, 1):
        lines += [f"{number}. {call.says}", f"   to {call.to}, {len(call.data)} bytes of data"]
        if hashes:
            lines.append(f"   sent: {hashes[number - 1]}")
    if hashes:
        return [*lines, "", "All of it took effect, and nothing is missing any more. `keeper check` looks at the rest."]
    return [
        *lines,
        "",
        NOTHING_WAS_SENT,
    ]
