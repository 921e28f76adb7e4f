"""`keeper check`: everything that must be right before the keeper can be relied on, one line each, with the fix.

Sends nothing. A line is fine, a warning (it works, and somebody should know) or a failure (it does not protect).
"""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from eth_utils.crypto import keccak
from rich.console import RenderableType
from rich.text import Text

from keeper.chain.signer import decrypt_keystore
from keeper.commands.answer import Answer
from keeper.config import Config, load_config
from keeper.core.economics import BATCH_GAS, NATIVE_RESCUE_GAS
from keeper.core.policy import disagreements
from keeper.core.snapshot import FreshnessUnverified, Snapshot, Stale, Token, Unknown
from keeper.core.units import Address
from keeper.documents import Document
from keeper.errors import ChainError, ConfigError, JournalError, KeeperError, ProtocolError
from keeper.journal_reader import open_reader
from keeper.pausing import Mode, PauseFile
from keeper.protocols.abi import ZERO_ADDRESS
from keeper.protocols.guard_setup import guard_address, guard_code_hash
from keeper.protocols.morpho_blue import MorphoBlue
from keeper.report import age_text, amount_text, name_of, number_text, reading_text, time_text
from keeper.session import Session, open_session

RESCUES_OF_GAS_MIN = 10
"""With less gas money than for so many rescues at twice today's fees, it is time to fill up."""


class Grade(Enum):
    FINE = "ok"
    WARNING = "warning"
    FAILURE = "FAILED"


STYLE = {Grade.FINE: "green", Grade.WARNING: "yellow", Grade.FAILURE: "bold red"}


@dataclass(frozen=True, slots=True)
class Finding:
    grade: Grade
    subject: str
    says: str
    fix: str = ""


def check(config_path: Path) -> Answer:
    """Exits 1 if a line is a failure."""
    config = load_config(config_path)
    findings = [Finding(Grade.FINE, "config", f"{config_path} is complete and in order"), *asyncio.run(_look(config))]
    has_failed = any(finding.grade is Grade.FAILURE for finding in findings)
    return Answer(
        [_line(finding) for finding in findings], [_document(finding) for finding in findings], int(has_failed)
    )


def _line(finding: Finding) -> RenderableType:
    line = Text(f"{finding.grade.value:8}", style=STYLE[finding.grade])
    line.append(f"{finding.subject}: {finding.says}", style="")
    if finding.fix:
        line.append(f"; {finding.fix}", style="")
    return line


def _document(finding: Finding) -> Document:
    return {"grade": finding.grade.name.lower(), "subject": finding.subject, "says": finding.says, "fix": finding.fix}


async def _look(config: Config) -> list[Finding]:
    findings = [*_signer(config), *_journal(config)]
    try:
        async with open_session(config) as session:
            snapshot = await session.look()
            findings += _node(config, snapshot)
            findings += await _codes(session, snapshot)
    except ChainError as fault:
        return [*findings, Finding(Grade.FAILURE, "node", str(fault))]
    except (ProtocolError, ConfigError) as fault:
        return [*findings, Finding(Grade.FAILURE, "positions", str(fault))]
    findings += _guard(session, snapshot)
    findings += _subaccounts(session, snapshot)
    findings += _allowances(snapshot)
    findings += _caps(snapshot)
    findings += _feeds(session, snapshot)
    return [*findings, *_gas(config, snapshot)]


def _signer(config: Config) -> Iterator[Finding]:
    if config.signer is None:
        yield Finding(Grade.WARNING, "signer", "none is configured: every run is a dry run", "add [signer]")
        return
    try:
        address = decrypt_keystore(config.signer.keystore, config.signer.password.reveal()).address
    except KeeperError as fault:
        yield Finding(Grade.FAILURE, "signer", str(fault))
        return
    yield Finding(Grade.FINE, "signer", f"the keystore opens, its address is {address}")


def _journal(config: Config) -> Iterator[Finding]:
    path = config.journal.path
    mode = PauseFile(path).read()
    if mode is not Mode.ACTIVE:
        yield Finding(Grade.WARNING, "mode", f"the keeper is {mode.value}", "`keeper resume` undoes it")
    if not path.exists():
        yield Finding(Grade.FINE, "journal", f"{path} does not exist yet; `keeper run` makes it")
        return
    try:
        open_reader(path).close()
    except JournalError as fault:
        yield Finding(Grade.FAILURE, "journal", str(fault))
        return
    yield Finding(Grade.FINE, "journal", f"{path} can be read")


