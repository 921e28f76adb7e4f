import pytest

from keeper.core.snapshot import FeedRound, Fresh, FreshnessUnverified, Reading, Stale, Unknown
from keeper.errors import ProtocolError
from keeper.protocols.abi import interface
from keeper.protocols.base import CallResult
from keeper.protocols.oracles import (
    Feed,
    FeedSettings,
    decode_round,
    discover_feeds,
    judge,
    round_calls,
    usd_price,
    worst,
)
from tests.protocols.fakes import ETH_FEED, NOW, REVERT_STALE, USDC_FEED, FakeChain, a_chain, set_round

FEED = Feed(ETH_FEED, "ETH/USD", 8, 3_600)
SHORT = "0x0000…00f1"


def a_round(answer: int = 2_500 * 10**8, age: int = 0, heartbeat: int | None = 3_600) -> FeedRound:
    return FeedRound(ETH_FEED, "ETH/USD", answer, 8, NOW - age, heartbeat)


@pytest.mark.parametrize(
    ("round", "reading"),
    [
        (a_round(age=0), Fresh()),
        (a_round(age=3_660), Fresh()),  # heartbeat and slack to the second
        (a_round(age=3_661), Stale(f"price feed ETH/USD {SHORT} is 3661 s old, its heartbeat is 3600 s")),
        (a_round(age=-1), Unknown(f"price feed ETH/USD {SHORT} says it was updated 1 s after the block")),
        (a_round(answer=1), Fresh()),
        (a_round(answer=0), Unknown(f"price feed ETH/USD {SHORT} answers 0")),
        (a_round(answer=-5), Unknown(f"price feed ETH/USD {SHORT} answers -5")),
        (a_round(age=NOW), Unknown(f"price feed ETH/USD {SHORT} has no complete round")),
        (
            a_round(age=3, heartbeat=None),
            FreshnessUnverified(
                f"the heartbeat of price feed ETH/USD {SHORT} is not configured, so its age cannot be judged"
            ),
        ),
        # Nonsense stays nonsense, whether or not a heartbeat is known.
        (a_round(answer=0, heartbeat=None), Unknown(f"price feed ETH/USD {SHORT} answers 0")),
    ],
)
def test_a_round_is_judged_by_its_own_feeds_heartbeat(round: FeedRound, reading: Reading) -> None:
    assert judge(round, NOW, slack_seconds=60) == reading


def test_a_round_is_read_from_five_words() -> None:
    chain = a_chain()
    set_round(chain, ETH_FEED, 1_999_99999999, NOW - 17)
    (result,) = chain.results(round_calls([FEED]))
    assert decode_round(FEED, result) == FeedRound(ETH_FEED, "ETH/USD", 199_999_999_999, 8, NOW - 17, 3_600)


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (CallResult(False, REVERT_STALE), f"price feed ETH/USD {SHORT} does not answer: stale"),
        (CallResult(True, b""), f"price feed ETH/USD {SHORT} does not answer: 0 bytes instead of a round"),
        (CallResult(True, bytes(32)), f"price feed ETH/USD {SHORT} does not answer: 32 bytes instead of a round"),
    ],
)
def test_a_feed_that_cannot_be_read_is_named(result: CallResult, reason: str) -> None:
    assert decode_round(FEED, result) == Unknown(reason)


def test_the_worst_reading_counts_and_the_first_of_equals() -> None:
    unverified, stale, unknown = FreshnessUnverified("a"), Stale("b"), Unknown("c")
    assert worst([]) == Fresh()
    assert worst([Fresh(), unverified, Fresh()]) == unverified
    assert worst([unverified, stale, FreshnessUnverified("z")]) == stale
    assert worst([stale, unknown, Unknown("d")]) == unknown


# Discovery ------------------------------------------------------------------------------------------------------------


def test_feeds_are_found_once_with_the_owners_name_or_their_own() -> None:
    feeds, rounds = a_chain().run(
        discover_feeds([ETH_FEED, USDC_FEED, ETH_FEED], [FeedSettings(ETH_FEED, "ether", 3_600)])
    )
    assert feeds == (Feed(ETH_FEED, "ether", 8, 3_600), Feed(USDC_FEED, "USDC / USD", 8, None))
    assert rounds == 1


def test_a_feed_without_a_description_is_called_by_its_address() -> None:
    chain = a_chain()
    chain.revert(ETH_FEED, interface("Aggregator")["description"])
    feeds, _ = chain.run(discover_feeds([ETH_FEED], []))
    assert feeds[0].name == SHORT


@pytest.mark.parametrize("decimals", [None, 37])
def test_what_is_no_aggregator_is_refused_by_address(decimals: int | None) -> None:
    chain = FakeChain()
    if decimals is not None:
        chain.answer(ETH_FEED, interface("Aggregator")["decimals"], returns=[decimals])
    with pytest.raises(ProtocolError, match=ETH_FEED):
        chain.run(discover_feeds([ETH_FEED], []))


# Prices in USD --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "decimals", "price"),
    [
        (2_500 * 10**8, 8, 2_500 * 10**18),
        (123_456_789, 8, 1_234_567_890_000_000_000),
        (7, 18, 7),
        (19, 19, 1),  # 1.9e-18 rounds down
    ],
)
def test_a_price_in_usd_is_wad_rounded_down(answer: int, decimals: int, price: int) -> None:
    rounds = {ETH_FEED: FeedRound(ETH_FEED, "ETH/USD", answer, decimals, NOW, None)}
    assert usd_price(ETH_FEED, rounds, {ETH_FEED: Fresh()}) == price


@pytest.mark.parametrize(
    ("reading", "is_usable"),
    [(Fresh(), True), (FreshnessUnverified("age"), True), (Stale("old"), False), (Unknown("zero"), False)],
)
def test_a_price_that_is_stale_or_unknown_is_absent(reading: Reading, is_usable: bool) -> None:
    price = usd_price(ETH_FEED, {ETH_FEED: a_round()}, {ETH_FEED: reading})
    assert price == (2_500 * 10**18 if is_usable else None)


def test_a_price_without_a_feed_is_absent() -> None:
    assert usd_price(None, {}, {}) is None
    assert usd_price(ETH_FEED, {}, {ETH_FEED: Unknown("reverts")}) is None
