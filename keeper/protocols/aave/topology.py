"""What is fixed about an Aave pool and the accounts on it, and how it is found out.

Only the reserves that the accounts use and those that may move are kept; an account that later uses another one cannot
be judged until the pool is discovered again, and says so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from eth_utils.address import to_checksum_address

from keeper.core.snapshot import Token
from keeper.core.units import BPS, WAD, Address, Wad
from keeper.errors import ProtocolError
from keeper.protocols.aave.sources import feeds_behind
from keeper.protocols.aave.versions import VERSIONS
from keeper.protocols.aave.words import AccountFlags, Category, ReserveFlags, terms
from keeper.protocols.abi import ZERO_ADDRESS, interface, word_address
from keeper.protocols.base import Call, CallResult, Discovery
from keeper.protocols.erc20 import TOKEN_CALLS, decode_token, token_calls

RESERVE_BYTES = 480
"""`getReserveData`: fifteen words in every version."""
PRICE_DECIMALS_MAX = 18
CATEGORY_MAX = 255


@dataclass(frozen=True, slots=True)
class Reserve:
    """One asset of the pool."""

    id: int
    """Its place in the pool's bitmaps."""
    token: Token
    a_token: Address
    a_symbol: str
    debt_token: Address
    stable_debt_token: Address
    source: Address
    """What the oracle asks for its price."""
    feeds: tuple[Address, ...] | None
    """The aggregators behind the source; None when it does not name them."""


@dataclass(frozen=True, slots=True)
class Account:
    """One account, as it was found: for its name and the defaults of its thresholds."""

    address: Address
    label: str
    threshold: Wad | None
    """The lowest liquidation threshold of its collateral; None without debt."""
    collateral_symbols: str
    debt_symbols: str


@dataclass(frozen=True, slots=True)
class Pool:
    address: Address
    revision: int
    oracle: Address
    price_decimals: int
    """Of the oracle's answers in USD."""
    reserves: tuple[Reserve, ...]
    categories: tuple[int, ...]
    """The e-mode categories that the accounts were in."""
    accounts: tuple[Account, ...]


def reserve_words(result: CallResult) -> list[bytes] | None:
    """The words of a `getReserveData`; None when it is none."""
    if not result.success or len(result.data) != RESERVE_BYTES:
        return None
    return [result.data[at : at + 32] for at in range(0, RESERVE_BYTES, 32)]


def category_calls(pool: Address, revision: int, id: int) -> list[Call]:
    """What `decode_category` takes the results of."""
    of_pool = interface("AavePool")
    if not VERSIONS[revision].has_category_bitmaps:
        return [Call(pool, of_pool["getEModeCategoryData"].encode(id))]
    names = (
        "getEModeCategoryCollateralConfig",
        "getEModeCategoryCollateralBitmap",
        "getEModeCategoryLtvzeroBitmap",
    )
    return [Call(pool, of_pool[name].encode(id)) for name in names]


def decode_category(id: int, results: Sequence[CallResult]) -> Category | None:
    """One e-mode category; None when it cannot be read, or has a price of its own as v3.0 allowed."""
    if not all(result.success for result in results):
        return None
    if len(results) == 1:
        # A struct with a string in it: its offset, then ltv, liquidationThreshold, liquidationBonus, priceSource, …
        data = results[0].data
        if len(data) < 192 or any(data[128:160]):
            return None
        return Category(id, *(int.from_bytes(data[at : at + 32]) for at in (32, 64, 96)))
    if [len(result.data) for result in results] != [96, 32, 32]:
        return None
    of_config, of_collateral, of_ltv_zero = (result.data for result in results)
    ltv, threshold, bonus = (int.from_bytes(of_config[at : at + 32]) for at in (0, 32, 64))
    return Category(id, ltv, threshold, bonus, int.from_bytes(of_collateral), int.from_bytes(of_ltv_zero))


# Discovery ------------------------------------------------------------------------------------------------------------


