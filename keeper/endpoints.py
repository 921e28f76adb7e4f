"""What becomes known of endpoints, as metrics and alarms: each by its name."""

from typing import assert_never

from keeper.alerts import Alarm, Alerts
from keeper.chain.node import DOWN, Node
from keeper.chain.pool import Asked, Behind, Event, Quarantined
from keeper.errors import WrongChain
from keeper.telemetry import Metrics


class EndpointWatch:
    """An `Observer`: told of every request to an endpoint, and of every quarantine."""

    def __init__(self, metrics: Metrics, alerts: Alerts) -> None:
        self._metrics = metrics
        self._alerts = alerts

    def __call__(self, event: Event) -> None:
        match event:
            case Asked(node, method, result, fault):
                self._metrics.requests.labels(node.label, method, result).inc()
                if fault is not None and (isinstance(fault, WrongChain) or node.failing > DOWN):
                    self._alerts.raise_alarm(Alarm.NODE_FAILING, node.label, str(fault))
            case Behind(node, says):
                self._alerts.raise_alarm(Alarm.NODE_FAILING, node.label, says)
            case Quarantined(node, says, seconds):
                says = f"{says}; its word is not asked for during {seconds:.0f} s. If it happens again, remove it."
                self._alerts.raise_alarm(Alarm.ENDPOINT_DISSENTS, node.label, says)
            case _:
                assert_never(event)
        self._measure(event.node)

    def _measure(self, node: Node) -> None:
        self._metrics.endpoint_latency.labels(node.label).set(node.latency_seconds)
        self._metrics.endpoint_score.labels(node.label).set(node.expected_seconds)
        self._metrics.endpoint_pace.labels(node.label).set(node.pace.share)
        self._metrics.endpoint_quarantined.labels(node.label).set(node.is_quarantined)
