"""Morpho Blue 1.0.0: isolated markets, one subaccount for each that the owner has a position in.

The cycle's read calls `accrueInterest` before `market`, so the totals come back accrued to the pinned block. Collateral
is never lent, so all of it can always be paid out, and a position is checked at one requirement only: maintenance and
initial are the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Literal

from eth_utils.crypto import keccak

from keeper.core.policy import Pair
from keeper.core.snapshot import (
    CollateralLine,
    Debt,
    Fresh,
    FreshnessUnverified,
    GuardProtocol,
    Margin,
    Reading,
    Subaccount,
    SubaccountId,
    Token,
    Unknown,
)
from keeper.core.units import WAD, Address, Wad
from keeper.errors import ProtocolError
from keeper.protocols.abi import ZERO_ADDRESS, explain_revert, interface, short, word_address
from keeper.protocols.base import Around, Call, CallResult, Discovery, Enrolment, Source, UnknownMargin
from keeper.protocols.erc20 import TOKEN_CALLS, decode_token, token_calls
from keeper.protocols.morpho.math import ORACLE_PRICE_SCALE, MorphoMargin, penalty_bps, rate_seen
from keeper.protocols.oracles import worst

NAME = "morpho"

UINT128_MAX = 2**128 - 1
UINT256_MAX = 2**256 - 1

CALLS_PER_MARKET = 5
FEED_GETTERS = ("BASE_FEED_1", "BASE_FEED_2", "QUOTE_FEED_1", "QUOTE_FEED_2")
"""MorphoChainlinkOracleV2 names its aggregators so; a zero address stands for a feed that it does without."""


# Markets --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Market:
    """What is fixed about a market; `feeds` is None when its oracle does not name its aggregators.

    Not slotted, because what follows from it is kept: it is asked for every block.
    """

    id: str
    loan: Token
    collateral: Token
    oracle: Address
    irm: Address
    lltv: Wad
    feeds: tuple[Address, ...] | None

    @property
    def params(self) -> tuple[Address, Address, Address, Address, Wad]:
        """`MarketParams`."""
        return self.loan.address, self.collateral.address, self.oracle, self.irm, self.lltv

    @cached_property
    def subaccount(self) -> SubaccountId:
        return SubaccountId(NAME, self.id)

    @cached_property
    def label(self) -> str:
        percent = Decimal(self.lltv).scaleb(-16).normalize()
        return f"{self.collateral.symbol}/{self.loan.symbol} {percent:f}%"

    @cached_property
    def penalty_bps(self) -> int:
        return penalty_bps(self.lltv)

    @cached_property
    def value_scale(self) -> int:
        """From raw units of the loan token to WAD, exact."""
        return 10 ** (18 - self.loan.decimals)

    @cached_property
    def price_scale(self) -> int:
        """From `oracle.price()` to WAD per whole collateral token, over 1e36."""
        return self.value_scale * 10**self.collateral.decimals


def discover(
    morpho: Address, owner: Address, guard: Address | None, market_ids: Sequence[str]
) -> "Discovery[MorphoBlue]":
    """The markets with these ids (0x and 64 hex digits), their tokens and their oracles' feeds: two rounds.

    Raises ProtocolError naming a market that does not exist or a token that cannot be used.
    """
    market_ids = [id.lower() for id in market_ids]
    to_params = interface("Morpho")["idToMarketParams"]
    ids = [bytes.fromhex(id[2:]) for id in market_ids]
    results = yield [Call(morpho, to_params.encode(id)) for id in ids]
    found = [_decode_params(morpho, id, result) for id, result in zip(market_ids, results, strict=True)]

    tokens = list(dict.fromkeys(token for loan, collateral, *_ in found for token in (loan, collateral)))
    oracles = list(dict.fromkeys(oracle for _, _, oracle, _, _ in found))
    getters = [interface("MorphoOracle")[name].encode() for name in FEED_GETTERS]
    results = yield [
        *(call for token in tokens for call in token_calls(token)),
        *(Call(oracle, getter) for oracle in oracles for getter in getters),
    ]
    of_oracles = results[TOKEN_CALLS * len(tokens) :]
    described = {
        token: decode_token(token, results[TOKEN_CALLS * index : TOKEN_CALLS * (index + 1)])
        for index, token in enumerate(tokens)
    }
    feeds = {
        oracle: _decode_feeds(of_oracles[len(getters) * index : len(getters) * (index + 1)])
        for index, oracle in enumerate(oracles)
    }
    markets = tuple(
        Market(id, described[loan], described[collateral], oracle, irm, lltv, feeds[oracle])
        for id, (loan, collateral, oracle, irm, lltv) in zip(market_ids, found, strict=True)
    )
    return MorphoBlue(morpho, owner, guard, markets)


def _decode_params(morpho: Address, id: str, result: CallResult) -> tuple[Address, Address, Address, Address, Wad]:
    if not result.success or len(result.data) != 160:
        raise ProtocolError(f"{morpho} is not Morpho Blue: it knows no idToMarketParams; correct its address")
    if not any(result.data):
        raise ProtocolError(f"Morpho at {morpho} has no market {id}; correct or remove the id")
    # MarketParamsLib.id: the hash of the five words. A Morpho that answers another market's would be found out here.
    if keccak(result.data).hex() != id.removeprefix("0x"):
        raise ProtocolError(f"Morpho at {morpho} answers for market {id} with the parameters of another one")
    words = [result.data[at : at + 32] for at in range(0, 160, 32)]
    loan, collateral, oracle, irm = (word_address(word) for word in words[:4])
    if collateral == ZERO_ADDRESS:
        raise ProtocolError(f"market {id} has no collateral token (it only lends idle loans); remove the id")
    return loan, collateral, oracle, irm, int.from_bytes(words[4])


def _decode_feeds(results: Sequence[CallResult]) -> tuple[Address, ...] | None:
    if not all(result.success and len(result.data) == 32 for result in results):
        return None
    feeds = (word_address(result.data) for result in results)
    return tuple(dict.fromkeys(feed for feed in feeds if feed != ZERO_ADDRESS))


# The adapter ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MorphoBlue:
    """The owner's positions in chosen markets of one Morpho."""

    morpho: Address
    owner: Address
    guard: Address | None
    markets: tuple[Market, ...]
    kind: Literal["morpho_blue"] = "morpho_blue"

    @property
    def name(self) -> str:
        return NAME

    def read_calls(self) -> list[Call]:
        """`isAuthorized` once, if there is a guard; then five calls for each market."""
        morpho, price = interface("Morpho"), interface("MorphoOracle")["price"].encode()
        calls: list[Call] = []
        if self.guard is not None:
            calls.append(Call(self.morpho, morpho["isAuthorized"].encode(self.owner, self.guard)))
        for market in self.markets:
            id = bytes.fromhex(market.id[2:])
            of_market = Call(self.morpho, morpho["market"].encode(id))
            calls += [
                of_market,
                Call(self.morpho, morpho["accrueInterest"].encode(market.params)),
                of_market,
                Call(self.morpho, morpho["position"].encode(id, self.owner)),
                Call(market.oracle, price),
            ]
        return calls

    def feeds(self) -> list[Address]:
        return list(dict.fromkeys(feed for market in self.markets for feed in market.feeds or ()))

    def tokens(self) -> list[Token]:
        return list(dict.fromkeys(token for market in self.markets for token in (market.collateral, market.loan)))

    def underlyings(self) -> list[Address]:
        """Loans too: they are never taken, but may be repaid."""
        return list(
            dict.fromkeys(token.address for market in self.markets for token in (market.collateral, market.loan))
        )

    def pairs(self) -> list[Pair]:
        return [
            Pair(market.subaccount, market.lltv, market.collateral.symbol, market.loan.symbol)
            for market in self.markets
        ]

    def enrolments(self) -> list[Enrolment]:
        return [
            Enrolment(
                market.subaccount,
                market.label,
                GuardProtocol.MORPHO,
                self.owner,
                self.morpho,
                market.id,
                (),
            )
            for market in self.markets
        ]

    def sources(self, id: SubaccountId) -> list[Source]:
        return [
            Source(what, contract, function)
            for market in self.markets
            if market.subaccount == id
            for what, contract, function in (
                ("collateral and debt shares", self.morpho, f"position({market.id}, {self.owner})"),
                ("debt per share, with interest", self.morpho, f"accrueInterest, then market({market.id})"),
                ("what of its collateral counts", self.morpho, f"idToMarketParams({market.id}).lltv"),
                ("price", market.oracle, "price()"),
            )
        ]

    def decode(self, results: Sequence[CallResult], around: Around) -> list[Subaccount]:
        """See `Adapter.decode`."""
        first = 0 if self.guard is None else 1
        cannot_give = around.lacks_guard(self.guard) or _missing_permission(results[0])
        return [
            self._subaccount(market, results[start : start + CALLS_PER_MARKET], around, cannot_give)
            for market, start in zip(self.markets, range(first, len(results), CALLS_PER_MARKET), strict=True)
        ]

    def _subaccount(
        self, market: Market, results: Sequence[CallResult], around: Around, cannot_give: str | None
    ) -> Subaccount:
        _, accrual, _, position, price = results
        if not accrual.success:
            cannot_give = cannot_give or f"interest cannot be accrued: {explain_revert(accrual.data)}"
        price_known = int.from_bytes(price.data) if price.success and len(price.data) == 32 else 0
        if not position.success or len(position.data) != 96:
            problem = f"Morpho does not answer for the position in {market.label}: {position.problem('a position')}"
            return self._unknown(market, 0, price_known, Unknown(problem), around)
        borrow_shares = int.from_bytes(position.data[32:64])
        collateral_raw = int.from_bytes(position.data[64:96])
        collateral, loan, scale = market.collateral.address, market.loan.address, market.value_scale

        if borrow_shares == 0:
            # Morpho._isHealthy does not ask the oracle then: neither price nor its age is needed to know this account.
            margin = MorphoMargin(collateral, loan, collateral_raw, 0, 0, 0, price_known, market.lltv, scale, 0)
            return self._described(market, collateral_raw, price_known, None, margin, Fresh(), around, cannot_give)

        totals = _decode_totals(market, results, around.block.timestamp)
        if isinstance(totals, Unknown):
            return self._unknown(market, collateral_raw, price_known, totals, around)
        assets, shares, rate = totals
        margin = MorphoMargin(
            collateral, loan, collateral_raw, borrow_shares, assets, shares, price_known, market.lltv, scale, rate
        )
        reading = self._reading(market, price, collateral_raw * price_known, around)
        if isinstance(reading, Unknown):
            cannot_give = cannot_give or reading.reason
        debt = Debt(market.loan, margin.borrowed_raw(), WAD)
        return self._described(market, collateral_raw, price_known, debt, margin, reading, around, cannot_give)

    def _unknown(self, market: Market, collateral_raw: int, price: int, why: Unknown, around: Around) -> Subaccount:
        """A position whose debt could not be read: taken for indebted, because nobody knows that it is not."""
        debt = Debt(market.loan, 0, WAD)
        return self._described(market, collateral_raw, price, debt, UnknownMargin(), why, around, why.reason)

    def _reading(self, market: Market, price: CallResult, quoted: int, around: Around) -> Reading:
        """How well a position with debt is known, its totals being known."""
        problem = None
        if not price.success or len(price.data) != 32:
            problem = f"does not answer: {price.problem('a price')}"
        elif not any(price.data):
            problem = "answers a price of zero"
        elif quoted > UINT256_MAX:
            problem = "answers a price that overflows Morpho's own arithmetic"
        if problem:
            return Unknown(f"oracle {short(market.oracle)} of {market.label} {problem}")
        if market.feeds is None:
            return FreshnessUnverified(
                f"oracle {short(market.oracle)} of {market.label} does not name its price feeds, so their age cannot "
                "be judged"
            )
        return worst([around.feeds[feed] for feed in market.feeds])

    def _described(
        self,
        market: Market,
        collateral_raw: int,
        price: int,
        debt: Debt | None,
        margin: Margin,
        reading: Reading,
        around: Around,
        cannot_give: str | None,
    ) -> Subaccount:
        weight = price * market.value_scale * market.lltv // ORACLE_PRICE_SCALE
        line = CollateralLine(
            market.collateral,
            collateral_raw,
            0 if cannot_give else collateral_raw,
            UINT128_MAX - collateral_raw,
            weight,
            weight,
            price * market.price_scale // ORACLE_PRICE_SCALE,
            form=self.morpho,
        )
        enrolment = around.enrolled.get((GuardProtocol.MORPHO, self.owner, self.morpho, market.id))
        return Subaccount(
            market.subaccount,
            market.label,
            self.owner,
            enrolment.index if enrolment else None,
            market.loan,
            (line,),
            (debt,) if debt else (),
            margin,
            market.penalty_bps,
            reading,
            market.feeds or (),
            cannot_give,
        )


