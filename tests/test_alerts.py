"""Alarms arrive once, in order, and never hold up whoever raised them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from keeper.alerts import QUEUE_LENGTH_MAX, SUBJECTS_MAX, Alarm, Alerts, Raised
from keeper.telemetry import Metrics

ORIGIN = {"chain_id": 1, "owner": "0x11"}


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Webhook:
    """Answers with the given statuses, then with 200, and keeps what was posted."""

    statuses: list[int] = field(default_factory=list[int])
    posts: asyncio.Queue[dict[str, Any]] = field(default_factory=asyncio.Queue[dict[str, Any]])
    url: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        await self.posts.put(await request.json())
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    async def names(self, count: int) -> list[str]:
        async with asyncio.timeout(5):
            return [(await self.posts.get())["name"] for _ in range(count)]


@pytest.fixture
async def webhook() -> AsyncIterator[Webhook]:
    webhook = Webhook()
    app = web.Application()
    app.router.add_post("/hook/SECRET", webhook.answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    webhook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook/SECRET"
    yield webhook
    await runner.cleanup()


def some_alerts(
    url: str | None, clock: Clock | None = None, retry_pauses: tuple[float, ...] = (0.0, 0.0), heartbeat: float = 3_600
) -> tuple[Alerts, Metrics]:
    metrics = Metrics(CollectorRegistry())
    alerts = Alerts(
        url,
        ORIGIN,
        metrics,
        dedupe_seconds=900,
        heartbeat_seconds=heartbeat,
        clock=Clock(),
        monotonic=clock or Clock(),
        retry_pauses_seconds=retry_pauses,
    )
    return alerts, metrics


@contextlib.asynccontextmanager
async def running(alerts: Alerts) -> AsyncGenerator[None]:
    task = asyncio.create_task(alerts.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.loopback
async def test_an_alarm_arrives_with_who_what_and_when(webhook: Webhook) -> None:
    alerts, _ = some_alerts(webhook.url)
    alerts.raise_alarm(Alarm.UNFUNDED, "morpho:0x3a", "Nothing may be moved that saves WETH/USDC.")

    async with running(alerts), asyncio.timeout(5):
        first, second = await webhook.posts.get(), await webhook.posts.get()

    assert first == {
        "chain_id": 1,
        "owner": "0x11",
        "name": "unfunded",
        "severity": "critical",
        "subject": "morpho:0x3a",
        "sentence": "Nothing may be moved that saves WETH/USDC.",
        "at": 1_000,
    }
    assert second["name"] == "heartbeat"


def test_the_same_alarm_about_the_same_subject_is_news_once_per_window() -> None:
    clock = Clock()
    alerts, metrics = some_alerts(None, clock)

    def at(now: float, alarm: Alarm = Alarm.UNFUNDED, subject: str = "a") -> bool:
        clock.now = now
        return alerts.raise_alarm(alarm, subject, f"12 WETH are missing since {now} as of 0x3a{int(now)}…")

    assert at(1_000)
    assert not at(1_899)
    assert at(1_899, subject="b")
    assert at(1_899, alarm=Alarm.BLOCKED)
    assert at(1_900)
    assert not at(2_000)
    assert metrics.registry.get_sample_value("keeper_alarms_total", {"name": "unfunded"}) == 5


def test_an_alarm_whose_reason_was_gone_is_news_again() -> None:
    alerts, _ = some_alerts(None)
    alerts.raise_alarm(Alarm.NO_FRESH_VIEW, "keeper", "blind")
    alerts.forget(Alarm.NO_FRESH_VIEW, "keeper")
    alerts.forget(Alarm.NO_FRESH_VIEW, "never raised")

    assert alerts.raise_alarm(Alarm.NO_FRESH_VIEW, "keeper", "blind again")


def test_another_reason_is_news_within_the_window() -> None:
    alerts, _ = some_alerts(None)
    assert alerts.raise_alarm(Alarm.BLOCKED, "a", "The guard is paused.")
    assert alerts.raise_alarm(Alarm.BLOCKED, "a", "The cap is used up.")
    assert not alerts.raise_alarm(Alarm.BLOCKED, "a", "The guard is paused.")


def test_a_clock_that_is_set_back_silences_nothing() -> None:
    """The window is measured in seconds that never go back, the time in the alarm by the wall clock."""
    wall, monotonic = Clock(2_000_000_000.0), Clock(0.0)
    alerts = Alerts(None, ORIGIN, Metrics(CollectorRegistry()), 900, 3_600, wall, monotonic)
    assert alerts.raise_alarm(Alarm.LIQUIDATABLE, "a", "It can be liquidated.")
    wall.now -= 30 * 86_400
    monotonic.now = 900
    assert alerts.raise_alarm(Alarm.LIQUIDATABLE, "a", "It can be liquidated.")


def test_what_did_not_hold_for_a_cycle_is_news_when_it_is_back() -> None:
    alerts, _ = some_alerts(None)
    held = [(Alarm.LIQUIDATABLE, "a", "a can be liquidated now."), (Alarm.UNFUNDED, "b", "b is unfunded.")]

    def told(alarms: list[Raised]) -> list[str]:
        with capture_logs() as logs:
            alerts.raise_held(alarms)
        return [entry["subject"] for entry in logs]

    assert told(held) == ["a", "b"]
    assert told(held) == []
    assert told(held[1:]) == []
    assert told(held) == ["a"]


def test_what_is_remembered_is_bounded_and_the_oldest_goes_first() -> None:
    alerts, _ = some_alerts(None)
    with capture_logs():
        for number in range(SUBJECTS_MAX + 1):
            assert alerts.raise_alarm(Alarm.UNKNOWN, str(number), "unknown")

        assert not alerts.raise_alarm(Alarm.UNKNOWN, "1", "unknown")
        assert alerts.raise_alarm(Alarm.UNKNOWN, "0", "unknown")


@pytest.mark.loopback
@pytest.mark.parametrize(
    ("statuses", "tries"),
    [([500], 2), ([429, 503], 3), ([500, 500, 500], 3), ([404], 1), ([302], 1), ([204], 1)],
)
async def test_a_webhook_in_trouble_is_asked_again_and_one_that_refuses_is_not(
    webhook: Webhook, statuses: list[int], tries: int
) -> None:
    webhook.statuses = list(statuses)
    alerts, _ = some_alerts(webhook.url)
    alerts.raise_alarm(Alarm.BLOCKED, "a", "blocked")

    async with running(alerts):
        assert await webhook.names(tries + 1) == ["blocked"] * tries + ["heartbeat"]


@pytest.mark.loopback
async def test_an_alarm_that_cannot_be_delivered_is_logged_without_the_address_and_the_next_goes_out(
    webhook: Webhook,
) -> None:
    webhook.statuses = [500, 500, 500]
    alerts, _ = some_alerts(webhook.url)
    with capture_logs() as logs:
        alerts.raise_alarm(Alarm.BLOCKED, "a", "blocked")
        alerts.raise_alarm(Alarm.PAUSED, "keeper", "paused")
        async with running(alerts):
            assert await webhook.names(4) == ["blocked", "blocked", "blocked", "paused"]

    (failure,) = [entry for entry in logs if entry["event"] == "alert not delivered"]
    assert failure["problem"] == "the webhook answered 500"
    assert "SECRET" not in str(logs)


@pytest.mark.loopback
async def test_nobody_listening_is_logged_without_the_address() -> None:
    alerts, _ = some_alerts("http://127.0.0.1:9/hook/SECRET", retry_pauses=())
    with capture_logs() as logs:
        alerts.raise_alarm(Alarm.BLOCKED, "a", "blocked")
        await alerts.flush(5)

    assert logs[-1]["problem"] == "the webhook cannot be reached (ClientConnectorError)"
    assert "SECRET" not in str(logs)


@pytest.mark.loopback
async def test_a_sign_of_life_comes_at_once_and_again_and_again(webhook: Webhook) -> None:
    alerts, _ = some_alerts(webhook.url, heartbeat=0.01)

    async with running(alerts):
        assert await webhook.names(3) == ["heartbeat", "heartbeat", "heartbeat"]


@pytest.mark.loopback
async def test_the_queue_is_bounded_and_drops_the_oldest(webhook: Webhook) -> None:
    alerts, _ = some_alerts(webhook.url)
    with capture_logs() as logs:
        for number in range(QUEUE_LENGTH_MAX + 1):
            alerts.raise_alarm(Alarm.BLOCKED, str(number), "blocked")
    await alerts.flush(5)

    dropped = [entry["subject"] for entry in logs if entry["event"] == "alert dropped, the queue is full"]
    assert dropped == ["0"]
    subjects = [webhook.posts.get_nowait()["subject"] for _ in range(webhook.posts.qsize())]
    assert subjects == [str(number) for number in range(1, QUEUE_LENGTH_MAX + 1)]


@pytest.mark.loopback
async def test_the_last_words_are_delivered_at_the_end(webhook: Webhook) -> None:
    alerts, _ = some_alerts(webhook.url)
    async with running(alerts):
        assert await webhook.names(1) == ["heartbeat"]
    alerts.raise_alarm(Alarm.STOPPED, "keeper", "The keeper was told to stop.")

    await alerts.flush(5)
    await alerts.flush(5)

    # The heartbeat was cut off before its answer, so it may come a second time before them.
    assert [name for name in await webhook.names(webhook.posts.qsize()) if name != "heartbeat"] == ["stopped"]


async def test_without_a_webhook_alarms_are_logged() -> None:
    alerts, _ = some_alerts(None)
    with capture_logs() as logs:
        alerts.raise_alarm(Alarm.PAUSED, "keeper", "Somebody paused the keeper.")
    await alerts.run()
    await alerts.flush(5)

    assert logs == [
        {"event": "Somebody paused the keeper.", "alarm": "paused", "subject": "keeper", "log_level": "warning"}
    ]


def test_the_names_that_people_write_rules_against_stay() -> None:
    assert {alarm.label for alarm in Alarm} == {
        "blocked",
        "budget_low",
        "cycle_failed",
        "disk_full",
        "endpoint_dissents",
        "gas_low",
        "guard_problem",
        "heartbeat",
        "journal_failing",
        "liquidatable",
        "no_fresh_view",
        "node_failing",
        "not_protected",
        "paused",
        "permission_low",
        "rescue_failed",
        "rescued",
        "resumed",
        "stale_price",
        "price_disputed",
        "price_unchecked",
        "quorum_lost",
        "sequencer_down",
        "started",
        "stopped",
        "transaction_stuck",
        "unfunded",
        "unknown",
    }
