"""`keeper check`: everything that must be right before the keeper can be relied on, one line each, with the fix.

Sends nothing. A line is fine, a warning (it works, and somebody should know) or a failure (it does not protect).
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from eth_utils.crypto import keccak
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from keeper.chain.signer import decrypt_keystore
from keeper.commands.answer import Answer
from keeper.config import Config, load_config
from keeper.control import ask_daemon
from keeper.core.economics import BATCH_GAS, NATIVE_RESCUE_GAS
from keeper.core.policy import disagreements
from keeper.core.snapshot import FreshnessUnverified, Snapshot, Stale, Subaccount, Token, Unknown
from keeper.core.units import Address
from keeper.documents import Document
from keeper.errors import ChainError, ConfigError, JournalError, KeeperError, ProtocolError
from keeper.exposure import exposure_document, grants, worst_cases
from keeper.journal_reader import open_reader
from keeper.pausing import Mode, PauseFile
from keeper.protocols.abi import ZERO_ADDRESS, interface
from keeper.protocols.base import Call
from keeper.protocols.guard_setup import guard_address, guard_code_hash
from keeper.protocols.morpho_blue import MorphoBlue
from keeper.protocols.wallet import Wallet
from keeper.report import age_text, amount_text, counted, number_text, reading_text, short, time_text
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
    subaccount: str = ""
    """The whole id, for a finding about one."""


def check(config_path: Path) -> Answer:
    """Exits 1 if a line is a failure."""
    config = load_config(config_path)
    looked, exposure = asyncio.run(_look(config))
    findings = [Finding(Grade.FINE, "config", f"{config_path} is complete and in order"), *looked]
    has_failed = any(finding.grade is Grade.FAILURE for finding in findings)
    document = {
        "ok": not has_failed,
        "findings": [_document(finding) for finding in findings],
        "exposure": None if exposure is None else exposure.document,
    }
    exposed: Sequence[str] = () if exposure is None else exposure.lines
    parts: list[RenderableType] = [_table(findings), *exposed, "", _summary(findings)]
    return Answer(parts, document, int(has_failed))


@dataclass(frozen=True, slots=True)
class Exposure:
    """What the guard may touch, and what a stolen hot key could do with it."""

    lines: Sequence[str]
    document: Document


async def _exposure(session: Session, snapshot: Snapshot) -> Exposure | None:
    """None without a guard: then nothing was granted to it."""
    guard = snapshot.guard
    if guard is None:
        return None
    cap = interface("MarginGuard")["cap"]
    tokens = list(_tokens(snapshot))
    results = await session.reader.aggregate(
        [Call(guard.address, cap.encode(token)) for token in tokens], snapshot.block
    )
    answers = [cap.decode(result.data) for result in results]
    caps = {token: (amount, window) for token, (amount, window) in zip(tokens, answers, strict=True)}
    lines = [
        "",
        "What the guard may touch, and how far:",
        *(f"  {sentence}." for sentence in grants(snapshot, guard)),
        "",
        "The worst that a stolen hot key could do until you send setKeeper: pause, burn its gas money, and move",
        *(f"  {worst}" for worst in worst_cases(snapshot, guard, caps)),
        "between these accounts, within these limits. It can send nothing to anybody else.",
    ]
    return Exposure(lines, exposure_document(snapshot, guard, caps))


def _table(findings: Sequence[Finding]) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        says = finding.says + (f"; {finding.fix}" if finding.fix else "")
        table.add_row(Text(finding.grade.value, style=STYLE[finding.grade]), finding.subject, Text(says))
    return table


def _summary(findings: Sequence[Finding]) -> str:
    failures = sum(finding.grade is Grade.FAILURE for finding in findings)
    warnings = sum(finding.grade is Grade.WARNING for finding in findings)
    if failures:
        return f"{counted(failures, 'failure')}, {counted(warnings, 'warning')}: it does not protect as it should."
    return f"It can protect; {counted(warnings, 'warning')}." if warnings else "Everything is in order."


def _document(finding: Finding) -> Document:
    return {
        "grade": finding.grade.name.lower(),
        "subject": finding.subject,
        "subaccount": finding.subaccount or None,
        "says": finding.says,
        "fix": finding.fix,
    }


async def _look(config: Config) -> tuple[list[Finding], Exposure | None]:
    findings = [*_signer(config), *_journal(config), *await _daemon(config)]
    try:
        async with open_session(config) as session:
            snapshot = await session.look()
            findings += _node(config, snapshot)
            findings += await _codes(session, snapshot)
            exposure = await _exposure(session, snapshot)
    except ChainError as fault:
        return [*findings, Finding(Grade.FAILURE, "node", str(fault))], None
    except (ProtocolError, ConfigError) as fault:
        return [*findings, Finding(Grade.FAILURE, "positions", str(fault))], None
    findings += _guard(session, snapshot)
    findings += _subaccounts(session, snapshot)
    findings += _allowances(session, snapshot)
    findings += _caps(snapshot)
    findings += _feeds(session, snapshot)
    return [*findings, *_gas(config, snapshot)], exposure


def _signer(config: Config) -> Iterator[Finding]:
    if config.signer is None:
        yield Finding(Grade.FAILURE, "signer", "none is configured: every run is a dry run", "add [signer]")
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
        grade = Grade.FAILURE if mode is Mode.PAUSED else Grade.WARNING
        yield Finding(grade, "mode", f"the keeper is {mode.value}", "`keeper resume` undoes it")
    if not path.exists():
        yield Finding(Grade.FINE, "journal", f"{path} does not exist yet; `keeper run` makes it")
        return
    try:
        open_reader(path).close()
    except JournalError as fault:
        yield Finding(Grade.FAILURE, "journal", str(fault))
        return
    yield Finding(Grade.FINE, "journal", f"{path} can be read")


async def _daemon(config: Config) -> list[Finding]:
    try:
        said = await ask_daemon(config.telemetry.socket, "status", {})
    except KeeperError as fault:
        return [Finding(Grade.FAILURE, "daemon", str(fault))]
    if said is None:
        return [Finding(Grade.WARNING, "daemon", "none runs, so nothing is protected now", "start `keeper run`")]
    says = f"it runs since {time_text(said['started_at'], int(time.time()))}"
    if said["dry_run"]:
        return [
            Finding(Grade.FAILURE, "daemon", f"{says}, as a dry run", "start it without --dry-run, with a [signer]")
        ]
    return [Finding(Grade.FINE, "daemon", says)]


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
    guard = session.config.guard.address or guard_address(session.config.guard.owner)
    code = await session.rpc.code(guard, snapshot.block.hash)
    findings = [_guard_code(session, snapshot, code, guard)]
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


def _guard_code(session: Session, snapshot: Snapshot, code: bytes, guard: Address) -> Finding:
    owner = session.config.guard.owner
    found, expected = keccak(code), guard_code_hash(owner)
    if not code and guard != guard_address(owner):
        fix = f"correct [guard] address, or leave it out: `keeper setup` deploys it at {guard_address(owner)}"
        return Finding(Grade.FAILURE, "guard", f"there is no code at {guard}", fix)
    if not code:
        return Finding(Grade.FAILURE, "guard", f"there is no code at {guard}", "`keeper setup` deploys it")
    if snapshot.guard is None:
        return Finding(Grade.FAILURE, "guard", snapshot.guard_problem or "it could not be read")
    if found != expected:
        says = f"the code at {guard} (hash 0x{found.hex()}) is not this keeper's guard for {owner} (0x{expected.hex()})"
        fix = "give it no permission, take back those that it has, and correct [guard]"
        return Finding(Grade.FAILURE, "guard", says, fix)
    return Finding(Grade.FINE, "guard", f"the code at {guard} is the guard's, hash 0x{found.hex()}")


def _guard(session: Session, snapshot: Snapshot) -> Iterator[Finding]:
    guard = snapshot.guard
    if guard is None:
        return  # what is wrong with it was said when its code was looked at
    hot_key = session.portfolio.topology.keeper
    if guard.is_paused:
        yield Finding(Grade.FAILURE, "guard", "it is paused", "the owner sends unpause (`keeper setup --unpause`)")
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
    known = {subaccount.guard_index for subaccount in snapshot.subaccounts}
    for account in guard.accounts:
        if account.is_live and account.index not in known:
            says = (
                f"its account number {account.index} ({account.protocol.name.lower()} {account.key}) is not in the file"
            )
            yield Finding(Grade.WARNING, "guard", says, "add it to [[protocols]], or the owner sends retire")


def _subaccounts(session: Session, snapshot: Snapshot) -> Iterator[Finding]:
    for subaccount in snapshot.subaccounts:
        grade, says, fix = _of_subaccount(session, subaccount)
        id = str(subaccount.id)
        named = says if subaccount.label == id else f"{says} ({short(id)})"
        yield Finding(grade, subaccount.label, named, fix, id)


def _of_subaccount(session: Session, subaccount: Subaccount) -> tuple[Grade, str, str]:
    """The first thing that is wrong with it, and the fix."""
    reading = subaccount.reading
    if isinstance(reading, Unknown):
        return Grade.FAILURE, f"it cannot be read: {reading.reason}", "`keeper explain` says what its owner can do"
    if subaccount.guard_index is None:
        grade = Grade.FAILURE if subaccount.has_debt else Grade.WARNING
        return grade, "it is not enrolled in the guard", "`keeper setup` enrols it"
    if subaccount.cannot_give is not None:
        return Grade.FAILURE, f"it cannot give: {subaccount.cannot_give}", "`keeper setup` asks for what is missing"
    if isinstance(reading, Stale):
        return Grade.FAILURE, reading_text(reading), "until its feed answers, only debt-free donors give"
    if isinstance(reading, FreshnessUnverified):
        is_accepted = session.policy.subaccounts[subaccount.id].accept_unchecked_age
        fix = 'configure the feed\'s heartbeat, or accept it with oracle_age = "unchecked"'
        return Grade.WARNING, reading_text(reading), "" if is_accepted else fix
    return Grade.FINE, f"enrolled as number {subaccount.guard_index}, permitted and read", ""


def _allowances(session: Session, snapshot: Snapshot) -> Iterator[Finding]:
    for adapter in session.portfolio.topology.adapters:
        if isinstance(adapter, Wallet):
            (wallet,) = (each for each in snapshot.subaccounts if each.id.protocol == adapter.name)
            for token in adapter.held:
                yield _allowance(token, wallet, snapshot)


def _allowance(token: Token, wallet: Subaccount, snapshot: Snapshot) -> Finding:
    subject, line = f"wallet {token.symbol}", wallet.line(token.address)
    if line is None:
        return Finding(Grade.FAILURE, subject, "its balance cannot be read", "remove the token, or look at the node")
    held, available = amount_text(line.amount_raw, token), amount_text(line.movable_raw_max, token)
    account = None
    if snapshot.guard is not None and wallet.guard_index is not None:
        account = snapshot.guard.account(wallet.guard_index)
    if account is not None and token.address not in account.assets:
        fix = "the owner retires the wallet's enrolment, then `keeper setup` enrols it anew"
        return Finding(
            Grade.WARNING, subject, "it is not among the wallet's enrolled tokens, so it cannot be given", fix
        )
    if not line.amount_raw:
        return Finding(Grade.FINE, subject, "there is none")
    if not line.movable_raw_max:
        says = f"none of {held} may be taken: the allowance is missing or has run out"
        return Finding(Grade.FAILURE, subject, says, f"`keeper setup --allowance {token.symbol}=AMOUNT` renews it")
    if line.movable_raw_max < line.amount_raw:
        says = f"{available} of {held} may be taken before the allowance runs out"
        return Finding(Grade.WARNING, subject, says, f"`keeper setup --allowance {token.symbol}=AMOUNT` raises it")
    return Finding(Grade.FINE, subject, f"all of {held} may be taken before the allowance runs out")


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
                f"`keeper setup --cap {token.symbol}=AMOUNT/1d` sets one; a used one comes back with its window",
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
        is_set = session.config.prices.native is not None
        fix = "its feed has no usable answer now" if is_set else "set [prices] native"
        says = "the native coin has no price in USD, so gas is not weighed"
        yield Finding(Grade.WARNING, "prices", says, fix)
    units = {each.unit.address: each.unit for each in snapshot.subaccounts if each.unit is not None and each.has_debt}
    for address, unit in units.items():
        if address not in snapshot.usd_per_unit:
            yield Finding(
                Grade.WARNING,
                "prices",
                f"{unit.symbol} has no price in USD, so losses are compared by share only",
                "its feed has no usable answer now"
                if address in session.portfolio.topology.usd_feeds
                else "add it to [prices] usd",
            )


def _gas(config: Config, snapshot: Snapshot) -> Iterator[Finding]:
    balance = snapshot.keeper_balance_wei
    if balance is None:
        return
    price = 2 * snapshot.block.base_fee_wei + config.fees.tip
    rescues = balance // ((BATCH_GAS + NATIVE_RESCUE_GAS) * price)
    says = (
        f"the hot key has {number_text(balance / 10**18)} of the native coin, for about {rescues:,} rescues at twice "
        "today's fees"
    )
    if rescues >= RESCUES_OF_GAS_MIN:
        yield Finding(Grade.FINE, "gas", says)
    else:
        yield Finding(Grade.FAILURE if not rescues else Grade.WARNING, "gas", says, "send it some")
