"""What is fixed about an isolated pool of Venus and the accounts in it, and how it is found out.

Only the markets that the accounts entered and those that may move are kept; an account that later enters another one
cannot be judged until the pool is discovered again, and says so.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eth_utils.address import to_checksum_address

from keeper.core.snapshot import Token
from keeper.core.units import WAD, Address, Wad
from keeper.errors import ProtocolError
from keeper.protocols.abi import ZERO_ADDRESS, interface, word_address
from keeper.protocols.base import Call, CallResult, Discovery
from keeper.protocols.erc20 import TOKEN_CALLS, decode_token, token_calls

MARKET_CALLS = 3 + TOKEN_CALLS


@dataclass(frozen=True, slots=True)
class Market:
    """One asset of the pool, and its vToken."""

    share: Token
    """The vToken."""
    token: Token
    """The underlying."""
    slots_per_year: int
    """Seconds or blocks, by which its interest runs."""
    feeds: tuple[Address, ...] | None
    """The aggregator behind its price; None when the oracle does not name one."""

    @property
    def address(self) -> Address:
        return self.share.address


@dataclass(frozen=True, slots=True)
class Account:
    """One account, as it was found: for its name, the defaults of its thresholds, and what is known without prices."""

    address: Address
    label: str
    threshold: Wad | None
    """The lowest liquidation threshold of its collateral; None without debt."""
    collateral: tuple[tuple[Address, int], ...]
    """The markets of what counted, each with what its vTokens were worth, raw units."""
    collateral_symbols: str
    debt_symbols: str


@dataclass(frozen=True, slots=True)
class Pool:
    comptroller: Address
    oracle: Address
    markets: tuple[Market, ...]
    accounts: tuple[Account, ...]


def discover_pool(comptroller: Address, accounts: Sequence[Address], movable: Sequence[Address]) -> Discovery[Pool]:
    """The pool, and of its markets those that the accounts entered or that are among the movable ones: four rounds.

    Raises ProtocolError for what is no pool that we know, naming what to correct.
    """
    of_pool = interface("VenusComptroller")
    results = yield [
        *(Call(comptroller, of_pool[name].encode()) for name in ("isComptroller", "oracle", "getAllMarkets")),
        *(Call(comptroller, of_pool["getAssetsIn"].encode(account)) for account in accounts),
    ]
    if results[0].number != 1:
        raise ProtocolError(f"{comptroller} is not the comptroller of a Venus pool; correct its address")
    oracle = _address(results[1], f"the Venus pool {comptroller} does not name its oracle")
    listed = addresses_in(results[2]) or ()
    entered = [addresses_in(result) or () for result in results[3:]]
    missing = [market for market in movable if market not in listed]
    if missing:
        raise ProtocolError(f"the Venus pool {comptroller} has no market {missing[0]}; remove it from the markets")
    kept = tuple(dict.fromkeys((*movable, *(market for of_account in entered for market in of_account))))

    of_market = interface("VToken")
    results = yield [
        call
        for market in kept
        for call in (
            Call(market, of_market["underlying"].encode()),
            Call(market, of_market["blocksOrSecondsPerYear"].encode()),
            Call(comptroller, of_pool["markets"].encode(market)),
            *token_calls(market),
            *(Call(market, of_market["getAccountSnapshot"].encode(account)) for account in accounts),
        )
    ]
    step = MARKET_CALLS + len(accounts)
    rows = {market: results[place * step : (place + 1) * step] for place, market in enumerate(kept)}
    underlyings = {
        market: _address(row[0], f"the market {market} does not name its underlying; it is no market of Venus")
        for market, row in rows.items()
    }
    _require_distinct(comptroller, underlyings)

    of_oracle = interface("VenusOracle")
    results = yield [
        call
        for asset in underlyings.values()
        for call in (*token_calls(asset), Call(oracle, of_oracle["getTokenConfig"].encode(asset)))
    ]
    tokens = {
        market: decode_token(asset, results[place * 3 : place * 3 + TOKEN_CALLS])
        for place, (market, asset) in enumerate(underlyings.items())
    }
    mains = [_main_oracle(result) for result in results[2::3]]

    of_feeds = interface("VenusChainlinkOracle")
    results = yield [
        Call(main, of_feeds[name].encode(asset))
        for main, asset in zip(mains, underlyings.values(), strict=True)
        for name in ("prices", "tokenConfigs")
    ]
    markets = tuple(
        Market(
            decode_token(market, row[3 : 3 + TOKEN_CALLS]),
            tokens[market],
            _slots(market, row[1]),
            _feeds(underlyings[market], results[2 * place : 2 * place + 2]),
        )
        for place, (market, row) in enumerate(rows.items())
    )
    return Pool(
        comptroller,
        oracle,
        markets,
        tuple(
            _account(account, markets, rows, entered[place], MARKET_CALLS + place)
            for place, account in enumerate(accounts)
        ),
    )


def addresses_in(result: CallResult) -> tuple[Address, ...] | None:
    """The addresses in an `address[]`; None when it failed or is something else."""
    data = result.data
    if not result.success or len(data) < 64 or len(data) != 64 + 32 * int.from_bytes(data[32:64]):
        return None
    return tuple(word_address(data[at : at + 32]) for at in range(64, len(data), 32))


def _require_distinct(comptroller: Address, underlyings: Mapping[Address, Address]) -> None:
    seen: dict[Address, Address] = {}
    for market, asset in underlyings.items():
        if asset in seen:
            raise ProtocolError(
                f"the Venus pool {comptroller} has two markets of {asset}, {seen[asset]} and {market}; the keeper "
                "handles one: remove this pool"
            )
        seen[asset] = market


def _slots(market: Address, result: CallResult) -> int:
    if not result.number:
        raise ProtocolError(
            f"the market {market} does not say by what its interest runs; it is older than the keeper knows: remove "
            "this pool"
        )
    return result.number


def _main_oracle(result: CallResult) -> Address:
    """Zero where the pool's oracle does not say whom it asks, or asks more than one."""
    if not result.success or len(result.data) != 256:
        return ZERO_ADDRESS
    words = [result.data[at : at + 32] for at in range(0, 256, 32)]
    has_one = any(words[4]) and not any(words[5]) and not any(words[6])
    return word_address(words[1]) if has_one else ZERO_ADDRESS


