"""Endpoints are told of by their names: as metrics always, as alarms when somebody has to do something."""

import pytest
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from keeper.alerts import Alerts
from keeper.chain.node import Node
from keeper.chain.pace import Limits
from keeper.chain.pool import Asked, Behind, Event, Quarantined
from keeper.endpoints import EndpointWatch
from keeper.errors import NodeUnreachable, WrongChain
from keeper.telemetry import Metrics
from tests.fakes import FakeClock, FakeProvider

CLOCK = FakeClock()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics(CollectorRegistry())


@pytest.fixture
def watch(metrics: Metrics) -> EndpointWatch:
    return EndpointWatch(metrics, Alerts(None, {}, metrics, 900, 3_600, CLOCK.now, CLOCK.monotonic))


@pytest.fixture
def node() -> Node:
    return Node(FakeProvider("https://node.example/…", {}), 1, Limits(timeout_seconds=5), CLOCK)


def alarms(watch: EndpointWatch, *events: Event) -> list[tuple[str, str, str]]:
    with capture_logs() as logs:
        for event in events:
            watch(event)
    return [(entry["alarm"], entry["subject"], entry["event"]) for entry in logs if "alarm" in entry]


def value(metrics: Metrics, name: str, node: Node, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"endpoint": node.label, **labels})


def test_every_request_is_counted_and_what_is_known_of_the_endpoint_is_shown(
    watch: EndpointWatch, metrics: Metrics, node: Node
) -> None:
    node.pace.refused(CLOCK.monotonic(), None)
    node.disappoints()
    watch(Asked(node, "eth_call", "answered"))
    assert value(metrics, "keeper_rpc_requests_total", node, method="eth_call", result="answered") == 1
    assert value(metrics, "keeper_endpoint_pace", node) == 0.5
    assert value(metrics, "keeper_endpoint_latency_seconds", node) == 0.5
    assert value(metrics, "keeper_endpoint_expected_seconds", node) == 0.5 + 5 / 8
    assert value(metrics, "keeper_endpoint_quarantined", node) == 0


@pytest.mark.parametrize(("failed", "is_told"), [(5, False), (6, True)])
def test_an_endpoint_that_mostly_fails_is_told_though_others_answer(
    watch: EndpointWatch, node: Node, failed: int, is_told: bool
) -> None:
    for _ in range(failed):
        node.disappoints()
    fault = NodeUnreachable("https://node.example/… did not answer eth_call within 5 s.")
    expected = [("node_failing", node.label, str(fault))] if is_told else []
    assert alarms(watch, Asked(node, "eth_call", "NodeUnreachable", fault)) == expected


def test_an_endpoint_of_another_chain_is_told_at_once(watch: EndpointWatch, node: Node) -> None:
    fault = WrongChain("https://node.example/… is a node of chain 5 and the configuration says 1.")
    assert alarms(watch, Asked(node, "eth_call", "WrongChain", fault)) == [("node_failing", node.label, str(fault))]


def test_an_endpoint_that_is_behind_is_told(watch: EndpointWatch, node: Node) -> None:
    says = f"{node.label} has not told of a block near 108 for 5 heads; it is behind, or stands still."
    assert alarms(watch, Behind(node, says)) == [("node_failing", node.label, says)]


def test_an_endpoint_that_contradicts_a_quorum_is_told_by_name(
    watch: EndpointWatch, metrics: Metrics, node: Node
) -> None:
    says = f"{node.label} contradicts a quorum of the endpoints about the state at block 100"
    event = Quarantined(node, says, node.quarantine())
    sentence = f"{says}; its word is not asked for during 60 s. If it happens again, remove it."
    assert alarms(watch, event, event) == [("endpoint_dissents", node.label, sentence)]
    assert value(metrics, "keeper_endpoint_quarantined", node) == 1