def _decode_totals(market: Market, results: Sequence[CallResult], now: int) -> tuple[int, int, Wad] | Unknown:
    """totalBorrowAssets and totalBorrowShares, accrued to the pinned block, and the rate that the accrual showed."""
    before, accrual, after = results[:3]
    if not accrual.success:
        return Unknown(f"the interest of {market.label} cannot be accrued: {explain_revert(accrual.data)}")
    # market: totalSupplyAssets, totalSupplyShares, totalBorrowAssets, totalBorrowShares, lastUpdate, fee
    for totals in (before, after):
        if not totals.success or len(totals.data) != 192:
            return Unknown(f"Morpho does not answer for the market {market.label}: {totals.problem('a market')}")
    if (accrued_at := int.from_bytes(after.data[128:160])) != now:
        return Unknown(f"the interest of {market.label} is accrued to {accrued_at}, not to the block's time {now}")
    total = int.from_bytes(after.data[64:96])
    elapsed = now - int.from_bytes(before.data[128:160])
    rate = rate_seen(int.from_bytes(before.data[64:96]), total, elapsed) if elapsed else 0
    return total, int.from_bytes(after.data[96:128]), rate


def _missing_permission(result: CallResult) -> str | None:
    if not result.success or len(result.data) != 32:
        return f"whether the guard is authorised on Morpho cannot be read: {result.problem('an answer')}"
    if not any(result.data):
        return "the guard is not authorised on Morpho; the owner has to send setAuthorization(guard, true)"
    return None
