"""Logs show no secret, and what is not proven fresh is not ready."""

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import aiohttp
import pytest
import structlog
from prometheus_client import CollectorRegistry

from keeper.core.units import INFINITE_HEALTH
from keeper.errors import KeeperError
from keeper.telemetry import Metrics, Redaction, TelemetryServer, Vitals, set_up_logging


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers = handlers
    root.setLevel(level)
    structlog.reset_defaults()


# Logs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("logging_as_it_was")
def test_a_log_that_is_not_on_a_terminal_is_one_json_object_a_line() -> None:
    stream = io.StringIO()
    set_up_logging("info", Redaction(), stream)

    structlog.get_logger("keeper.daemon").info("cycle done", block=7, address=b"\x01\xff")
    structlog.get_logger("keeper.daemon").debug("too fine")

    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry.pop("timestamp").endswith("Z")
    assert entry == {
        "event": "cycle done",
        "block": 7,
        "address": "0x01ff",
        "level": "info",
        "logger": "keeper.daemon",
    }


@pytest.mark.usefixtures("logging_as_it_was")
def test_a_log_on_a_terminal_is_for_people() -> None:
    stream = Terminal()
    set_up_logging("info", Redaction(), stream)

    structlog.get_logger().info("cycle done", block=7)

    assert "cycle done" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.usefixtures("logging_as_it_was")
def test_no_secret_reaches_a_log_by_any_way() -> None:
    stream = io.StringIO()
    redaction = Redaction()
    set_up_logging("info", redaction, stream)
    url = redaction.hide("https://node.example:8443/v3/0123456789abcdef?key=sesame")
    redaction.hide("hunter2")
    log = structlog.get_logger()

    event = f"connecting to {url}"
    log.info(event)
    log.info("nested", endpoint={"url": [url, ("wss://user:letmein@node.example/0123456789abcdef",)]}, word="hunter2")
    log.info("an object", error=ValueError(f"no answer from {url}"))
    logging.getLogger("aiohttp.client").warning("GET %s failed with %s", "http://127.0.0.1:1/letmein", "hunter2")
    try:
        raise ValueError(f"refused by {url}")
    except ValueError:
        log.exception("a fault")
        logging.getLogger("other").exception("another fault")

    text = stream.getvalue()
    for secret in ("0123456789abcdef", "sesame", "hunter2", "letmein"):
        assert secret not in text
    assert "ValueError: refused by" in text
    assert len(text.splitlines()) == 6


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at https://node.example/v3/secret, twice", "at https://node.example/… twice"),
        ("at ws://127.0.0.1:8546", "at ws://127.0.0.1:8546"),
        ("at http://127.0.0.1:8545/", "at http://127.0.0.1:8545"),
        ("(https://user:pass@node.example)", "(https://node.example/…)"),
        ("https://[broken/secret", "(not a URL)"),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_a_url_is_cut_to_what_names_its_host(text: str, shown: str) -> None:
    assert Redaction().text(text) == shown


def test_a_hidden_text_that_contains_another_is_hidden_whole() -> None:
    redaction = Redaction()
    for secret in ("", "abc", "abcdef"):
        assert redaction.hide(secret) == secret

    assert redaction.text("abcdef abc") == "(hidden) (hidden)"


# Metrics --------------------------------------------------------------------------------------------------------------


def test_a_subaccount_that_is_gone_or_without_debt_shows_no_health() -> None:
    metrics = Metrics(CollectorRegistry())
    value = metrics.registry.get_sample_value

    metrics.set_subaccounts({"morpho:0x1": "Watching", "wallet": "Healthy"}, {"morpho:0x1": 1_250_000_000_000_000_000})
    assert value("keeper_health", {"subaccount": "morpho:0x1"}) == 1.25

    metrics.set_subaccounts({"morpho:0x1": "Unknown", "wallet": "Healthy"}, {"wallet": INFINITE_HEALTH})
    assert value("keeper_health", {"subaccount": "morpho:0x1"}) is None
    assert value("keeper_health", {"subaccount": "wallet"}) is None
    assert value("keeper_verdict", {"subaccount": "morpho:0x1", "verdict": "Watching"}) is None
    assert value("keeper_verdict", {"subaccount": "morpho:0x1", "verdict": "Unknown"}) == 1


