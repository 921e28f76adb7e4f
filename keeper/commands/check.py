"""`keeper check`: everything that must be right before the keeper can be relied on, one line each, with the fix.

Sends nothing. A line is fine, a warning (it works, and somebody should know) or a failure (it does not protect).
"""

import asyncio
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import RenderableType

from keeper.chain.connect import connect
from keeper.chain.rpc import Rpc
from keeper.chain.signer import decrypt_keystore
from keeper.commands.answer import Answer
from keeper.commands.check_files import journal_findings, private_findings
from keeper.commands.check_guard import (
    Exposure,
    cap_findings,
    code_findings,
    look_at_exposure,
    permission_findings,
    settings_findings,
)
from keeper.commands.finding import Finding, Grade, finding_document, findings_table, summary
from keeper.commands.gas_money import gas_money
from keeper.commands.specks import speck_findings
from keeper.commands.view import View, view
from keeper.config import Config, load_config
from keeper.config_values import listed
from keeper.control import ask_daemon
from keeper.core import verdict
from keeper.core.amounts import amount_text
from keeper.core.disputes import disputes_in, silent_seconds
from keeper.core.plan import History
from keeper.core.snapshot import Block, FreshnessUnverified, Snapshot, Stale, Subaccount, Token, Unknown
from keeper.core.units import WAD, Address
from keeper.errors import ChainError, ConfigError, KeeperError, ProtocolError
from keeper.protocols.euler.adapter import EulerV2
from keeper.protocols.euler.topology import NAME as EULER
from keeper.protocols.second_prices import SecondFeed
from keeper.protocols.venus.adapter import VenusPool
from keeper.protocols.wallet import Wallet
from keeper.protocols.whereabouts import SEQUENCER_FEEDS
from keeper.report import age_text, number_text, reading_text, short, time_text, verdict_text
from keeper.session import Session, open_session

RESCUES_OF_GAS_MIN = 20
"""With less gas money than for so many rescues at today's fees, it is time to fill up."""
HOW_MUCH = "`keeper explain` says how much it needs"
WAY_OUT = "`keeper explain` says what its owner can do"


def check(config_path: Path) -> Answer:
    """Exits 1 if a line is a failure."""
    config = load_config(config_path)
    looked, exposure = asyncio.run(_look(config))
    findings = [Finding(Grade.FINE, "config", f"{config_path} is complete and in order"), *looked]
    has_failed = any(finding.grade is Grade.FAILURE for finding in findings)
    document = {
        "ok": not has_failed,
        "findings": [finding_document(finding) for finding in findings],
        "exposure": None if exposure is None else exposure.document,
    }
    exposed: Sequence[str] = () if exposure is None else exposure.lines
    parts: list[RenderableType] = [findings_table(findings), *exposed, "", summary(findings)]
    return Answer(parts, document, int(has_failed))


async def _look(config: Config) -> tuple[list[Finding], Exposure | None]:
    findings = [*_signer(config), *private_findings(config), *journal_findings(config), *await _daemon(config)]
    try:
        findings += await _endpoints(config)
        async with open_session(config) as session:
            seen = await view(session)
            snapshot = seen.snapshot
            findings += _node(config, snapshot)
            findings += await code_findings(session, snapshot)
            exposure = await look_at_exposure(session, snapshot)
            specks = (
                [] if snapshot.guard is None else await speck_findings(session, snapshot.block, snapshot.guard.address)
            )
    except ChainError as fault:
        return [*findings, Finding(Grade.FAILURE, "node", str(fault))], None
    except (ProtocolError, ConfigError) as fault:
        return [*findings, Finding(Grade.FAILURE, "positions", str(fault).rstrip("."))], None
    findings += settings_findings(session, snapshot)
    findings += _agreement(seen)
    findings += _subaccounts(seen)
    findings += _allowances(session, snapshot)
    findings += cap_findings(snapshot)
    findings += permission_findings(session, snapshot, () if exposure is None else exposure.permissions)
    findings += specks
    findings += _feeds(session, snapshot)
    findings += _seconds(session, snapshot)
    return [*findings, *_gas(seen)], exposure


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


