"""Which Chainlink-type aggregators are behind Aave's price sources.

A source is an aggregator itself, or one of Aave's adapters (a cap on a price, a price through a second asset) that
names what it asks. Nobody checks the age of what they answer, so we look for what has one.
"""

from collections.abc import Mapping, Sequence

from keeper.core.units import Address
from keeper.protocols.abi import ZERO_ADDRESS, interface, word_address
from keeper.protocols.base import Call, CallResult, Discovery

LEVELS_MAX = 3
"""A capped price of a price through a capped price; no adapter in use goes deeper."""

GETTERS = ("ASSET_TO_USD_AGGREGATOR", "BASE_TO_USD_AGGREGATOR", "ASSET_TO_PEG", "BASE_TO_PEG", "PEG_TO_BASE")
"""bgd-labs/aave-price-feeds: PriceCapAdapterStable, PriceCapAdapterBase, CLSynchronicityPriceAdapter…"""
RATIO_GETTER = "RATIO_PROVIDER"
"""Of a price-cap adapter: an aggregator (then it has an age), or a token that knows its own rate (then none)."""
CALLS = 2 + len(GETTERS) + 1


def feeds_behind(sources: Sequence[Address]) -> Discovery[dict[Address, tuple[Address, ...] | None]]:
    """The aggregators behind each source; None where it does not name them, as the fallback oracle. One to three rounds
    of calls."""
    asks: dict[Address, _Source] = {}
    wanted = list(dict.fromkeys(source for source in sources if source != ZERO_ADDRESS))
    for _ in range(LEVELS_MAX):
        if not wanted:
            break
        results = yield [call for source in wanted for call in _calls(source)]
        found = [_decode(results[CALLS * place : CALLS * (place + 1)]) for place in range(len(wanted))]
        asks.update(zip(wanted, found, strict=True))
        below = (part for one in found if not one.is_aggregator for part in (*one.parts, *one.ratios))
        wanted = [source for source in dict.fromkeys(below) if source not in asks]
    return {source: _aggregators(source, asks, LEVELS_MAX) for source in dict.fromkeys(sources)}


class _Source:
    """What one source said about itself."""

    def __init__(self, is_aggregator: bool, parts: tuple[Address, ...], ratios: tuple[Address, ...]) -> None:
        self.is_aggregator = is_aggregator
        self.parts = parts
        self.ratios = ratios


def _calls(source: Address) -> list[Call]:
    aggregator, adapter = interface("Aggregator"), interface("AavePriceSource")
    return [
        Call(source, aggregator["latestRoundData"].encode()),
        Call(source, aggregator["decimals"].encode()),
        *(Call(source, adapter[name].encode()) for name in (*GETTERS, RATIO_GETTER)),
    ]


def _decode(results: Sequence[CallResult]) -> _Source:
    of_round, of_decimals, *of_parts, of_ratio = results
    is_aggregator = (
        of_round.success and len(of_round.data) == 160 and of_decimals.success and len(of_decimals.data) == 32
    )
    return _Source(is_aggregator, _named(of_parts), _named([of_ratio]))


def _named(results: Sequence[CallResult]) -> tuple[Address, ...]:
    named = (word_address(one.data) for one in results if one.success and len(one.data) == 32)
    return tuple(dict.fromkeys(address for address in named if address != ZERO_ADDRESS))


def _aggregators(source: Address, asks: Mapping[Address, _Source], levels: int) -> tuple[Address, ...] | None:
    one = asks.get(source)
    if one is None or levels == 0:
        return None
    if one.is_aggregator:
        return (source,)
    below = [_aggregators(part, asks, levels - 1) for part in one.parts]
    if not below or any(feeds is None for feeds in below):
        return None
    ratios = [ratio for ratio in one.ratios if ratio in asks and asks[ratio].is_aggregator]
    return tuple(dict.fromkeys([*(feed for feeds in below if feeds for feed in feeds), *ratios]))