def discover_pool(pool: Address, accounts: Sequence[Address], assets: Sequence[Address]) -> Discovery[Pool]:
    """The pool, and of its reserves those that the accounts use or that are among the assets: at most six rounds.

    Raises ProtocolError for what is no pool of a version that we know, naming what to correct.
    """
    of_pool = interface("AavePool")
    results = yield [
        Call(pool, of_pool["POOL_REVISION"].encode()),
        Call(pool, of_pool["ADDRESSES_PROVIDER"].encode()),
        Call(pool, of_pool["getReservesList"].encode()),
        *(Call(pool, of_pool[name].encode(account)) for account in accounts for name in _OF_ACCOUNT),
    ]
    revision = _revision(pool, results[0])
    provider = _address(results[1], f"the Aave pool {pool} does not name its addresses provider")
    listed = _listed(pool, results[2])
    flags = [AccountFlags(_number(result, f"the Aave pool {pool} does not answer")) for result in results[3::2]]
    modes = [_number(result, f"the Aave pool {pool} does not answer") for result in results[4::2]]
    if any(mode > CATEGORY_MAX for mode in modes):
        raise ProtocolError(f"the Aave pool {pool} names an e-mode category {max(modes)}; correct its address")
    categories = tuple(dict.fromkeys(mode for mode in modes if mode))
    missing = [asset for asset in assets if asset not in listed]
    if missing:
        raise ProtocolError(f"the Aave pool {pool} has no reserve of {missing[0]}; remove it from the assets")

    results = yield [
        Call(provider, interface("AaveAddressesProvider")["getPriceOracle"].encode()),
        *(Call(pool, of_pool["getReserveData"].encode(asset)) for asset in listed),
        *(call for id in categories for call in category_calls(pool, revision, id)),
    ]
    oracle = _address(results[0], f"the Aave pool {pool} does not name its price oracle")
    found = _found(pool, zip(listed, results[1 : 1 + len(listed)], strict=True))
    used = {id for of_account in flags for id in of_account.ids()}
    kept = {asset: words for asset, words in found.items() if asset in assets or _id(words) in used}
    in_category = _categories(categories, results[1 + len(listed) :])

    of_oracle = interface("AaveOracle")
    results = yield [
        Call(oracle, of_oracle["BASE_CURRENCY"].encode()),
        Call(oracle, of_oracle["BASE_CURRENCY_UNIT"].encode()),
        *(Call(oracle, of_oracle["getSourceOfAsset"].encode(asset)) for asset in kept),
        *(call for asset in kept for call in token_calls(asset)),
        *(call for words in kept.values() for call in token_calls(word_address(words[8]))),
    ]
    price_decimals = _price_decimals(oracle, results[0], results[1])
    of_sources, of_tokens = results[2 : 2 + len(kept)], results[2 + len(kept) :]
    tokens = _tokens([*kept, *(word_address(words[8]) for words in kept.values())], of_tokens)
    sources = [
        _address(result, f"the oracle {oracle} names no price source of {asset}")
        for asset, result in zip(kept, of_sources, strict=True)
    ]
    feeds = yield from feeds_behind(sources)
    reserves = tuple(
        Reserve(
            _id(words),
            token,
            a_token.address,
            a_token.symbol,
            word_address(words[10]),
            word_address(words[9]),
            source,
            feeds[source],
        )
        for words, token, a_token, source in zip(
            kept.values(), tokens[: len(kept)], tokens[len(kept) :], sources, strict=True
        )
    )
    flags_of = {_id(words): ReserveFlags(int.from_bytes(words[0])) for words in kept.values()}
    return Pool(
        pool,
        revision,
        oracle,
        price_decimals,
        reserves,
        categories,
        tuple(
            _account(account, reserves, flags_of, of_account, in_category.get(mode), revision)
            for account, of_account, mode in zip(accounts, flags, modes, strict=True)
        ),
    )


_OF_ACCOUNT = ("getUserConfiguration", "getUserEMode")


