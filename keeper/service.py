"""The daemon as a process: what it opens, what paces it, how it is reached and how it stops."""

import asyncio
import contextlib
import gc
import signal
import time
from collections.abc import AsyncIterable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any, TypeVar

import structlog

from keeper.alerts import Alarm, Alerts
from keeper.chain.clock import SYSTEM_CLOCK, Clock
from keeper.chain.heads import HeadEvent, Heads, NewHead, Silence
from keeper.chain.newheads import NewHeads
from keeper.config import Config
from keeper.config_values import redact_url
from keeper.control import ControlServer, ask_daemon
from keeper.core.intent import Abandoned, Included, Intent, Refused, Reverted
from keeper.core.snapshot import Block
from keeper.errors import ChainError, JournalError, KeeperError, ProtocolError, WrongChain
from keeper.journal import Journal
from keeper.lookout import Lookout
from keeper.noting import journal_alarm
from keeper.opening import Ground, Running, Stopping, open_ground, open_keeper, open_on_chain
from keeper.pausing import Mode, PauseFile
from keeper.pulse import Pulse
from keeper.telemetry import Redaction, TelemetryServer, set_up_logging
from keeper.telling import CycleReport, cycle_document
from keeper.upkeep import end, kept_up

T = TypeVar("T")

log = structlog.stdlib.get_logger(__name__)

START_PAUSE_SECONDS = 1.0
START_PAUSE_SECONDS_MAX = 15.0
"""Between two attempts to begin; each pause is twice the one before."""
FLUSH_SECONDS_MAX = 3.0
STOP_SECONDS_MAX = 20.0
"""How long a cycle under way may take to end after a signal; what is sent by then is in the journal."""
OUTCOME_SECONDS_MAX = 50.0
"""A little less than whoever asked over the socket waits for an answer."""
OUTCOME_POLL_SECONDS = 0.25


async def run_once(config: Config, *, is_dry_run: bool) -> CycleReport:
    """One cycle at the newest block, to its end: a batch that is sent is waited for.

    Raises JournalError while a daemon runs: it has the journal.
    """
    _start_logging(config)
    async with open_keeper(config, is_dry_run=is_dry_run) as running:
        return await _whole_cycle(running, is_alone=True)


async def pause_onchain(config: Config) -> str:
    """Has the guard paused, by the running daemon or, without one, by this process. Returns the transaction's hash.

    Raises KeeperError when it could not be sent or was not included in time.
    """
    answer = await ask_daemon(config.telemetry.socket, "pause_onchain", {})
    if answer is not None:
        return str(answer["hash"])
    _start_logging(config)
    async with open_keeper(config, is_dry_run=False) as running:
        return await _pause_guard(running, is_alone=True)


async def _whole_cycle(running: Running, *, is_alone: bool) -> CycleReport:
    report = await running.cycle(await running.session.rpc.head())
    if not report.is_signed or report.batch is None:
        return report
    intent = await _outcome_of(running, report.batch.plan_id, is_alone=is_alone)
    match intent.outcome:
        case Included(receipt):
            return replace(report, outcome=f"included in block {receipt.block_number} as {receipt.hash}")
        case Reverted(receipt):
            return replace(
                report, is_refused=True, outcome=f"reverted in block {receipt.block_number} as {receipt.hash}"
            )
        case Refused(reason) | Abandoned(reason):
            return replace(report, is_refused=True, outcome=f"not included: {reason}")
        case None:
            return replace(report, outcome=f"{report.outcome}, and not included yet; `keeper journal` tells the rest")


async def _pause_guard(running: Running, *, is_alone: bool) -> str:
    async with running.turn():
        change = await running.keeper.pause_guard(await running.session.rpc.head())
    intent = await _outcome_of(running, change.intent.plan_id, is_alone=is_alone)
    if isinstance(intent.outcome, Included):
        return intent.outcome.receipt.hash
    raise KeeperError(f"The guard was not paused: {change.did}; the owner can pause it as well.")


async def _outcome_of(running: Running, plan_id: str, *, is_alone: bool) -> Intent:
    """The intent once it is settled or it was waited long enough; `is_alone`: no cycles look after it but these."""
    intent = _recorded(running.journal, plan_id)
    for _ in range(int(OUTCOME_SECONDS_MAX / OUTCOME_POLL_SECONDS)):
        if intent.outcome is not None or running.stopping.is_set():
            break
        await asyncio.sleep(OUTCOME_POLL_SECONDS)
        if is_alone:
            async with running.turn():
                await running.keeper.settle(await running.session.look())
        intent = _recorded(running.journal, plan_id)
    return intent


def _recorded(journal: Journal, plan_id: str) -> Intent:
    intent = journal.intent(plan_id)
    if intent is None:
        raise JournalError(f"The journal does not hold {plan_id}, which was just sent; look at the chain.")
    return intent