async def _endpoints(config: Config) -> list[Finding]:
    """Each of several by itself: while the others answer, nothing else shows that one does not."""
    if len(config.chain.rpc_url) == 1:
        return []
    async with connect(config) as rpc:
        heads = await asyncio.gather(*(_head(one) for one in rpc.alone()))
    now = int(time.time())
    answering = sum(isinstance(head, Block) for _, head in heads)
    grade = Grade.WARNING if answering >= config.chain.quorum else Grade.FAILURE
    fix = "look at it, or name another one in [chain] rpc_url"
    return [
        Finding(Grade.FINE, label, f"block {head.number}, {time_text(head.timestamp, now)}")
        if isinstance(head, Block)
        else Finding(grade, label, str(head), fix)
        for label, head in heads
    ]


async def _head(rpc: Rpc) -> tuple[str, Block | ChainError]:
    try:
        return rpc.label, await rpc.head()
    except ChainError as fault:
        return rpc.label, fault


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


def _agreement(seen: View) -> Iterator[Finding]:
    if seen.quorum_problem is not None:
        says = seen.quorum_problem.rstrip(".")
        yield Finding(Grade.FAILURE, "quorum", says, "until they do, only debt-free donors give")


def _subaccounts(seen: View) -> Iterator[Finding]:
    for subaccount in seen.snapshot.subaccounts:
        grade, says, fix = _of_subaccount(seen, subaccount)
        id = str(subaccount.id)
        named = says if subaccount.label == id else f"{says} ({short(id)})"
        yield Finding(grade, subaccount.label, named, fix, id)
        for line in subaccount.collateral:
            # Shares under their own address: another vault of the same token is the one that moves.
            is_other = subaccount.id.protocol == EULER and line.amount_raw and line.form == line.token.address
            # Where nothing of the account can move, that is said already, and moving it would not help.
            if is_other and subaccount.cannot_give is None:
                held = amount_text(line.amount_raw, line.token)
                says = f"{held} cannot move: of several vaults of one token the keeper moves one, and that is another"
                yield Finding(Grade.WARNING, subaccount.label, says, "move it there to have it given", id)


def _of_subaccount(seen: View, subaccount: Subaccount) -> tuple[Grade, str, str]:
    """The first thing that is wrong with it, and the fix."""
    snapshot, reading, decided = seen.snapshot, subaccount.reading, seen.plan.verdicts[subaccount.id]
    if isinstance(reading, Unknown):
        return Grade.FAILURE, f"it cannot be read: {reading.reason}", WAY_OUT
    if subaccount.forced_liquidation is not None:
        return Grade.FAILURE, f"it can be liquidated now: {subaccount.forced_liquidation}", ""
    if subaccount.is_liquidatable:
        return Grade.FAILURE, "it can be liquidated now", f"repay or deposit at once: {HOW_MUCH}"
    if subaccount.guard_index is None:
        grade = Grade.FAILURE if subaccount.has_debt else Grade.WARNING
        if snapshot.guard is None and snapshot.guard_problem is not None:
            return grade, f"nothing protects it: {snapshot.guard_problem}", "see guard"
        accounts = () if snapshot.guard is None else snapshot.guard.accounts
        if any(account.awaits_holder and account.holder == subaccount.holder for account in accounts):
            says = f"it is enrolled, but its holder {subaccount.holder} has not joined the guard"
            return grade, says, "the holder sends what `keeper setup` lists for him"
        return grade, "it is not enrolled in the guard", "`keeper setup` enrols it"
    if subaccount.cannot_give is not None:
        return Grade.FAILURE, f"it cannot give: {subaccount.cannot_give}", "`keeper setup` asks for what is missing"
    if isinstance(decided, verdict.Unfunded):
        return Grade.FAILURE, verdict_text(decided), HOW_MUCH
    if isinstance(decided, verdict.Blocked | verdict.Unknown):
        return Grade.FAILURE, verdict_text(decided), WAY_OUT
    if isinstance(reading, Stale):
        return Grade.FAILURE, reading_text(reading), "until its feed answers, only debt-free donors give"
    if isinstance(reading, FreshnessUnverified):
        is_accepted = seen.session.policy.subaccounts[subaccount.id].accept_unchecked_age
        fix = 'configure the feed\'s heartbeat, or accept it with oracle_age = "unchecked"'
        return Grade.WARNING, reading_text(reading), "" if is_accepted else fix
    return Grade.FINE, f"enrolled as number {subaccount.guard_index}, permitted and read", ""


