"""Whether a rollup's sequencer is up, by Chainlink's uptime feed on it.

While a sequencer is down nobody can act, and prices stand still; when it comes back they are old, and everybody acts at
once. Until a grace period is over no price is believed enough to take from an account with debt.
"""

from dataclasses import dataclass

from keeper.core.units import Address
from keeper.protocols.abi import interface, short
from keeper.protocols.base import Call, CallResult

UP, DOWN = 0, 1


@dataclass(frozen=True, slots=True)
class Sequencer:
    """The feed that says whether it is up, and how long after an outage prices are not believed."""

    feed: Address
    grace_seconds: int


def sequencer_call(sequencer: Sequencer) -> Call:
    return Call(sequencer.feed, interface("Aggregator")["latestRoundData"].encode())


def sequencer_problem(sequencer: Sequencer, result: CallResult, now: int) -> str | None:
    """Why prices are not believed at unix time `now`; None when it is up for longer than the grace period."""
    name = f"sequencer feed {short(sequencer.feed)}"
    # latestRoundData: roundId, answer, startedAt (when the answer last changed), updatedAt, answeredInRound
    if not result.success or len(result.data) != 160:
        return f"whether the sequencer is up is unknown: {name} does not answer: {result.problem('a round')}"
    answer, started_at = int.from_bytes(result.data[32:64]), int.from_bytes(result.data[64:96])
    # ArbitrumSequencerUptimeFeed: a round that never was has no start.
    if answer not in (UP, DOWN) or started_at == 0 or started_at > now:
        return f"whether the sequencer is up is unknown: {name} answers {answer}, since {started_at}"
    if answer == DOWN:
        return f"the chain's sequencer is down since {now - started_at} s, says {name}"
    if now - started_at < sequencer.grace_seconds:
        return (
            f"the chain's sequencer came back {now - started_at} s ago, and its grace period is "
            f"{sequencer.grace_seconds} s"
        )
    return None
