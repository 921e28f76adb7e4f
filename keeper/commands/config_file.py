"""The keeper.toml that `keeper init` writes: every key with what it is for, every threshold with its reason."""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

from keeper.commands.measure import pair_volatility
from keeper.config_keys import Key, all_keys
from keeper.config_values import render_bps, render_health
from keeper.core.coins import native_coin
from keeper.core.policy import Pair, Thresholds, default_thresholds
from keeper.core.snapshot import Snapshot, Subaccount, Token, Unknown
from keeper.core.units import Address
from keeper.protocols.aave.adapter import AaveV3
from keeper.protocols.euler.adapter import EulerV2
from keeper.protocols.morpho.adapter import MorphoBlue
from keeper.protocols.oracles import Feed
from keeper.protocols.portfolio import AnyAdapter, Portfolio
from keeper.protocols.venus.adapter import VenusPool
from keeper.protocols.wallet import Wallet
from keeper.protocols.whereabouts import SEQUENCER_FEEDS

GUESSED_HEARTBEAT = "1d"
"""The longest that a feed of a major pair promises. The file says that it is a guess."""


@dataclass(frozen=True, slots=True)
class Found:
    chain_id: int
    portfolio: Portfolio
    snapshot: Snapshot
    volatility: Mapping[Address, int]
    """Basis points a day, of the feeds that could be measured."""
    block_ms: int | None
    """The usual time between two blocks, if the chain is old enough to tell."""
    problems: tuple[str, ...] = ()
    """What was found and cannot be kept, sentences."""

    @property
    def positions(self) -> list[Subaccount]:
        """What exists: the wallet, and every account with collateral or debt."""
        return [each for each in self.snapshot.subaccounts if each.has_debt or holds_something(each)]


def holds_something(subaccount: Subaccount) -> bool:
    return isinstance(subaccount.reading, Unknown) or any(line.amount_raw for line in subaccount.collateral)


def render(found: Found, owner: Address, rpc_url: str) -> str:
    keys = all_keys()
    usd = _usd_feeds(found)
    blocks = [
        _section("[chain]", keys, _chain(found, rpc_url)),
        _commented("[signer]", keys, {"keystore": '"keystore.json"', "password": '"env:KEEPER_PASSWORD"'}),
        _section("[guard]", keys, {"owner": f'"{owner}"'}),
        *(_protocol(adapter) for adapter in found.portfolio.topology.adapters),
        _prices(found, keys, usd),
        _policy(found, keys),
        *(_commented(section, keys, {}) for section in ("[fees]", "[journal]", "[telemetry]", "[alerts]")),
    ]
    head = "# The margin keeper's configuration. What is commented out shows its default."
    return "\n\n".join([head, *blocks]) + "\n"


def _protocol(adapter: AnyAdapter) -> str:
    """One [[protocols]] section, each of its entries with its name."""
    lines = ["[[protocols]]", f'kind = "{adapter.kind}"']
    match adapter:
        case MorphoBlue():
            lines.append(f'address = "{adapter.morpho}"')
            lines += _list("markets", {market.id: market.label for market in adapter.markets})
        case AaveV3():
            lines.append(f'pool = "{adapter.pool.address}"')
            lines += _list("accounts", {account.address: account.label for account in adapter.pool.accounts})
            symbols = {reserve.token.address: reserve.token.symbol for reserve in adapter.pool.reserves}
            lines += _list("assets", {asset: symbols[asset] for asset in adapter.assets})
        case EulerV2():
            lines.append(f'evc = "{adapter.evc}"')
            lines += _list("vaults", {vault.address: vault.share.symbol for vault in adapter.topology.vaults})
        case VenusPool():
            lines.append(f'comptroller = "{adapter.pool.comptroller}"')
            lines += _list("accounts", {account.address: account.label for account in adapter.pool.accounts})
            symbols = {market.address: market.share.symbol for market in adapter.pool.markets}
            lines += _list("markets", {market: symbols[market] for market in adapter.markets})
        case Wallet():
            lines += _list("tokens", {token.address: token.symbol for token in adapter.held})
    return "\n".join(lines)


def _list(key: str, names: Mapping[str, str]) -> list[str]:
    return [f"{key} = [", *(f'    "{item}",  # {name}' for item, name in names.items()), "]"]


def _chain(found: Found, rpc_url: str) -> dict[str, str]:
    values = {"rpc_url": f'"{rpc_url}"', "chain_id": str(found.chain_id)}
    if found.block_ms is not None:
        values["block_time"] = f'"{found.block_ms}ms"  # measured on its last blocks'
    return values


