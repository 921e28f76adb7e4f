"""How the daemon is watched: logs, metrics, health endpoints.

Silence is a failure here: what is not proven fresh is reported as not ready. Nothing that leaves through this module
shows more of a URL than its host, nor any text that was registered as secret.
"""

import logging
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, TextIO, cast

import structlog
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from keeper.config_values import redact_url
from keeper.core.economics import USUAL_RESCUE_BYTES, USUAL_RESCUE_GAS
from keeper.core.fees import Market, rescues_affordable
from keeper.core.plan import Lane
from keeper.core.units import INFINITE_HEALTH, WAD, Wad
from keeper.errors import KeeperError

# Logs -----------------------------------------------------------------------------------------------------------------

_URL = re.compile(r"\b(?:https?|wss?)://[^\s'\"<>)\]}]+")
HIDDEN = "(hidden)"


class Redaction:
    """Takes secrets out of everything that is logged; a structlog processor."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def hide(self, secret: str) -> str:
        """Registers a text that must never be shown, and returns it. Call it where a secret is revealed."""
        if secret:
            self._secrets.add(secret)
        return secret

    def text(self, text: str) -> str:
        """`text` without registered secrets and with URLs cut to scheme, host and port."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, HIDDEN)
        return _URL.sub(lambda match: redact_url(match[0]), text)

    def value(self, value: object) -> object:
        """The same for anything that a log line may hold."""
        match value:
            case str():
                return self.text(value)
            case bool() | int() | float() | None:
                return value
            case Mapping():
                items = cast(Mapping[object, object], value).items()
                return {self.value(key): self.value(item) for key, item in items}
            case list() | tuple():
                return [self.value(entry) for entry in cast(list[object] | tuple[object, ...], value)]
            case bytes():
                return f"0x{value.hex()}"
            case _:
                return self.text(str(value))

    def __call__(self, _logger: Any, _name: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        # structlog's own entries (underscored) go to its formatter, not to a person.
        return {key: value if key.startswith("_") else self.value(value) for key, value in event.items()}


def set_up_logging(level: str, redaction: Redaction, stream: TextIO = sys.stderr) -> None:
    """One line per event on `stream`: JSON, or readable and coloured when it is a terminal.

    Libraries that use the standard logging come out the same way, so that their URLs are cut too.
    """
    is_terminal = stream.isatty()
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if is_terminal else "iso", utc=not is_terminal),
        structlog.processors.StackInfoRenderer(),
        # Before the redaction, so that it sees a traceback's text.
        structlog.processors.format_exc_info,
        redaction,
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer() if is_terminal else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for chatty in ("aiohttp.access", "web3", "websockets", "asyncio"):
        logging.getLogger(chatty).setLevel(max(logging.WARNING, root.level))
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(root.level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


# Metrics --------------------------------------------------------------------------------------------------------------


class Metrics:
    """What is counted and measured; healths are floats here and nowhere that decides."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.cycles = Counter("keeper_cycles", "Cycles by how they ended", ["result"], registry=registry)
        self.cycle_seconds = Histogram(
            "keeper_cycle_seconds",
            "From a new head to the end of its cycle",
            buckets=(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10),
            registry=registry,
        )
        self.head_block = Gauge("keeper_head_block", "The newest block that a cycle has read", registry=registry)
        self.health = Gauge(
            "keeper_health", "Health factor at the last view; absent without debt", ["subaccount"], registry=registry
        )
        self._healths: dict[str, Gauge] = {}
        """The health of each subaccount that has one: to look for it by its label takes longer than to set it."""
        self._verdicts: dict[str, str] = {}
        self.verdict = Gauge(
            "keeper_verdict", "1 for the verdict that holds now", ["subaccount", "verdict"], registry=registry
        )
        self.rescues = Counter("keeper_rescues", "Rescues by how they ended", ["result"], registry=registry)
        self.transactions = Counter("keeper_transactions", "Batches by outcome", ["outcome"], registry=registry)
        self.gas_spent_wei = Counter("keeper_gas_spent_wei", "Paid for gas", registry=registry)
        self.balance_wei = Gauge("keeper_balance_wei", "What the hot key has left for gas", registry=registry)
        self.balance_rescues = Gauge(
            "keeper_balance_rescues", "For how many rescues that lasts at today's fees", registry=registry
        )
        self.balance_rescues_in_storm = Gauge(
            "keeper_balance_rescues_in_storm", "For how many rescues that lasts at a storm's fees", registry=registry
        )
        self.budget_left_wei = Gauge(
            "keeper_budget_left_wei",
            "Of the day's gas budget, what a lane may still spend",
            ["lane"],
            registry=registry,
        )
        self.signatures = Counter(
            "keeper_signatures",
            "Transactions signed: the first of a batch, or to replace one",
            ["kind"],
            registry=registry,
        )
        self.requests = Counter(
            "keeper_rpc_requests", "Requests to nodes", ["endpoint", "method", "result"], registry=registry
        )
        self.loop_lag_seconds = Gauge(
            "keeper_loop_lag_seconds", "The most that the event loop was late in the last minute", registry=registry
        )
        self.tasks = Gauge("keeper_tasks", "Tasks of the event loop", registry=registry)
        self.endpoint_latency = Gauge(
            "keeper_endpoint_latency_seconds", "How long an endpoint's answers take", ["endpoint"], registry=registry
        )
        self.endpoint_score = Gauge(
            "keeper_endpoint_expected_seconds",
            "The same with failures counted as a whole timeout; the endpoint with the least is asked first",
            ["endpoint"],
            registry=registry,
        )
        self.endpoint_pace = Gauge(
            "keeper_endpoint_pace", "Share of requests_per_second that it puts up with", ["endpoint"], registry=registry
        )
        self.endpoint_quarantined = Gauge(
            "keeper_endpoint_quarantined",
            "1 while its word is not asked for, after it contradicted a quorum",
            ["endpoint"],
            registry=registry,
        )
        self.alarms = Counter("keeper_alarms", "Alarms raised, repeated ones included", ["name"], registry=registry)

    def set_gas(self, balance_wei: int | None, market: Market, storm: Market, left_wei: Mapping[Lane, int]) -> None:
        """What there is to pay gas with (None: not known), what that is worth today and in a storm, and what each lane
        may spend."""
        if balance_wei is not None:
            self.balance_wei.set(balance_wei)
            for gauge, fees in ((self.balance_rescues, market), (self.balance_rescues_in_storm, storm)):
                gauge.set(rescues_affordable(fees, balance_wei, USUAL_RESCUE_GAS, USUAL_RESCUE_BYTES))
        for lane, wei in left_wei.items():
            self.budget_left_wei.labels(lane.value).set(wei)

    def set_subaccounts(self, verdicts: Mapping[str, str], healths: Mapping[str, Wad]) -> None:
        """Replaces both, by subaccount id: what is gone or not known any more must not linger as good."""
        known = {subaccount: health for subaccount, health in healths.items() if health < INFINITE_HEALTH}
        for subaccount in self._healths.keys() - known.keys():
            self.health.remove(subaccount)
            del self._healths[subaccount]
        for subaccount, health in known.items():
            gauge = self._healths.get(subaccount)
            if gauge is None:
                gauge = self._healths[subaccount] = self.health.labels(subaccount)
            gauge.set(health / WAD)
        if verdicts != self._verdicts:
            for subaccount, verdict in self._verdicts.items() - verdicts.items():
                self.verdict.remove(subaccount, verdict)
            for subaccount, verdict in verdicts.items() - self._verdicts.items():
                self.verdict.labels(subaccount, verdict).set(1)
            self._verdicts = dict(verdicts)


# Health ---------------------------------------------------------------------------------------------------------------


class Vitals:
    """Whether the loop turns and whether it sees a chain that moves. `clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float], beat_age_max: float, view_age_max: float) -> None:
        self._clock = clock
        self._beat_age_max = beat_age_max
        self._view_age_max = view_age_max
        self._beat_at = self._started_at = clock()
        self._view_at: float | None = None
        self._view_hash: str | None = None

    def beat(self) -> None:
        """The loop came round."""
        self._beat_at = self._clock()

    def saw(self, block_hash: str) -> None:
        """A cycle read this block completely. The same block again is no news: so looks a node that stands still."""
        if block_hash != self._view_hash:
            self._view_hash, self._view_at = block_hash, self._clock()

    @property
    def beat_age(self) -> float:
        return self._clock() - self._beat_at

    @property
    def view_age(self) -> float | None:
        """Seconds since the last new view; None before the first."""
        return None if self._view_at is None else self._clock() - self._view_at

    @property
    def blind_seconds(self) -> float | None:
        """How long nothing new was seen, since the last view or the start; None while that is not too long."""
        seconds = self._clock() - (self._started_at if self._view_at is None else self._view_at)
        return seconds if seconds > self._view_age_max else None

    @property
    def is_alive(self) -> bool:
        return self.beat_age <= self._beat_age_max

    @property
    def is_ready(self) -> bool:
        return self.is_alive and self.view_age is not None and self.view_age <= self._view_age_max


class TelemetryServer:
    """/healthz, /readyz and /metrics over HTTP, between `start` and `stop`."""

    def __init__(self, host: str, port: int, vitals: Vitals, metrics: Metrics) -> None:
        self._host = host
        self._port = port
        self._vitals = vitals
        self._metrics = metrics
        self._runner: web.AppRunner | None = None

    async def start(self) -> int:
        """Returns the port, which the system chooses for port 0. Raises KeeperError when it cannot listen there."""
        app = web.Application()
        app.add_routes(
            [
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
                web.get("/metrics", self._serve_metrics),
            ]
        )
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            raise KeeperError(
                f"Nothing can listen at {self._host}:{self._port} ({error.strerror}); change [telemetry] listen."
            ) from None
        self._runner = runner
        port: int = runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _healthz(self, _request: web.Request) -> web.Response:
        return _answer(self._vitals.is_alive, {"loop_seconds_ago": round(self._vitals.beat_age, 3)})

    async def _readyz(self, _request: web.Request) -> web.Response:
        age = self._vitals.view_age
        return _answer(self._vitals.is_ready, {"view_seconds_ago": None if age is None else round(age, 3)})

    async def _serve_metrics(self, _request: web.Request) -> web.Response:
        body = generate_latest(self._metrics.registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _answer(is_good: bool, facts: dict[str, Any]) -> web.Response:
    return web.json_response({"ok": is_good, **facts}, status=200 if is_good else 503)
