"""`keeper init`: finds the owner's positions and writes a commented keeper.toml."""

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from web3.types import RPCEndpoint

from keeper.chain.answers import as_int
from keeper.chain.pool import open_pool
from keeper.chain.provider import HttpProvider
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc
from keeper.commands.answer import Answer
from keeper.commands.config_file import Found, render
from keeper.commands.measure import block_milliseconds, feed_volatilities
from keeper.config_values import config_folder, parse_address, parse_http_endpoint, parse_market_id
from keeper.core.amounts import amount_text
from keeper.core.coins import native_coin
from keeper.core.snapshot import Block, Subaccount, Unknown
from keeper.core.units import Address
from keeper.errors import ChainError, ConfigError, KeeperError, ProtocolError
from keeper.protocols.aave import adapter as aave_v3
from keeper.protocols.aave import find as aave_find
from keeper.protocols.euler import adapter as euler_v2
from keeper.protocols.guard_setup import guard_address
from keeper.protocols.portfolio import (
    AaveSettings,
    EulerSettings,
    MorphoSettings,
    PortfolioSettings,
    ProtocolSettings,
    VenusSettings,
    WalletSettings,
)
from keeper.protocols.venus import adapter as venus_pool
from keeper.protocols.venus import find as venus_find
from keeper.protocols.whereabouts import AAVE_USUAL, EVC_USUAL, MORPHO_USUAL, VENUS_REGISTRY
from keeper.report import counted, debts_text, health_text, name_of
from keeper.search import (
    Usable,
    held_markets,
    held_tokens,
    look,
    market_ids_in_logs,
    sub_accounts,
    usable_markets,
    vaults_in_logs,
)
from keeper.sightings import Sighting, SightingsFile

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Asked:
    """Where to look, and what to take without looking."""

    owner: Address
    morpho: Address | None
    """None: at its usual address, if it is there."""
    markets: tuple[str, ...]
    aave_pool: Address | None
    """None: the main pool of the chain, if there is one."""
    accounts: tuple[Address, ...]
    """On Aave and Venus, beside the owner's own."""
    evc: Address | None
    """None: Euler's connector of the chain, if there is one."""
    vaults: tuple[Address, ...]
    """Of Euler, to be kept whether or not there are shares of them."""
    venus_pools: tuple[Address, ...]
    """Comptrollers; empty: all pools of the chain, if its registry is known."""
    from_block: int | None
    """Where to start looking through the logs; None: believe what is named alone."""


def init(
    *,
    owner: str,
    rpc_url: str,
    find_positions: bool,
    morpho: str | None,
    markets: Sequence[str],
    aave_pool: str | None,
    accounts: Sequence[str],
    evc: str | None,
    vaults: Sequence[str],
    venus_pools: Sequence[str],
    from_block: int,
    output: Path,
    force: bool,
) -> Answer:
    if output.exists() and not force:
        raise ConfigError(f"{output} exists already; write another with --output, or overwrite it with --force.")
    if not find_positions and not markets and aave_pool is None and evc is None and not vaults and not venus_pools:
        raise ConfigError(
            "Nothing says which positions there are: use --discover, or name markets with --market, a pool with "
            "--aave-pool or --venus-pool, or vaults with --euler-vault."
        )
    asked = Asked(
        _parsed(parse_address, owner, "--owner"),
        None if morpho is None else _parsed(parse_address, morpho, "--morpho"),
        tuple(_parsed(parse_market_id, market, "--market") for market in markets),
        None if aave_pool is None else _parsed(parse_address, aave_pool, "--aave-pool"),
        tuple(_parsed(parse_address, account, "--account") for account in accounts),
        None if evc is None else _parsed(parse_address, evc, "--evc"),
        tuple(dict.fromkeys(_parsed(parse_address, vault, "--euler-vault") for vault in vaults)),
        tuple(dict.fromkeys(_parsed(parse_address, pool, "--venus-pool") for pool in venus_pools)),
        from_block if find_positions else None,
    )
    token = config_folder.set(output.absolute().parent)
    try:
        url = _parsed(parse_http_endpoint, rpc_url, "--rpc-url").reveal()
    finally:
        config_folder.reset(token)
    found = asyncio.run(_find(url, asked))
    write_config(output, render(found, asked.owner, rpc_url))
    _remember(output, found, asked)
    lines = [
        f"{output} is written: {len(found.positions)} positions of {asked.owner} on chain {found.chain_id}.",
        *(f"  {_position_sentence(each)}" for each in found.positions),
        *(f"  left out: {problem}" for problem in found.problems),
        "",
        "Next: look through the file and add [signer]; then run `keeper setup` and `keeper check`.",
    ]
    document = {
        "path": str(output),
        "chain_id": found.chain_id,
        "owner": asked.owner,
        "guard": guard_address(asked.owner),
        "positions": [str(each.id) for each in found.positions],
        "left_out": list(found.problems),
    }
    return Answer(lines, document)