def _allowances(session: Session, snapshot: Snapshot) -> Iterator[Finding]:
    for adapter in session.portfolio.topology.adapters:
        if isinstance(adapter, Wallet):
            (wallet,) = (each for each in snapshot.subaccounts if each.id.protocol == adapter.name)
            forms = _forms(session)
            for token in adapter.held:
                yield _allowance(token, wallet, snapshot)
                if token.address in forms:
                    says = (
                        f"it is what {forms[token.address]} keeps collateral as: given from the wallet, it leaves an "
                    )
                    says += "account there, and nobody looks at what that account owes"
                    fix = 'take it out of the tokens of [[protocols]] kind = "wallet"; the account itself gives it'
                    yield Finding(Grade.WARNING, f"wallet {token.symbol}", says, fix)


def _forms(session: Session) -> dict[Address, str]:
    """What protocols that are configured hold collateral as, and whose it is."""
    forms = {token.address: "Aave" for token in session.portfolio.a_tokens().values()}
    for adapter in session.portfolio.topology.adapters:
        if isinstance(adapter, EulerV2):
            forms |= {vault.address: "Euler" for vault in adapter.topology.vaults}
        elif isinstance(adapter, VenusPool):
            forms |= {share.address: "Venus" for share in adapter.shares()}
    return forms


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
        coin = session.config.chain.coin
        fix = (
            "its feed has no usable answer now" if is_set else f"set [prices] native to the aggregator of {coin} in USD"
        )
        says = f"{coin} has no price in USD, so gas is not weighed"
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


def _seconds(session: Session, snapshot: Snapshot) -> Iterator[Finding]:
    silent = {second.token.address: problem for second, problem in silent_seconds(snapshot)}
    disputes = disputes_in(snapshot, session.policy.prices, History())
    for second in snapshot.second_prices:
        subject, symbol = f"second price {second.token.symbol}", second.token.symbol
        if second.token.address in silent:
            says = f"{second.source} says nothing: {silent[second.token.address]}"
            yield Finding(Grade.WARNING, subject, says, f"until it does, {symbol} is believed unchecked")
        elif second.price is not None:
            yield Finding(Grade.FINE, subject, f"{second.source} answers {number_text(second.price / WAD)}")
    for source in session.portfolio.topology.seconds:
        same = [
            each.label for each in snapshot.subaccounts if isinstance(source, SecondFeed) and source.feed in each.feeds
        ]
        if same:
            says = f"it is the very feed that the oracle of {listed(same)} reads: no second opinion there"
            yield Finding(Grade.WARNING, f"second price {source.token.symbol}", says, "name another source")
    for id, dispute in disputes.items():
        fix = "until they agree, only those without debt give to it"
        yield Finding(Grade.FAILURE, snapshot.subaccount(id).label, f"disputed: {dispute}", fix, str(id))
    if snapshot.sequencer_problem is not None:
        yield Finding(Grade.FAILURE, "sequencer", snapshot.sequencer_problem, "until then only those without debt give")
    elif session.config.prices.sequencer_feed is not None:
        yield Finding(Grade.FINE, "sequencer", "it is up, and its grace period is over")
    elif snapshot.chain_id in SEQUENCER_FEEDS:
        says = "this chain has a sequencer, and nobody asks whether it is up"
        fix = f'set [prices] sequencer_feed = "{SEQUENCER_FEEDS[snapshot.chain_id]}"'
        yield Finding(Grade.WARNING, "sequencer", says, fix)


def _gas(seen: View) -> Iterator[Finding]:
    money = gas_money(seen)
    if money is None:
        return
    if money.rescues >= RESCUES_OF_GAS_MIN:
        yield Finding(Grade.FINE, "gas", str(money))
    else:
        yield Finding(Grade.WARNING if money.rescues else Grade.FAILURE, "gas", str(money), "send it some")
