"""`keeper init`: finds the owner's positions and writes a commented keeper.toml."""

import asyncio
import os
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TypeVar

from web3.types import RPCEndpoint

from keeper.chain.answers import as_int
from keeper.chain.pool import open_pool
from keeper.chain.provider import HttpProvider
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc
from keeper.commands.answer import Answer
from keeper.commands.measure import block_milliseconds, feed_volatilities, pair_volatility
from keeper.config_sections import Key, all_keys
from keeper.config_values import (
    config_folder,
    parse_address,
    parse_http_endpoint,
    parse_market_id,
    render_bps,
    render_health,
)
from keeper.core.policy import Pair, Thresholds, default_thresholds
from keeper.core.snapshot import Block, Snapshot, Subaccount, Unknown
from keeper.core.units import Address
from keeper.errors import ChainError, ConfigError
from keeper.protocols.guard_setup import guard_address
from keeper.protocols.morpho_blue import market_ids_in, position_log_filter
from keeper.protocols.oracles import Feed
from keeper.protocols.portfolio import MorphoSettings, Portfolio, PortfolioSettings, WalletSettings, discover
from keeper.report import amount_text, debts_text, health_text, name_of

MORPHO_USUAL = Address("0xbbbbbbbbbb9cc5e90e3b3af64bdaf62c37eeffcb")
"""Where Morpho Blue is on Ethereum and Base; elsewhere it has to be named."""
GUESSED_HEARTBEAT = "1d"
"""The longest that a feed of a major pair promises. The file says that it is a guess."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Found:
    chain_id: int
    morpho: Address
    portfolio: Portfolio
    snapshot: Snapshot
    volatility: Mapping[Address, int]
    """Basis points a day, of the feeds that could be measured."""
    block_ms: int | None
    """The usual time between two blocks, if the chain is old enough to tell."""

    @property
    def positions(self) -> list[Subaccount]:
        """What exists: the wallet, and every market with collateral or debt."""
        return [each for each in self.snapshot.subaccounts if each.has_debt or _holds_something(each)]


def init(
    *,
    owner: str,
    rpc_url: str,
    find_positions: bool,
    morpho: str | None,
    markets: Sequence[str],
    from_block: int,
    output: Path,
    force: bool,
) -> Answer:
    if output.exists() and not force:
        raise ConfigError(f"{output} exists already; write another with --output, or overwrite it with --force.")
    if not find_positions and not markets:
        raise ConfigError("Nothing says which positions there are: use --discover, or name markets with --market.")
    wallet = _parsed(parse_address, owner, "--owner")
    named = [_parsed(parse_market_id, market, "--market") for market in markets]
    target = MORPHO_USUAL if morpho is None else _parsed(parse_address, morpho, "--morpho")
    token = config_folder.set(output.absolute().parent)
    try:
        url = _parsed(parse_http_endpoint, rpc_url, "--rpc-url").reveal()
    finally:
        config_folder.reset(token)
    found = asyncio.run(_find(url, wallet, target, named, from_block if find_positions else None))
    text = _render(found, wallet, rpc_url)
    _write(output, text)
    lines = [
        f"{output} is written: {len(found.positions)} positions of {wallet} on chain {found.chain_id}.",
        *(f"  {_position_sentence(each)}" for each in found.positions),
        "",
        "Next: look through the file and add [signer]; then run `keeper setup` and `keeper check`.",
    ]
    document = {
        "path": str(output),
        "chain_id": found.chain_id,
        "owner": wallet,
        "guard": guard_address(wallet),
        "positions": [str(each.id) for each in found.positions],
    }
    return Answer(lines, document)


# Finding --------------------------------------------------------------------------------------------------------------


async def _find(url: str, owner: Address, morpho: Address, named: Sequence[str], from_block: int | None) -> Found:
    """`from_block`: where to start looking through the logs; None to believe `named` alone."""
    chain_id = await _chain_id(url)
    async with open_pool(url, chain_id) as pool:
        rpc = Rpc(pool)
        head = await rpc.head()
        if not await rpc.code(morpho, head.hash):
            raise ConfigError(
                f"There is no Morpho Blue at {morpho} on chain {chain_id}; name its address with --morpho."
            )
        ids = list(named)
        if from_block is not None:
            ids += await _markets_in_logs(rpc, morpho, owner, from_block, head.number)
        ids = list(dict.fromkeys(ids))
        if not ids:
            raise ConfigError(f"{owner} never supplied collateral to Morpho at {morpho} since block {from_block}.")
        reader = Reader(rpc)
        _, markets = await _look(reader, head, _settings(chain_id, owner, morpho, ids, ()))
        held = [
            str(each.id.key)
            for each in markets.subaccounts
            if each.has_debt or _holds_something(each) or each.id.key in named
        ]
        tokens = tuple(
            dict.fromkeys(
                line.token.address for each in markets.subaccounts if each.id.key in held for line in each.collateral
            )
        )
        if not held:
            raise ConfigError(f"{owner} has no position left on Morpho at {morpho}.")
        portfolio, snapshot = await _look(reader, head, _settings(chain_id, owner, morpho, held, tokens))
        volatility = await feed_volatilities(reader, portfolio.topology.feeds, head)
        return Found(chain_id, morpho, portfolio, snapshot, volatility, await block_milliseconds(rpc, head))


async def _chain_id(url: str) -> int:
    provider = HttpProvider(url)
    try:
        answer = await provider.make_request(RPCEndpoint("eth_chainId"), [])
        return as_int(answer.get("result"))
    finally:
        await provider.disconnect()


async def _markets_in_logs(rpc: Rpc, morpho: Address, owner: Address, first: int, last: int) -> Sequence[str]:
    wanted = position_log_filter(morpho, owner)
    topics = [None if topic is None else bytes.fromhex(topic[2:]) for topic in wanted.topics]
    try:
        logs = await rpc.logs(wanted.address, topics, first, last)
    except ChainError as fault:
        raise ChainError(
            f"The logs could not be searched ({fault}); narrow it with --from-block, or name --market."
        ) from None
    return market_ids_in(["0x" + topic.hex() for topic in log.topics] for log in logs)


def _settings(
    chain_id: int, owner: Address, morpho: Address, ids: Sequence[str], tokens: tuple[Address, ...]
) -> PortfolioSettings:
    protocols: list[MorphoSettings | WalletSettings] = [MorphoSettings(morpho, tuple(ids))]
    if tokens:
        protocols.append(WalletSettings(tokens))
    return PortfolioSettings(chain_id, owner, guard_address(owner), None, tuple(protocols))


async def _look(reader: Reader, head: Block, settings: PortfolioSettings) -> tuple[Portfolio, Snapshot]:
    portfolio = await reader.discover(discover(settings), head)
    return portfolio, portfolio.decode(head, await reader.read(portfolio.calldata, head))


def _holds_something(subaccount: Subaccount) -> bool:
    return isinstance(subaccount.reading, Unknown) or any(line.amount_raw for line in subaccount.collateral)


# Writing --------------------------------------------------------------------------------------------------------------


def _render(found: Found, owner: Address, rpc_url: str) -> str:
    keys = all_keys()
    usd = _usd_feeds(found)
    labels = {each.id.key: each.label for each in found.snapshot.subaccounts}
    wallet = found.snapshot.subaccounts[-1]
    blocks = [
        _section("[chain]", keys, _chain(found, rpc_url)),
        _commented("[signer]", keys, {"keystore": '"keystore.json"', "password": '"env:KEEPER_PASSWORD"'}),
        _section("[guard]", keys, {"owner": f'"{owner}"'}),
        "\n".join(
            [
                "[[protocols]]",
                'kind = "morpho_blue"',
                f'address = "{found.morpho}"',
                "markets = [",
                *(f'    "{each.id.key}",  # {labels[each.id.key]}' for each in found.snapshot.subaccounts[:-1]),
                "]",
            ]
        ),
        "\n".join(
            [
                "[[protocols]]",
                'kind = "wallet"',
                "tokens = [",
                *(f'    "{line.token.address}",  # {line.token.symbol}' for line in wallet.collateral),
                "]",
            ]
        ),
        _prices(found, keys, usd),
        _policy(found, keys),
        *(_commented(section, keys, {}) for section in ("[fees]", "[journal]", "[telemetry]", "[alerts]")),
    ]
    head = "# The margin keeper's configuration. What is commented out shows its default."
    return "\n\n".join([head, *blocks]) + "\n"


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
    symbols = {
        token.symbol
        for each in found.snapshot.subaccounts
        for token in (*(line.token for line in each.collateral), each.unit)
        if token is not None
    }
    chosen: dict[str, Feed] = {}
    for symbol in sorted(symbols):
        feed = in_usd.get(symbol.upper()) or in_usd.get(symbol.upper().removeprefix("W"))
        if feed is not None:
            chosen[symbol] = feed
    return chosen


def _prices(found: Found, keys: Sequence[Key], usd: dict[str, Feed]) -> str:
    native = usd.get("WETH") or usd.get("ETH")
    lines = ["[prices]"]
    for key in _of("[prices]", keys):
        if key.name == "feeds":
            continue
        lines.append(f"# {key.description}")
        if key.name == "native" and native is not None:
            lines.append(f'native = "{native.address}"  # {native.name}')
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


def _position_sentence(subaccount: Subaccount) -> str:
    held = ", ".join(amount_text(line.amount_raw, line.token) for line in subaccount.collateral if line.amount_raw)
    if isinstance(subaccount.reading, Unknown):
        return f"{name_of(subaccount)}: unknown, {subaccount.reading.reason}"
    if not subaccount.has_debt:
        return f"{name_of(subaccount)}: {held or 'nothing'}, no debt"
    health = health_text(subaccount.margin.risk().health_factor)
    return f"{name_of(subaccount)}: {held}, owes {debts_text(subaccount)}, health {health}"


def _write(output: Path, text: str) -> None:
    """Readable by its owner alone: an endpoint may hold a key."""
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
    except OSError as error:
        raise ConfigError(f"{output} cannot be written: {error.strerror}.") from None


def _parsed(parse: Callable[[object], T], text: str, option: str) -> T:
    try:
        return parse(text)
    except ValueError as problem:
        raise ConfigError(f"{option} is {text!r}: {problem}.") from None
