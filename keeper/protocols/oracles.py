"""Chainlink-type aggregators: the latest round of each feed, and whether it may be believed.

No protocol that we know checks the age of its prices, so we do: against the heartbeat that each feed itself promises. A
round that is too old, not positive or unreadable has a name and makes no account healthy.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from keeper.core.snapshot import Disputed, FeedRound, Fresh, FreshnessUnverified, Reading, Stale, Unknown
from keeper.core.units import WAD, Address, Wad
from keeper.errors import ProtocolError
from keeper.protocols.abi import interface, printable, short, word_int
from keeper.protocols.base import Call, CallResult, Discovery

FEED_DECIMALS_MAX = 36


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """What the owner says about a feed; `name` is for people."""

    address: Address
    name: str
    heartbeat_seconds: int | None
    """The longest that the feed itself promises to stay silent; None when the owner does not know it."""


@dataclass(frozen=True, slots=True)
class Feed:
    """One aggregator, with what is read rarely."""

    address: Address
    name: str
    decimals: int
    heartbeat_seconds: int | None


def discover_feeds(addresses: Iterable[Address], settings: Iterable[FeedSettings]) -> Discovery[tuple[Feed, ...]]:
    """Decimals and names of the feeds, and the owner's heartbeats; each feed once, in order of first mention.

    Raises ProtocolError naming a feed that is no aggregator.
    """
    known = {setting.address: setting for setting in settings}
    wanted = list(dict.fromkeys(addresses))
    aggregator = interface("Aggregator")
    decimals, description = aggregator["decimals"], aggregator["description"]
    results = yield [Call(feed, data) for feed in wanted for data in (decimals.encode(), description.encode())]
    feeds: list[Feed] = []
    for feed, of_decimals, of_description in zip(wanted, results[::2], results[1::2], strict=True):
        setting = known.get(feed)
        if not of_decimals.success or len(of_decimals.data) != 32:
            raise ProtocolError(
                f"the price feed {feed} does not say its decimals; it is not a Chainlink-type aggregator"
            )
        scale = int.from_bytes(of_decimals.data)
        if scale > FEED_DECIMALS_MAX:
            raise ProtocolError(f"the price feed {feed} says that it has {scale} decimals; it is not an aggregator")
        feeds.append(
            Feed(
                feed,
                setting.name if setting else _description(of_description) or short(feed),
                scale,
                setting.heartbeat_seconds if setting else None,
            )
        )
    return tuple(feeds)


def _description(result: CallResult) -> str:
    if not result.success:
        return ""
    try:
        return printable(interface("Aggregator")["description"].decode(result.data)[0], 40)
    except ProtocolError:
        return ""


def round_calls(feeds: Sequence[Feed]) -> list[Call]:
    """The latest round of each feed."""
    data = interface("Aggregator")["latestRoundData"].encode()
    return [Call(feed.address, data) for feed in feeds]


def decode_round(feed: Feed, result: CallResult) -> FeedRound | Unknown:
    """A feed's latest round, or why it cannot be read."""
    # latestRoundData: roundId, answer, startedAt, updatedAt, answeredInRound
    if not result.success or len(result.data) != 160:
        return Unknown(f"price feed {feed.name} {short(feed.address)} does not answer: {result.problem('a round')}")
    return FeedRound(
        feed.address,
        feed.name,
        word_int(result.data[32:64]),
        feed.decimals,
        int.from_bytes(result.data[96:128]),
        feed.heartbeat_seconds,
    )


def judge(round: FeedRound, now: int, slack_seconds: int) -> Reading:
    """How well a round is known at unix time `now`; `slack_seconds` is what its heartbeat may be missed by."""
    name = f"price feed {round.name} {short(round.feed)}"
    if round.answer <= 0:
        return Unknown(f"{name} answers {round.answer}")
    if round.updated_at == 0:
        return Unknown(f"{name} has no complete round")
    if round.updated_at > now:
        return Unknown(f"{name} says it was updated {round.updated_at - now} s after the block")
    if round.heartbeat_seconds is None:
        return FreshnessUnverified(f"the heartbeat of {name} is not configured, so its age cannot be judged")
    age = now - round.updated_at
    if age > round.heartbeat_seconds + slack_seconds:
        return Stale(f"{name} is {age} s old, its heartbeat is {round.heartbeat_seconds} s")
    return Fresh()


_FRESH = Fresh()
_SEVERITY: Mapping[type[Reading], int] = {Fresh: 0, FreshnessUnverified: 1, Stale: 2, Disputed: 3, Unknown: 4}


def worst(readings: Iterable[Reading]) -> Reading:
    """What is known of something that rests on all of these: the worst of them, the first where several are as bad."""
    result: Reading = _FRESH
    for reading in readings:
        if _SEVERITY[type(reading)] > _SEVERITY[type(result)]:
            result = reading
    return result


def usd_price(
    feed: Address | None, rounds: Mapping[Address, FeedRound], readings: Mapping[Address, Reading]
) -> Wad | None:
    """USD per whole token from a feed quoted in USD, WAD, rounded down; None when the feed is no use now."""
    if feed is None:
        return None
    round = rounds.get(feed)
    if round is None or isinstance(readings[feed], Stale | Unknown):
        return None
    return round.answer * WAD // 10**round.decimals