def _node(config: Config, snapshot: Snapshot) -> Iterator[Finding]:
    block = snapshot.block
    now = int(time.time())
    says = f"chain {snapshot.chain_id}, block {block.number}, {time_text(block.timestamp, now)}"
    if now - block.timestamp > config.chain.head_age_max:
        yield Finding(
            Grade.FAILURE, "node", says, "its newest block is too old; use a node that is in step with the chain"
        )
    else:
        yield Finding(Grade.FINE, "node", says)


async def _codes(session: Session, snapshot: Snapshot) -> list[Finding]:
    """Whether there is code at every address that is called, and the guard's is the one that was built with this."""
    owner = session.config.guard.owner
    guard = session.config.guard.address or guard_address(owner)
    code = await session.rpc.code(guard, snapshot.block.hash)
    findings: list[Finding] = []
    if not code:
        findings.append(Finding(Grade.FAILURE, "guard", f"there is no code at {guard}", "`keeper setup` deploys it"))
    elif keccak(code) != guard_code_hash(owner):
        findings.append(
            Finding(
                Grade.FAILURE,
                "guard",
                f"the code at {guard} (hash 0x{keccak(code).hex()}) is not this keeper's guard for {owner} "
                f"(hash 0x{guard_code_hash(owner).hex()})",
                "give it no permission, take back those that it has, and correct [guard]",
            )
        )
    else:
        findings.append(
            Finding(Grade.FINE, "guard", f"the code at {guard} is the guard's, hash 0x{keccak(code).hex()}")
        )
    for adapter in session.portfolio.topology.adapters:
        if isinstance(adapter, MorphoBlue):
            code = await session.rpc.code(adapter.morpho, snapshot.block.hash)
            says = f"Morpho at {adapter.morpho} has code with hash 0x{keccak(code).hex()}"
            findings.append(
                Finding(Grade.FINE, "morpho", says)
                if code
                else Finding(
                    Grade.FAILURE, "morpho", f"there is no code at {adapter.morpho}", "correct [[protocols]] address"
                )
            )
    return findings


def _guard(session: Session, snapshot: Snapshot) -> Iterator[Finding]:
    guard = snapshot.guard
    if guard is None:
        yield Finding(Grade.FAILURE, "guard", snapshot.guard_problem or "it could not be read")
        return
    hot_key = session.portfolio.topology.keeper
    if guard.is_paused:
        yield Finding(Grade.FAILURE, "guard", "it is paused", "the owner sends unpause")
    if guard.keeper == ZERO_ADDRESS:
        yield Finding(Grade.FAILURE, "guard", "it has no keeper", "the owner sends setKeeper (`keeper setup`)")
    elif hot_key is not None and guard.keeper != hot_key:
        yield Finding(
            Grade.FAILURE,
            "guard",
            f"its keeper is {guard.keeper} and the hot key here is {hot_key}",
            "the owner sends setKeeper (`keeper setup`), or another keystore is configured",
        )
    else:
        yield Finding(Grade.FINE, "guard", f"its owner is {guard.owner}, its keeper {guard.keeper}")
    for each in disagreements(session.policy, guard, snapshot.subaccounts):
        yield Finding(Grade.WARNING, "policy", str(each))


def _subaccounts(session: Session, snapshot: Snapshot) -> Iterator[Finding]:
    for subaccount in snapshot.subaccounts:
        name = name_of(subaccount)
        if isinstance(subaccount.reading, Unknown):
            yield Finding(Grade.FAILURE, name, f"it cannot be read: {subaccount.reading.reason}")
        elif subaccount.guard_index is None:
            grade = Grade.FAILURE if subaccount.has_debt else Grade.WARNING
            yield Finding(grade, name, "it is not enrolled in the guard", "`keeper setup` enrols it")
        elif subaccount.cannot_give is not None:
            yield Finding(Grade.FAILURE, name, f"it cannot give: {subaccount.cannot_give}")
        elif isinstance(subaccount.reading, Stale | FreshnessUnverified):
            is_accepted = session.policy.subaccounts[subaccount.id].accept_unchecked_age
            grade = Grade.WARNING if isinstance(subaccount.reading, FreshnessUnverified) else Grade.FAILURE
            fix = "" if is_accepted else 'configure the feed\'s heartbeat, or accept it with oracle_age = "unchecked"'
            yield Finding(grade, name, reading_text(subaccount.reading), fix if grade is Grade.WARNING else "")
        else:
            yield Finding(Grade.FINE, name, f"enrolled as number {subaccount.guard_index}, permitted and read")