# Health ---------------------------------------------------------------------------------------------------------------


def test_a_loop_that_does_not_come_round_is_not_alive() -> None:
    clock = Clock()
    vitals = Vitals(clock, beat_age_max=30, view_age_max=60)

    alive: list[bool] = []
    for now in (1_000.0, 1_029.9, 1_030.0, 1_030.1):
        clock.now = now
        alive.append(vitals.is_alive)
    vitals.beat()

    assert alive == [True, True, True, False]
    assert vitals.is_alive


def test_only_a_new_block_makes_the_view_fresh() -> None:
    clock = Clock()
    vitals = Vitals(clock, beat_age_max=1_000, view_age_max=60)
    assert vitals.view_age is None
    assert not vitals.is_ready

    vitals.saw("0xa")
    clock.now += 59.9
    vitals.saw("0xa")
    assert vitals.is_ready
    clock.now += 0.1
    assert vitals.is_ready
    clock.now += 0.1
    assert not vitals.is_ready

    vitals.saw("0xb")
    assert vitals.is_ready
    assert vitals.view_age == 0


def test_a_loop_that_stands_is_not_ready_however_fresh_its_last_view() -> None:
    clock = Clock()
    vitals = Vitals(clock, beat_age_max=30, view_age_max=60)
    vitals.saw("0xa")
    clock.now += 31

    assert not vitals.is_ready


@dataclass
class Served:
    clock: Clock
    vitals: Vitals
    metrics: Metrics
    url: str


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    clock = Clock()
    vitals = Vitals(clock, beat_age_max=30, view_age_max=60)
    metrics = Metrics(CollectorRegistry())
    server = TelemetryServer("127.0.0.1", 0, vitals, metrics)
    port = await server.start()
    yield Served(clock, vitals, metrics, f"http://127.0.0.1:{port}")
    await server.stop()
    await server.stop()


@pytest.mark.loopback
async def test_health_and_readiness_are_served_with_their_reason(served: Served) -> None:
    async with aiohttp.ClientSession(served.url) as session:

        async def get(path: str) -> tuple[int, object]:
            async with session.get(path) as response:
                return response.status, await response.json()

        assert await get("/healthz") == (200, {"ok": True, "loop_seconds_ago": 0.0})
        assert await get("/readyz") == (503, {"ok": False, "view_seconds_ago": None})
        served.vitals.saw("0xa")
        assert await get("/readyz") == (200, {"ok": True, "view_seconds_ago": 0.0})
        served.clock.now += 61
        assert await get("/healthz") == (503, {"ok": False, "loop_seconds_ago": 61.0})
        assert await get("/readyz") == (503, {"ok": False, "view_seconds_ago": 61.0})


@pytest.mark.loopback
async def test_metrics_are_served_for_prometheus(served: Served) -> None:
    served.metrics.cycles.labels("planned").inc()
    served.metrics.gas_spent_wei.inc(200_000 * 10**9)

    async with aiohttp.ClientSession(served.url) as session, session.get("/metrics") as response:
        lines = (await response.text()).splitlines()

    assert 'keeper_cycles_total{result="planned"} 1.0' in lines
    assert "keeper_gas_spent_wei_total 2e+14" in lines
    assert response.headers["Content-Type"].startswith("text/plain; version=")


@pytest.mark.loopback
async def test_a_port_that_is_taken_is_a_sentence(served: Served) -> None:
    port = int(served.url.rpartition(":")[2])

    with pytest.raises(
        KeeperError, match=rf"Nothing can listen at 127.0.0.1:{port} \(.*\); change \[telemetry\] listen"
    ):
        await TelemetryServer("127.0.0.1", port, served.vitals, served.metrics).start()