async def run_daemon(config: Config, *, is_dry_run: bool) -> None:
    """Cycles until SIGTERM or SIGINT; then the cycle under way ends, and what is sent stays in the journal.

    Raises ConfigError, JournalError, ProtocolError and WrongChain when it cannot start. A node that does not answer is
    waited for: after a power cut it may be up later than the keeper.
    """
    _start_logging(config)
    async with AsyncExitStack() as stack:
        ground = await stack.enter_async_context(open_ground(config, is_dry_run=is_dry_run))
        listen = config.telemetry.listen
        telemetry = TelemetryServer(listen.host, listen.port, ground.vitals, ground.metrics)
        await telemetry.start()
        stack.push_async_callback(telemetry.stop)
        deliveries = asyncio.create_task(kept_up(ground.alerts, "delivery of alarms", ground.alerts.run))
        stack.push_async_callback(end, deliveries)
        _stop_on_signal(ground.stopping)
        running = await begin(ground, lambda: stack.enter_async_context(open_on_chain(ground)))
        if running is None:
            await tell_of_stop(ground, deliveries)
            return
        hints = await _hints(config, stack)
        heads = Heads(
            running.session.rpc,
            SYSTEM_CLOCK,
            block_seconds=config.chain.block_time / 1000,
            silence_seconds=config.chain.head_age_max,
            hints=hints,
            # One socket is one endpoint.
            believes_hints=config.chain.quorum == 1,
        )
        started_at = int(time.time())
        control = ControlServer(config.telemetry.socket, handlers(running, started_at, is_dry_run))
        await control.start()
        stack.push_async_callback(control.stop)
        lookout = asyncio.create_task(kept_up(running.alerts, "looks for new positions", Lookout(running).run))
        stack.push_async_callback(end, lookout)
        pulse = asyncio.create_task(kept_up(running.alerts, "measurements of the loop", Pulse(running.metrics).run))
        stack.push_async_callback(end, pulse)
        what = "dry run: nothing is signed" if is_dry_run or config.signer is None else "protecting"
        says = f"The keeper of {config.guard.owner} started ({what})."
        running.alerts.raise_alarm(Alarm.STARTED, "keeper", says)
        _record_event(running.journal, running.alerts, "start", says, started_at)
        keep_collector_away()
        cycles = asyncio.create_task(kept_up(running.alerts, "cycles", lambda: run_cycles(running, heads)))
        await running.stopping.wait()
        await stop(running, cycles)
        await tell_of_stop(ground, deliveries)


def keep_collector_away() -> None:
    """What exists by now stays: to look through all of it again takes 30 ms, and would in the middle of a cycle.

    And what a cycle makes is looked through seldom, for next to nothing of it refers to itself.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


async def begin(
    ground: Ground, open: Callable[[], Coroutine[Any, Any, Running]], clock: Clock = SYSTEM_CLOCK
) -> Running | None:
    """What `open` opens once a node answers; None when the process is told to stop before.

    Raises what it raises, except for faults of a node that may pass.
    """
    pause = START_PAUSE_SECONDS
    # The loop must not look dead in between.
    longest = min(START_PAUSE_SECONDS_MAX, ground.config.chain.head_age_max)
    while not ground.stopping.is_set():
        ground.vitals.beat()
        try:
            running = await _unless(ground.stopping, open())
        except WrongChain:
            raise
        except ChainError as fault:
            says = (
                f"The keeper cannot begin: {str(fault).rstrip('. ')}. Nothing is protected until it can; it tries on."
            )
            ground.alerts.raise_alarm(Alarm.NO_FRESH_VIEW, "keeper", says)
        else:
            ground.alerts.forget(Alarm.NO_FRESH_VIEW, "keeper")
            return running
        await _unless(ground.stopping, clock.sleep(min(pause, longest)))
        pause *= 2
    return None


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What comes of `work`; None when it is given up because the process is told to stop."""
    task, stopped = asyncio.create_task(work), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait((task, stopped), return_when=asyncio.FIRST_COMPLETED)
        return task.result() if task.done() else None
    finally:
        for each in (task, stopped):
            each.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)