# Finding --------------------------------------------------------------------------------------------------------------


async def _find(url: str, asked: Asked) -> Found:
    """Raises ConfigError when there is nothing to keep, saying where it was looked for."""
    chain_id = await _chain_id(url)
    async with open_pool(url, chain_id) as pool:
        rpc = Rpc(pool)
        reader, head = Reader(rpc), await rpc.head()
        morpho, nothing_there = await _on_morpho(rpc, reader, head, chain_id, asked)
        used = [market.collateral.address for market in morpho.markets]
        pools, problems, nothing_on_aave = await _on_aave(rpc, reader, head, chain_id, asked, used)
        connectors, on_euler, nothing_on_euler = await _on_euler(rpc, reader, head, chain_id, asked)
        used += [asset for each in pools for asset in each.assets]
        used += [asset for _, assets in connectors for asset in assets]
        on_venus, problems_on_venus, nothing_on_venus = await _on_venus(rpc, reader, head, chain_id, asked, used)
        problems += [*on_euler, *problems_on_venus]
        if not morpho.markets and not pools and not connectors and not on_venus:
            nothing = filter(None, (nothing_there, nothing_on_aave, nothing_on_euler, nothing_on_venus))
            why = "; ".join([*morpho.problems, *problems] or nothing)
            raise ConfigError(f"{asked.owner} has nothing that could be kept: {why}.")
        used += [asset for _, assets in on_venus for asset in assets]
        tokens = await held_tokens(reader, head, asked.owner, tuple(dict.fromkeys(used)))
        protocols: list[ProtocolSettings] = []
        if morpho.markets:
            protocols.append(
                MorphoSettings(asked.morpho or MORPHO_USUAL, tuple(market.id for market in morpho.markets))
            )
        protocols += [*pools, *(settings for settings, _ in connectors), *(settings for settings, _ in on_venus)]
        if tokens:
            protocols.append(WalletSettings(tokens))
        settings = PortfolioSettings(
            chain_id, asked.owner, guard_address(asked.owner), None, tuple(protocols), native_coin=native_coin(chain_id)
        )
        portfolio, snapshot = await look(reader, head, settings)
        volatility = await feed_volatilities(reader, portfolio.topology.feeds, head)
        milliseconds = await block_milliseconds(rpc, head)
        return Found(chain_id, portfolio, snapshot, volatility, milliseconds, (*morpho.problems, *problems))


async def _chain_id(url: str) -> int:
    provider = HttpProvider(url)
    try:
        answer = await provider.make_request(RPCEndpoint("eth_chainId"), [])
        return as_int(answer.get("result"))
    finally:
        await provider.disconnect()


async def _on_morpho(rpc: Rpc, reader: Reader, head: Block, chain_id: int, asked: Asked) -> tuple[Usable, str]:
    """What can be kept there, and why there is nothing if there is nothing. Raises ConfigError for a wrong address."""
    morpho = asked.morpho or MORPHO_USUAL
    if not await rpc.code(morpho, head.hash):
        says = f"there is no Morpho Blue at {morpho} on chain {chain_id}"
        if asked.morpho is not None or asked.markets:
            raise ConfigError(f"T{says[1:]}; name its address with --morpho.")
        return Usable((), ()), f"{says} (name its address with --morpho)"
    ids = list(asked.markets)
    if asked.from_block is not None:
        try:
            logged = await market_ids_in_logs(rpc, morpho, asked.owner, asked.from_block, head.number)
        except ChainError as fault:
            raise ChainError(
                f"The logs could not be searched ({fault}); narrow it with --from-block, or name --market."
            ) from None
        ids += await held_markets(reader, head, morpho, asked.owner, logged)
    usable = await usable_markets(reader, head, morpho, asked.owner, tuple(dict.fromkeys(ids)))
    if asked.markets and usable.problems and not usable.markets:
        raise ConfigError(f"{usable.problems[0]}.")
    return usable, f"it has no collateral on Morpho at {morpho} in any market since block {asked.from_block}"


