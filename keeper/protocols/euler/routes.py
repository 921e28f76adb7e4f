"""How Euler's routers come by their prices, as far as they say.

An oracle is asked what it is by what it answers to; one that answers to nothing that we know is used all the same, with
the age of its price unverified. Whether the arithmetic is right is not taken on trust but seen each cycle, in what the
vaults make of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from keeper.core.units import WAD, Address
from keeper.protocols.abi import ZERO_ADDRESS, interface, word_address
from keeper.protocols.base import Call, CallResult, Discovery
from keeper.protocols.euler.math import Ltv
from keeper.protocols.euler.topology import Leg, Route, Vault, address_in, decode_ltv


@dataclass(frozen=True, slots=True)
class _Described:
    """What an oracle says of itself."""

    base: Address | None
    cross: Address | None
    base_cross: Address | None
    cross_quote: Address | None
    feed: Address | None
    has_rate_provider: bool


def find_routes(
    vaults: Sequence[Vault],
) -> Discovery[tuple[tuple[Route, ...], dict[tuple[Address, Address], Ltv]]]:
    """Four rounds: LTVs with what the routers resolve to, the oracles, those that they chain, and their feeds."""
    known = {vault.address: vault for vault in vaults}
    lenders = [vault for vault in vaults if vault.lends]
    pairs = [(lender, known[one]) for lender in lenders for one in known if one != lender.address]
    of_vault, of_oracle = interface("EulerVault"), interface("EulerOracle")
    results = yield [
        *(Call(lender.address, of_vault["LTVFull"].encode(vault.address)) for lender, vault in pairs),
        *(
            Call(lender.oracle, of_oracle["resolveOracle"].encode(WAD, vault.address, _unit(lender)))
            for lender, vault in pairs
        ),
        *(
            Call(lender.oracle, of_oracle["getConfiguredOracle"].encode(lender.asset.address, _unit(lender)))
            for lender in lenders
        ),
    ]
    count = len(pairs)
    ltvs = {
        (lender.address, vault.address): ltv
        for (lender, vault), result in zip(pairs, results, strict=False)
        if (ltv := decode_ltv(result)) and ltv.target_timestamp
    }
    resolved = [
        (lender, vault, *_resolved(lender, vault, result))
        for (lender, vault), result in zip(pairs, results[count : 2 * count], strict=True)
    ] + [
        (lender, lender, lender.asset.address, address_in(result) or ZERO_ADDRESS)
        for lender, result in zip(lenders, results[2 * count :], strict=True)
    ]
    oracles = yield from _describe_oracles(oracle for *_, oracle in resolved)
    legs = [leg for one in oracles.values() for leg in (one.base_cross, one.cross_quote) if leg]
    oracles |= yield from _describe_oracles(one for one in legs if one not in oracles)
    wanted = list(dict.fromkeys(one.feed for one in oracles.values() if one.feed))
    rounds = yield [Call(feed, interface("Aggregator")["latestRoundData"].encode()) for feed in wanted]
    aggregators = {feed for feed, round in zip(wanted, rounds, strict=True) if round.success and len(round.data) == 160}
    routes = tuple(
        _route(lender, vault, base, oracle, oracles, aggregators) for lender, vault, base, oracle in resolved
    )
    return routes, ltvs


def _unit(lender: Vault) -> Address:
    assert lender.unit is not None  # or it does not lend
    return lender.unit.address


def _resolved(lender: Vault, vault: Vault, result: CallResult) -> tuple[Address, Address]:
    """What the router comes to price for a share, and by which oracle; the share by one unknown if it does not say."""
    if not result.success or len(result.data) != 128:
        return vault.address, ZERO_ADDRESS
    base, quoted, oracle = (word_address(result.data[at : at + 32]) for at in range(32, 128, 32))
    is_understood = base in (vault.address, vault.asset.address) and quoted == _unit(lender)
    return (base, oracle) if is_understood else (vault.address, ZERO_ADDRESS)


_GETTERS = ("base", "cross", "oracleBaseCross", "oracleCrossQuote", "feed", "rateProvider")


def _describe_oracles(oracles: Iterable[Address]) -> Discovery[dict[Address, _Described]]:
    wanted = [oracle for oracle in dict.fromkeys(oracles) if oracle != ZERO_ADDRESS]
    getters = [interface("EulerOracle")[name].encode() for name in _GETTERS]
    results = yield [Call(oracle, getter) for oracle in wanted for getter in getters]
    described: dict[Address, _Described] = {}
    for place, oracle in enumerate(wanted):
        said = [address_in(one) for one in results[len(getters) * place : len(getters) * (place + 1)]]
        base, cross, base_cross, cross_quote, feed, provider = said
        described[oracle] = _Described(base, cross, base_cross, cross_quote, feed, provider is not None)
    return described


def _route(
    lender: Vault,
    vault: Vault,
    base: Address,
    oracle: Address,
    oracles: dict[Address, _Described],
    aggregators: set[Address],
) -> Route:
    unit, is_by_share = _unit(lender), lender is not vault and base == vault.address
    if base == unit:
        return Route(lender.address, vault.address, (), is_by_share, ())
    one = oracles.get(oracle)
    if one is None or not one.cross or not one.base_cross or not one.cross_quote:
        feeds = _feeds(one, aggregators)
        return Route(lender.address, vault.address, (Leg(lender.oracle, base, unit),), is_by_share, feeds)
    # CrossAdapter._getQuote: base to cross to quote, or the same two the other way round.
    ways = (one.base_cross, one.cross_quote)
    first, second = ways if one.base == base else ways[::-1]
    of_first, of_second = (_feeds(oracles.get(way), aggregators) for way in (first, second))
    feeds = None if of_first is None or of_second is None else tuple(dict.fromkeys([*of_first, *of_second]))
    legs = (Leg(first, base, one.cross), Leg(second, one.cross, unit))
    return Route(lender.address, vault.address, legs, is_by_share, feeds)


def _feeds(oracle: _Described | None, aggregators: set[Address]) -> tuple[Address, ...] | None:
    """The aggregators behind one adapter; a rate provider is a rate kept on-chain, with no age."""
    if oracle is None:
        return None
    if oracle.feed:
        return (oracle.feed,) if oracle.feed in aggregators else None
    return () if oracle.has_rate_provider else None