async def stop(running: Running, cycles: "asyncio.Task[None]") -> None:
    """Lets the cycle under way end."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(STOP_SECONDS_MAX):
            # Let go of at once: whoever asked over the socket and waits for it has to be told.
            async with running.cycles:
                pass
    await end(cycles)


async def tell_of_stop(ground: Ground, deliveries: "asyncio.Task[None]") -> None:
    """Whatever happened before, last of all."""
    says = "The keeper was told to stop; nothing is protected until it runs again."
    ground.alerts.raise_alarm(Alarm.STOPPED, "keeper", says)
    _record_event(ground.journal, ground.alerts, "stop", says, int(time.time()))
    await end(deliveries)
    await ground.alerts.flush(FLUSH_SECONDS_MAX)


def _start_logging(config: Config) -> None:
    redaction = Redaction()
    endpoints = [*config.chain.rpc_url, *config.chain.ws_url]
    endpoints += [each for each in (config.chain.private_rpc_url, config.alerts.webhook) if each is not None]
    for endpoint in endpoints:
        url = endpoint.reveal()
        # One without a key is its own name, by which the log says who does not answer.
        if redact_url(url) != url:
            redaction.hide(url)
    set_up_logging(config.telemetry.log_level, redaction)


async def _hints(config: Config, stack: AsyncExitStack) -> NewHeads | None:
    urls = [endpoint.reveal() for endpoint in config.chain.ws_url]
    if not urls:
        return None
    return await stack.enter_async_context(NewHeads(urls, config.chain.chain_id, SYSTEM_CLOCK))


# Running --------------------------------------------------------------------------------------------------------------


async def run_cycles(running: Running, heads: AsyncIterable[HeadEvent]) -> None:
    """A cycle for each head, and an alarm for each silence, for as long as there are any."""
    async for event in heads:
        running.vitals.beat()
        match event:
            case NewHead(block, reorganised, missed):
                # Should they fall silent again, that is news, however soon.
                running.alerts.forget(Alarm.NO_FRESH_VIEW, "keeper")
                await guarded_cycle(running, block, blocks_may_be_gone=reorganised > 0 or missed > 0)
            case Silence(age, reason):
                says = f"No new block for {age:.0f} s: {reason}. Nothing can be protected until one is seen."
                running.alerts.raise_alarm(Alarm.NO_FRESH_VIEW, "keeper", says)


async def guarded_cycle(running: Running, block: Block, *, blocks_may_be_gone: bool) -> None:
    """A cycle that fails is told, and the next block is another chance: nothing that it knew is carried over."""
    try:
        await running.cycle(block, blocks_may_be_gone=blocks_may_be_gone)
        await running.fees.refresh(block)
    except Stopping:
        return
    except (ChainError, ProtocolError) as fault:
        running.metrics.cycles.labels("chain_fault").inc()
        running.alerts.raise_alarm(Alarm.NODE_FAILING, running.session.rpc.label, str(fault))
    except JournalError as fault:
        running.metrics.cycles.labels("journal_fault").inc()
        running.alerts.raise_alarm(journal_alarm(fault), "journal", str(fault))
    except Exception as fault:
        running.metrics.cycles.labels("failed").inc()
        log.exception("a cycle failed", block=block.number)
        says = (
            f"A cycle failed ({type(fault).__name__}); the log has the details, and the next block is another chance."
        )
        running.alerts.raise_alarm(Alarm.CYCLE_FAILED, "keeper", says)
    _tell_if_blind(running)


def _tell_if_blind(running: Running) -> None:
    """Heads may come while nothing of them can be read: that is as blind as no heads at all."""
    seconds = running.vitals.blind_seconds
    if seconds is None:
        running.alerts.forget(Alarm.NO_FRESH_VIEW, "view")
        return
    says = f"Nothing could be read for {seconds:.0f} s, though new blocks are announced. Nothing can be protected."
    running.alerts.raise_alarm(Alarm.NO_FRESH_VIEW, "view", says)


def handlers(running: Running, started_at: int, is_dry_run: bool) -> Mapping[str, Any]:
    pause_file = PauseFile(running.config.journal.path)

    async def status(_: Mapping[str, Any]) -> dict[str, Any]:
        age = running.vitals.view_age
        return {
            "started_at": started_at,
            "dry_run": is_dry_run,
            "mode": pause_file.read().value,
            "view_seconds_ago": None if age is None else round(age, 3),
        }

    async def mode(payload: Mapping[str, Any]) -> dict[str, Any]:
        # Once the lock was held, whatever was being sent is sent, and the next cycle finds the file.
        async with running.cycles:
            now = pause_file.read()
        alarm = Alarm.RESUMED if now is Mode.ACTIVE else Alarm.PAUSED
        says = f"The keeper is {now.value}."
        running.alerts.forget(Alarm.PAUSED, "keeper")
        running.alerts.forget(Alarm.RESUMED, "keeper")
        running.alerts.raise_alarm(alarm, "keeper", says)
        _record_event(running.journal, running.alerts, "mode", says, int(payload["at"]))
        return {"mode": now.value}

    async def trigger(_: Mapping[str, Any]) -> dict[str, Any]:
        report = await _whole_cycle(running, is_alone=False)
        return cycle_document(report)

    async def pause(_: Mapping[str, Any]) -> dict[str, Any]:
        return {"hash": await _pause_guard(running, is_alone=False)}

    return {"status": status, "mode": mode, "trigger": trigger, "pause_onchain": pause}


def _record_event(journal: Journal, alerts: Alerts, kind: str, says: str, at: int) -> None:
    """For people who look back; a journal that takes no more must not keep the daemon from what it does."""
    try:
        journal.record_event(kind, "keeper", says, at)
    except JournalError as fault:
        alerts.raise_alarm(journal_alarm(fault), "journal", str(fault))


def _stop_on_signal(stopping: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
