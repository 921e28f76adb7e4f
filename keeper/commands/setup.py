"""`keeper setup`: the owner's transactions that are still missing, and what each of them allows."""

import asyncio
import json
import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path

from pydantic_core import PydanticCustomError
from rich.console import RenderableType

from keeper.chain.owner import impersonated, open_owner_keystore, send_all, unlocked
from keeper.commands.answer import Answer, Verbatim
from keeper.commands.holders import holders_calls
from keeper.commands.missing import missing_calls
from keeper.commands.owner_calls import SIGN_THESE, Form, call_document, cast_lines, list_lines, safe_document
from keeper.commands.wanted import Wanted
from keeper.config import load_config
from keeper.config_values import config_folder, parse_address, parse_seconds, parse_secret
from keeper.core.units import Address
from keeper.documents import Document
from keeper.errors import ChainError, ConfigError
from keeper.protocols.guard_setup import OwnerCall, guard_address
from keeper.session import Session, open_session

NOTHING_WAS_SENT = f"Nothing was sent. {SIGN_THESE}, --send sends them with the owner's keystore."

PAUSED = "The guard is paused, so nothing can move: `keeper setup --unpause` adds the transaction that ends it."

_CAP = re.compile(r"([^=]+)=([0-9_.]+)/([0-9]+[a-z]+)")
_ALLOWANCE = re.compile(r"([^=]+)=([0-9_.]+)")


def setup(
    config_path: Path,
    *,
    keeper: str | None,
    unpaused: bool,
    form: Form,
    caps: Sequence[str],
    allowances: Sequence[str],
    retired: Sequence[str],
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
        None if "all" in retired else frozenset(map(_index, retired)),
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
        of_others = await holders_calls(session)
        at_rest = (await session.look()).guard
    is_paused = at_rest is not None and at_rest.is_paused
    guard = config.guard.address or guard_address(owner)
    document: Document = {
        "chain_id": config.chain.chain_id,
        "owner": owner,
        "guard": guard,
        "transactions": [call_document(call) for call in calls],
        "sent": hashes,
        "guard_paused": is_paused,
        "of_other_holders": [call_document(call) for call in of_others],
    }
    hint = PAUSED if is_paused and not wanted.is_unpaused else ""
    if form == "safe":
        safe = safe_document("Margin guard set-up", [*calls, *of_others], config.chain.chain_id, hint)
        return Answer([Verbatim(json.dumps(safe, indent=2))], safe)
    if form == "cast":
        paused = [f"# {hint}"] if hint else []
        return Answer([*(cast_lines([*calls, *of_others], owner) or ["# Nothing is missing."]), *paused], document)
    paused = ["", hint] if hint else []
    return Answer([*_list_lines(calls, guard, hashes), *paused, *_others_lines(of_others)], document)


async def _require_nothing_missing(session: Session, wanted: Wanted) -> None:
    """The chain is the proof. Raises ChainError when what was sent did not bring about what was wanted."""
    left = await missing_calls(session, wanted)
    if left:
        raise ChainError(
            f"Everything was sent and taken, and this is missing all the same: {left[0].says} Look at `keeper check`."
        )


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


def _index(text: str) -> int:
    if not text.isdecimal():
        raise ConfigError(f"--retire {text!r} is neither an account's number in the guard nor `all`.")
    return int(text)


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


# What it answers ------------------------------------------------------------------------------------------------------


def _list_lines(calls: Sequence[OwnerCall], guard: Address, hashes: Sequence[str]) -> list[RenderableType]:
    if not calls:
        return [f"Nothing is missing: the guard {guard} has everything that the configuration says."]
    lines = list_lines(calls, hashes)
    if hashes:
        return [*lines, "", "All of it took effect, and nothing is missing any more. `keeper check` looks at the rest."]
    return [*lines, "", NOTHING_WAS_SENT]


def _others_lines(calls: Sequence[OwnerCall]) -> list[RenderableType]:
    if not calls:
        return []
    return ["", "Not the owner's to send, but each holder's own:", *list_lines(calls)]
