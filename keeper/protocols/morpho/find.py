"""Which markets of Morpho Blue somebody has a position in: Morpho keeps no list, so its logs are looked through.

Anybody may supply collateral for anybody, in a market of his own making: what is found is asked again before it counts.
"""

from collections.abc import Iterable, Sequence

from keeper.core.units import Address
from keeper.protocols.abi import interface
from keeper.protocols.base import Call, Discovery, LogFilter


def position_log_filter(morpho: Address, owner: Address) -> LogFilter:
    """Logs that name every market that the owner can have a position in: without collateral there is no debt."""
    topic = interface("Morpho").events["SupplyCollateral"].topic
    return LogFilter(morpho, (f"0x{topic.hex()}", None, None, f"0x{owner[2:]:0>64}"))


def market_ids_in(log_topics: Iterable[Sequence[str]]) -> tuple[str, ...]:
    """The market ids in the topics of such logs, each once, in order of first appearance."""
    return tuple(dict.fromkeys(topics[1].lower() for topics in log_topics))


def held(morpho: Address, owner: Address, ids: Sequence[str]) -> Discovery[tuple[str, ...]]:
    """Those of the markets in which the owner has collateral or a debt now: one round."""
    position = interface("Morpho")["position"]
    results = yield [Call(morpho, position.encode(bytes.fromhex(id[2:]), owner)) for id in ids]
    # Supply shares, borrow shares, collateral. What is only lent out is no position that could be liquidated.
    return tuple(id for id, result in zip(ids, results, strict=True) if result.success and any(result.data[32:96]))