def _allowances(snapshot: Snapshot) -> Iterator[Finding]:
    for subaccount in snapshot.subaccounts:
        if subaccount.id.protocol != "wallet":
            continue
        for line in subaccount.collateral:
            available = amount_text(line.movable_raw_max, line.token)
            if line.amount_raw and not line.movable_raw_max:
                yield Finding(
                    Grade.FAILURE,
                    f"wallet {line.token.symbol}",
                    f"nothing of {amount_text(line.amount_raw, line.token)} may be taken",
                    "approve the guard (`keeper setup`)",
                )
            else:
                yield Finding(
                    Grade.FINE, f"wallet {line.token.symbol}", f"{available} may be taken before the allowance runs out"
                )
        for note in subaccount.notes:
            yield Finding(Grade.WARNING, "wallet", note)


def _caps(snapshot: Snapshot) -> Iterator[Finding]:
    guard = snapshot.guard
    if guard is None:
        return
    for address, token in _tokens(snapshot).items():
        left = guard.remaining_cap_raw.get(address, 0)
        if left:
            yield Finding(
                Grade.FINE, f"cap {token.symbol}", f"{amount_text(left, token)} may still move in this window"
            )
        else:
            yield Finding(
                Grade.FAILURE,
                f"cap {token.symbol}",
                "nothing may move: no cap is set, or it is used up",
                "the owner sends setCaps (`keeper setup --cap`), or the window passes",
            )


def _tokens(snapshot: Snapshot) -> dict[Address, Token]:
    return {line.token.address: line.token for each in snapshot.subaccounts for line in each.collateral}


def _feeds(session: Session, snapshot: Snapshot) -> Iterator[Finding]:
    now = snapshot.block.timestamp
    slack = session.config.prices.heartbeat_slack
    for feed in snapshot.feeds:
        says = f"{number_text(feed.answer / 10**feed.decimals)}, {age_text(now - feed.updated_at)} old"
        if feed.answer <= 0:
            yield Finding(Grade.FAILURE, f"feed {feed.name}", f"it answers {feed.answer}")
        elif feed.heartbeat_seconds is None:
            yield Finding(
                Grade.WARNING, f"feed {feed.name}", f"{says}; its heartbeat is not known", "add it to [[prices.feeds]]"
            )
        elif now - feed.updated_at > feed.heartbeat_seconds + slack:
            yield Finding(
                Grade.FAILURE, f"feed {feed.name}", f"{says}; its heartbeat is {age_text(feed.heartbeat_seconds)}"
            )
        else:
            yield Finding(Grade.FINE, f"feed {feed.name}", says)
    if snapshot.usd_per_native is None:
        yield Finding(
            Grade.WARNING, "prices", "the native coin has no price in USD, so gas is not weighed", "set [prices] native"
        )
    units = {each.unit.address: each.unit for each in snapshot.subaccounts if each.unit is not None and each.has_debt}
    for address, unit in units.items():
        if address not in snapshot.usd_per_unit:
            yield Finding(
                Grade.WARNING,
                "prices",
                f"{unit.symbol} has no price in USD, so losses are compared by share only",
                "add it to [prices] usd",
            )


def _gas(config: Config, snapshot: Snapshot) -> Iterator[Finding]:
    balance = snapshot.keeper_balance_wei
    if balance is None:
        return
    price = 2 * snapshot.block.base_fee_wei + config.fees.tip
    rescues = balance // ((BATCH_GAS + NATIVE_RESCUE_GAS) * price)
    says = f"the hot key has {balance / 10**18:.4g} for gas, enough for about {rescues:,} rescues at twice today's fees"
    if rescues >= RESCUES_OF_GAS_MIN:
        yield Finding(Grade.FINE, "gas", says)
    else:
        yield Finding(Grade.FAILURE if not rescues else Grade.WARNING, "gas", says, "send it some")