def _revision(pool: Address, result: CallResult) -> int:
    revision = _number(result, f"{pool} is not an Aave v3 pool: it has no POOL_REVISION; correct its address")
    if revision not in VERSIONS:
        known = " and ".join(f"{one} (Aave v{version.name})" for one, version in VERSIONS.items())
        raise ProtocolError(
            f"the Aave pool {pool} is of revision {revision} and the keeper knows {known}, whose roundings differ; "
            "update the keeper, or remove this pool"
        )
    return revision


def _listed(pool: Address, result: CallResult) -> list[Address]:
    if not result.success:
        raise ProtocolError(f"{pool} is not an Aave v3 pool: it lists no reserves; correct its address")
    return [Address(asset.lower()) for asset in interface("AavePool")["getReservesList"].decode(result.data)[0]]


def _found(pool: Address, answers: Iterable[tuple[Address, CallResult]]) -> dict[Address, list[bytes]]:
    found: dict[Address, list[bytes]] = {}
    for asset, result in answers:
        words = reserve_words(result)
        if words is None:
            raise ProtocolError(f"the Aave pool {pool} does not answer for its reserve of {asset}; correct its address")
        found[asset] = words
    return found


def _tokens(addresses: Sequence[Address], results: Sequence[CallResult]) -> list[Token]:
    return [
        decode_token(address, results[TOKEN_CALLS * place : TOKEN_CALLS * (place + 1)])
        for place, address in enumerate(addresses)
    ]


def _id(words: Sequence[bytes]) -> int:
    return int.from_bytes(words[7])


def _categories(ids: Sequence[int], results: Sequence[CallResult]) -> dict[int, Category]:
    """Those that can be read; the others make their accounts unknown in every cycle."""
    step = len(results) // len(ids) if ids else 1
    decoded = (decode_category(id, results[step * place : step * (place + 1)]) for place, id in enumerate(ids))
    return {category.id: category for category in decoded if category is not None}


def _price_decimals(oracle: Address, of_currency: CallResult, of_unit: CallResult) -> int:
    currency = _address(of_currency, f"the price oracle {oracle} does not say its base currency")
    if currency != ZERO_ADDRESS:
        raise ProtocolError(
            f"the price oracle {oracle} prices in the token {currency} and the keeper handles Aave pools that price in "
            "USD; remove this pool"
        )
    unit = _number(of_unit, f"the price oracle {oracle} does not say its unit")
    decimals = len(str(unit)) - 1
    if unit != 10**decimals or decimals > PRICE_DECIMALS_MAX:
        raise ProtocolError(f"the price oracle {oracle} has a unit of {unit}, which is no power of ten to 10^18")
    return decimals


def _account(
    account: Address,
    reserves: Sequence[Reserve],
    flags_of: dict[int, ReserveFlags],
    flags: AccountFlags,
    category: Category | None,
    revision: int,
) -> Account:
    has_bitmaps = VERSIONS[revision].has_category_bitmaps
    collateral = [reserve for reserve in reserves if flags.uses(reserve.id)]
    debts = [reserve for reserve in reserves if flags.owes(reserve.id)]
    thresholds = [terms(flags_of[one.id], one.id, category, has_bitmaps).threshold_bps for one in collateral]
    of_collateral, of_debts = ("+".join(reserve.token.symbol for reserve in part) for part in (collateral, debts))
    checksummed = to_checksum_address(account)
    label = f"aave {checksummed[:4]}…{checksummed[-4:]}"
    if of_collateral:
        label += f" {of_collateral}/{of_debts}" if of_debts else f" {of_collateral}"
    threshold = min(thresholds, default=0) * WAD // BPS if debts else None
    return Account(account, label, threshold or None, of_collateral, of_debts)


def _number(result: CallResult, problem: str) -> int:
    if not result.success or len(result.data) != 32:
        raise ProtocolError(problem)
    return int.from_bytes(result.data)


def _address(result: CallResult, problem: str) -> Address:
    _number(result, problem)
    return word_address(result.data)