async def _on_aave(
    rpc: Rpc, reader: Reader, head: Block, chain_id: int, asked: Asked, used: Sequence[Address]
) -> tuple[list[AaveSettings], list[str], str]:
    """The pool to keep with what may move there (`used`: what other positions hold), what of it cannot be kept, and why
    there is nothing if there is nothing. Raises ConfigError for a pool that was named and cannot be kept."""
    pool = asked.aave_pool or (AAVE_USUAL.get(chain_id) if asked.from_block is not None else None)
    if pool is None or (asked.aave_pool is None and not await rpc.code(pool, head.hash)):
        return [], [], f"no pool of Aave is known on chain {chain_id} (name it with --aave-pool)"
    try:
        found = await reader.discover(aave_find.uses(pool, tuple(dict.fromkeys((asked.owner, *asked.accounts)))), head)
        kept = [use for use in found.accounts if use.is_any or use.account in asked.accounts]
        supplied = {asset for use in kept for asset in use.supplied}
        # Whoever owes may be saved with what the others hold.
        wanted = supplied | (set(used) if any(use.owed for use in kept) else set[Address]())
        assets = tuple(asset for asset in found.listed if asset in wanted)
        if not assets:
            return [], [], f"it has nothing on Aave at {pool}"
        settings = AaveSettings(pool, tuple(use.account for use in kept), assets)
        await reader.discover(aave_v3.discover(pool, settings.accounts, None, assets), head)
    except ProtocolError as problem:
        if asked.aave_pool is not None:
            raise ConfigError(f"{problem}.") from None
        return [], [str(problem)], ""
    return [settings], [], ""


async def _on_euler(
    rpc: Rpc, reader: Reader, head: Block, chain_id: int, asked: Asked
) -> tuple[list[tuple[EulerSettings, list[Address]]], list[str], str]:
    """The connector to keep with the underlyings of its vaults, what of it cannot be kept, and why there is nothing if
    there is nothing. Raises ConfigError for a connector or a vault that was named and cannot be kept."""
    is_named = asked.evc is not None or bool(asked.vaults)
    usual = EVC_USUAL.get(chain_id) if asked.from_block is not None or is_named else None
    evc = asked.evc or usual
    if evc is None or not await rpc.code(evc, head.hash):
        if is_named:
            raise ConfigError(
                f"There is no connector of Euler at {evc} on chain {chain_id}; name its address with --evc."
                if evc
                else f"No connector of Euler is known on chain {chain_id}; name its address with --evc."
            )
        return [], [], f"no connector of Euler is known on chain {chain_id} (name it with --evc)"
    problems: list[str] = []
    logged: tuple[Address, ...] = ()
    try:
        if asked.from_block is not None:
            logged = await vaults_in_logs(rpc, reader, head, evc, asked.owner, asked.from_block, head.number)
    except ChainError as fault:
        problems.append(
            f"shares on Euler that are not enabled as collateral could not be looked for "
            f"({str(fault).rstrip('.')}); name their vaults with --euler-vault"
        )
    try:
        subs = await sub_accounts(reader, head, evc, asked.owner, tuple(dict.fromkeys((*asked.vaults, *logged))))
        used = [vault for sub in subs for vault in (*sub.vaults, *sub.controllers)]
        settings = EulerSettings(evc, tuple(dict.fromkeys((*asked.vaults, *used))))
        if not settings.vaults:
            return [], problems, f"it has nothing on Euler at {evc}"
        adapter = await reader.discover(euler_v2.discover(evc, asked.owner, None, settings.vaults), head)
    except ProtocolError as problem:
        if is_named:
            raise ConfigError(f"{problem}.") from None
        return [], [*problems, str(problem)], ""
    return [(settings, adapter.underlyings())], problems, ""