def _feeds(asset: Address, results: Sequence[CallResult]) -> tuple[Address, ...] | None:
    """ChainlinkOracle: a price that was set by hand goes before the feed."""
    by_hand, config = results
    if by_hand.number != 0 or not config.success or len(config.data) != 96 or word_address(config.data) != asset:
        return None
    return (word_address(config.data[32:64]),)


def _account(
    account: Address,
    markets: Sequence[Market],
    rows: Mapping[Address, Sequence[CallResult]],
    entered: Sequence[Address],
    place: int,
) -> Account:
    collateral: list[tuple[Market, int]] = []
    debts: list[Market] = []
    thresholds: list[int] = []
    for market in markets:
        row = rows[market.address]
        _, tokens, owed, rate = _words(row[place], 4)
        if tokens and market.address in entered:
            collateral.append((market, tokens * rate // WAD))
            thresholds.append(_words(row[2], 3)[2])
        if owed:
            debts.append(market)
    held = [market for market, _ in collateral]
    of_collateral, of_debts = ("+".join(market.token.symbol for market in part) for part in (held, debts))
    checksummed = to_checksum_address(account)
    label = f"venus {checksummed[:4]}…{checksummed[-4:]}"
    if of_collateral:
        label += f" {of_collateral}/{of_debts}" if of_debts else f" {of_collateral}"
    return Account(
        account,
        label,
        min(thresholds, default=None) if debts else None,
        tuple((market.address, worth) for market, worth in collateral),
        of_collateral,
        of_debts,
    )


def _words(result: CallResult, count: int) -> list[int]:
    """Zeros where it does not answer: only names and defaults rest on it."""
    data = result.data if result.success and len(result.data) == 32 * count else bytes(32 * count)
    return [int.from_bytes(data[at : at + 32]) for at in range(0, 32 * count, 32)]


def _address(result: CallResult, problem: str) -> Address:
    if result.number is None:
        raise ProtocolError(problem)
    return word_address(result.data)