def _of(section: str, keys: Sequence[Key]) -> list[Key]:
    return [key for key in keys if key.section == section]


def _section(section: str, keys: Sequence[Key], values: dict[str, str]) -> str:
    """A section with these values; its other keys commented out with their defaults."""
    lines = [section]
    for key in _of(section, keys):
        lines.append(f"# {key.description}")
        if key.name in values:
            lines.append(f"{key.name} = {values[key.name]}")
        else:
            lines.append(f"# {key.name} = {key.default or '…'}")
    return "\n".join(lines)


def _commented(section: str, keys: Sequence[Key], values: dict[str, str]) -> str:
    """A whole section commented out, with values that show the form where there is no default."""
    lines = [f"# {section}"]
    for key in _of(section, keys):
        lines += [f"# {key.description}", f"# {key.name} = {values.get(key.name) or key.default or '…'}"]
    return "\n".join(lines)


def _usd_feeds(found: Found) -> dict[str, Feed]:
    """A feed in USD for each token, told by what the aggregators call themselves: `ETH / USD` prices ETH and WETH."""
    in_usd = {
        base.strip().upper(): feed
        for feed in found.portfolio.topology.feeds
        for base, slash, quote in [feed.name.partition("/")]
        if slash and quote.strip().upper() == "USD"
    }
    symbols = {token.symbol for each in found.snapshot.subaccounts for token in _tokens(each)}
    chosen: dict[str, Feed] = {}
    for symbol in sorted(symbols):
        feed = in_usd.get(symbol.upper()) or in_usd.get(symbol.upper().removeprefix("W"))
        if feed is not None:
            chosen[symbol] = feed
    return chosen


def _tokens(subaccount: Subaccount) -> list[Token]:
    unit = [] if subaccount.unit is None else [subaccount.unit]
    return [*(line.token for line in subaccount.collateral), *(debt.token for debt in subaccount.debts), *unit]


def _prices(found: Found, keys: Sequence[Key], usd: dict[str, Feed]) -> str:
    coin = native_coin(found.chain_id)
    native = usd.get(f"W{coin}") or usd.get(coin)
    lines = ["[prices]"]
    for key in _of("[prices]", keys):
        if key.name in ("feeds", "second"):
            continue
        lines.append(f"# {key.description}")
        if key.name == "native" and native is not None:
            lines.append(f'native = "{native.address}"  # {native.name}')
        elif key.name == "sequencer_feed" and found.chain_id in SEQUENCER_FEEDS:
            lines.append(f'sequencer_feed = "{SEQUENCER_FEEDS[found.chain_id]}"')
        elif key.name == "usd" and usd:
            pairs = ", ".join(f'{symbol} = "{feed.address}"' for symbol, feed in usd.items())
            lines.append(f"usd = {{ {pairs} }}")
        else:
            lines.append(f"# {key.name} = {key.default or '…'}")
    for feed in found.portfolio.topology.feeds:
        lines += [
            "",
            "[[prices.feeds]]",
            f'address = "{feed.address}"',
            f'name = "{feed.name}"',
            "# a guess: put in what this feed's operator promises",
            f'heartbeat = "{GUESSED_HEARTBEAT}"',
        ]
    lines += ["", "# Another aggregator, or a Uniswap v3 pool, that a price is held against."]
    lines.append(_commented("[[prices.second]]", keys, {"token": '"WETH"'}))
    return "\n".join(lines)


def _policy(found: Found, keys: Sequence[Key]) -> str:
    """The keys of [policy] with their defaults, then each position's thresholds with the reason for them."""
    blocks = [
        _section("[policy]", [key for key in keys if key.name != "overrides"], {}),
        *(_override(pair, found) for pair in found.portfolio.pairs() if pair.lltv is not None),
    ]
    return "\n\n".join(blocks)


def _override(pair: Pair, found: Found) -> str:
    subaccount = found.snapshot.subaccount(pair.id)
    volatility = None if pair.moves_together else pair_volatility(subaccount.feeds, found.volatility)
    settings = default_thresholds(pair if volatility is None else replace(pair, volatility_bps_per_day=volatility.bps))
    why = f"{subaccount.label}: {settings.why}" + (f"; {volatility}" if volatility is not None else "")
    lines = [f'[policy.overrides."{pair.id}"]', *textwrap.wrap(why, 110, initial_indent="# ", subsequent_indent="# ")]
    lines += [f"{one.name} = {render_health(getattr(settings.thresholds, one.name))}" for one in fields(Thresholds)]
    return "\n".join([*lines, f'shock = "{render_bps(settings.shock_bps)}"'])
