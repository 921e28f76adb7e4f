"""What the process says of its own loop."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from keeper.pulse import Pulse
from keeper.telemetry import Metrics
from tests.fakes import FakeClock


class LateClock(FakeClock):
    """Comes back from each sleep so much too late; then nobody sleeps any more."""

    def __init__(self, late: list[float]) -> None:
        super().__init__()
        self._lates = iter(late)

    async def sleep(self, seconds: float) -> None:
        late = next(self._lates, None)
        if late is None:
            raise asyncio.CancelledError
        await super().sleep(seconds + late)


async def measured(*late: float) -> tuple[float | None, float | None]:
    registry = CollectorRegistry()
    pulse = Pulse(Metrics(registry), LateClock([*late]))
    with pytest.raises(asyncio.CancelledError):
        await pulse.run()
    return registry.get_sample_value("keeper_loop_lag_seconds"), registry.get_sample_value("keeper_tasks")


@pytest.mark.parametrize(
    ("late", "worst"),
    [
        ([0.0], 0.0),
        ([0.25, 0.5, 0.125], 0.5),
        ([0.5, *[0.25] * 59], 0.5),
        ([0.5, *[0.25] * 60], 0.25),
    ],
)
async def test_the_lag_that_is_shown_is_the_worst_of_the_last_minute(late: list[float], worst: float) -> None:
    assert (await measured(*late))[0] == pytest.approx(worst)


async def test_the_tasks_of_the_loop_are_counted() -> None:
    beside = asyncio.create_task(asyncio.Event().wait())
    try:
        assert (await measured(0.0))[1] == 2
    finally:
        beside.cancel()