async def _on_venus(
    rpc: Rpc, reader: Reader, head: Block, chain_id: int, asked: Asked, used: Sequence[Address]
) -> tuple[list[tuple[VenusSettings, list[Address]]], list[str], str]:
    """The pools to keep with the underlyings of what may move there (`used`: what other positions hold), what of them
    cannot be kept, and why there is nothing if there is nothing. Raises ConfigError for a pool that was named and
    cannot be kept."""
    kept: list[tuple[VenusSettings, list[Address]]] = []
    problems: list[str] = []
    try:
        pools = asked.venus_pools or await _pools_of_venus(rpc, reader, head, chain_id, asked)
        if not pools:
            return [], [], f"no pool of Venus is known on chain {chain_id} (name it with --venus-pool)"
    except ProtocolError as problem:
        return [], [str(problem)], ""
    for pool in pools:
        try:
            settings = await _pool_of_venus(reader, head, pool, asked, used)
            if settings is not None:
                adapter = await reader.discover(
                    venus_pool.discover(pool, settings.accounts, None, settings.markets), head
                )
                kept.append((settings, adapter.underlyings()))
        except ProtocolError as problem:
            if asked.venus_pools:
                raise ConfigError(f"{problem}.") from None
            problems.append(str(problem))
    return kept, problems, f"it has nothing in {counted(len(pools), 'pool')} of Venus"


async def _pools_of_venus(rpc: Rpc, reader: Reader, head: Block, chain_id: int, asked: Asked) -> tuple[Address, ...]:
    registry = VENUS_REGISTRY.get(chain_id)
    if asked.from_block is None or registry is None or not await rpc.code(registry, head.hash):
        return ()
    return await reader.discover(venus_find.pools(registry), head)


async def _pool_of_venus(
    reader: Reader, head: Block, pool: Address, asked: Asked, used: Sequence[Address]
) -> VenusSettings | None:
    """None where nobody has collateral."""
    found = await reader.discover(venus_find.uses(pool, tuple(dict.fromkeys((asked.owner, *asked.accounts)))), head)
    kept = [use for use in found.accounts if use.is_any]
    # Whoever owes may be saved with what the others hold.
    wanted = set(used) if any(use.owed for use in kept) else set[Address]()
    supplied = {market for use in kept for market in use.supplied}
    markets = tuple(market for market, token in found.underlyings.items() if market in supplied or token in wanted)
    return VenusSettings(pool, tuple(use.account for use in kept), markets) if markets else None


# Telling --------------------------------------------------------------------------------------------------------------


def _position_sentence(subaccount: Subaccount) -> str:
    held = ", ".join(amount_text(line.amount_raw, line.token) for line in subaccount.collateral if line.amount_raw)
    if isinstance(subaccount.reading, Unknown):
        return f"{name_of(subaccount)}: unknown, {subaccount.reading.reason}"
    if not subaccount.has_debt:
        return f"{name_of(subaccount)}: {held or 'nothing'}, no debt"
    health = health_text(subaccount.margin.risk().health_factor)
    return f"{name_of(subaccount)}: {held}, owes {debts_text(subaccount)}, health {health}"


def _remember(output: Path, found: Found, asked: Asked) -> None:
    """So that `status` goes on where this search ended."""
    if asked.from_block is None:
        return
    seen = SightingsFile(output.absolute().with_name("keeper.sqlite"))
    for contract in (asked.morpho or MORPHO_USUAL, asked.evc or EVC_USUAL.get(found.chain_id)):
        if contract is not None:
            seen.write(found.chain_id, contract, asked.owner, Sighting(found.snapshot.block.number, ()))


def write_config(output: Path, text: str) -> None:
    """Whole or not at all, and readable by its owner alone: an endpoint may hold a key."""
    output = output.resolve()
    if output.exists() and not output.is_file():
        raise ConfigError(f"{output} is no file; name another with --output.")
    draft = output.with_name(f".{output.name}-{os.getpid()}")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
                file.write(text)
            draft.replace(output)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise KeeperError(f"{output} cannot be written: {error.strerror}; nothing was changed.") from None


def _parsed(parse: Callable[[object], T], text: str, option: str) -> T:
    try:
        return parse(text)
    except ValueError as problem:
        raise ConfigError(f"{option} is {text!r}: {problem}.") from None
