"""The wallet on the fork, as its owner would set it up: keeper.toml with a fresh hot key, and the owner's transactions.

The same code finds the positions, writes the file and names the transactions as `keeper init` and `keeper setup` do;
only that here nobody has to sign.
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from keeper.chain.owner import impersonated, send_all
from keeper.chain.pool import open_pool
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc
from keeper.commands.init import init
from keeper.commands.missing import Wanted, missing_calls
from keeper.commands.new_key import new_key
from keeper.config import load_config
from keeper.core.snapshot import Snapshot
from keeper.core.units import Address
from keeper.errors import ChainError, ConfigError
from keeper.protocols.aave_v3 import AaveV3
from keeper.protocols.abi import interface
from keeper.protocols.guard import GUARD
from keeper.protocols.guard_setup import OwnerCall, approve_a_token, approve_on_aave, guard_address
from keeper.protocols.portfolio import AaveSettings, Portfolio, PortfolioSettings, discover
from keeper.session import Session, open_session
from scripts.localchain.node import Node

GAS_MONEY_WEI = 10**19
"""Of the owner, whose transactions cost gas on the fork as well, and of the hot key."""
REQUEST_SECONDS_MAX = 60
"""The first read of a fork is as slow as the node that it has to ask."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Whose positions, and where to look for them."""

    owner: Address
    morpho: str | None
    markets: tuple[str, ...]
    from_block: int
    aave_pool: Address | None
    holders: tuple[Address, ...]
    """Other accounts on Aave that are kept with the owner's."""


@dataclass(frozen=True, slots=True)
class Wallet:
    """What stands on the fork once it is set up."""

    config: Path
    hot_key: Address
    granted: tuple[str, ...]
    """What each of the transactions did, sentences."""


def set_up(node: Node, wish: Wish, folder: Path) -> Wallet:
    """Finds positions, writes keeper.toml, and sends what the owner and the other holders have to.

    Raises KeeperError: nothing was found, or the chain refused.
    """
    config = folder / "keeper.toml"
    document = new_key(folder).document
    assert isinstance(document, Mapping)
    hot_key = Address(document["address"])
    _write_config(node, wish, config)
    for address in (wish.owner, hot_key, *wish.holders):
        node.set_balance(address, GAS_MONEY_WEI)
    granted = asyncio.run(_permit(config, wish.holders))
    return Wallet(config, hot_key, tuple(granted))


def look(config: Path) -> tuple[Portfolio, Snapshot]:
    """The wallet now, as a keeper that just started sees it."""

    async def ask() -> tuple[Portfolio, Snapshot]:
        async with open_session(load_config(config)) as session:
            return session.portfolio, await session.look()

    return asyncio.run(ask())


# keeper.toml ----------------------------------------------------------------------------------------------------------


def _write_config(node: Node, wish: Wish, config: Path) -> None:
    try:
        init(
            owner=wish.owner,
            rpc_url=node.url,
            find_positions=True,
            morpho=wish.morpho,
            markets=wish.markets,
            from_block=wish.from_block,
            output=config,
            force=True,
        )
        text = config.read_text()
    except ConfigError:
        if wish.aave_pool is None:
            raise
        text = _bare(node, wish)  # nothing on Morpho; all the more on Aave
    text = text.replace('# request_timeout = "5s"', f'request_timeout = "{REQUEST_SECONDS_MAX}s"')
    blocks = [text.rstrip(), '[signer]\nkeystore = "keystore.json"\npassword = "file:password"']
    blocks.append(f'[telemetry]\nlisten = "127.0.0.1:{_free_port()}"')
    if wish.aave_pool is not None:
        blocks.append(_aave_block(node, wish, wish.aave_pool))
    config.write_text("\n\n".join(blocks) + "\n")


def _bare(node: Node, wish: Wish) -> str:
    chain_id = int(node.request("eth_chainId"), 16)
    return (
        f'[chain]\nrpc_url = "{node.url}"\nchain_id = {chain_id}\n# request_timeout = "5s"\n\n'
        f'[guard]\nowner = "{wish.owner}"\n'
    )


def _aave_block(node: Node, wish: Wish, pool: Address) -> str:
    """Lets move what any of the accounts has supplied there."""
    accounts = (wish.owner, *wish.holders)
    assets = asyncio.run(_supplied(node, pool, accounts))
    if not assets:
        raise ConfigError(f"{wish.owner} has no collateral in the Aave pool {pool}.")
    quoted = (", ".join(f'"{each}"' for each in part) for part in (accounts, assets))
    return '[[protocols]]\nkind = "aave_v3"\npool = "{}"\naccounts = [{}]\nassets = [{}]'.format(pool, *quoted)


async def _supplied(node: Node, pool: Address, accounts: Sequence[Address]) -> list[Address]:
    """Raises ProtocolError for what is no Aave pool."""
    chain_id = int(node.request("eth_chainId"), 16)
    async with open_pool(node.url, chain_id) as endpoints:
        rpc = Rpc(endpoints)
        head, reader = await rpc.head(), Reader(rpc)
        owner, settings = accounts[0], AaveSettings(pool, tuple(accounts), ())
        wanted = PortfolioSettings(chain_id, owner, guard_address(owner), None, (settings,))
        portfolio = await reader.discover(discover(wanted), head)
        snapshot = portfolio.decode(head, await reader.read(portfolio.calldata, head))
    lines = (line for each in snapshot.subaccounts for line in each.collateral if line.amount_raw)
    return list(dict.fromkeys(line.token.address for line in lines))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# Permissions ----------------------------------------------------------------------------------------------------------


WANTED = Wanted(keeper=None, is_unpaused=True, caps={}, allowances={}, retired=frozenset())
"""What `keeper setup --unpause` wants."""


async def _permit(config: Path, holders: Sequence[Address]) -> list[str]:
    async with open_session(load_config(config)) as session:
        calls = await missing_calls(session, WANTED)
        await send_all(await impersonated(session.rpc, session.config.guard.owner), calls)
        says = [call.says for call in calls]
        for holder in holders:
            of_holder = await _calls_of(session, holder)
            await send_all(await impersonated(session.rpc, holder), of_holder)
            says += [call.says for call in of_holder]
        left = await missing_calls(session, WANTED)
    if left:
        raise ChainError(f"The owner's transactions were all taken, and this is missing all the same: {left[0].says}")
    return says


async def _calls_of(session: Session, holder: Address) -> list[OwnerCall]:
    """What another holder has to send: he joins, and allows what he has supplied."""
    guard = session.portfolio.topology.guard
    assert guard is not None
    calls = [OwnerCall(guard, interface(GUARD)["join"].encode(), 0, f"{holder} takes part in the guard.")]
    snapshot = await session.look()
    for adapter in session.portfolio.topology.adapters:
        if not isinstance(adapter, AaveV3):
            continue
        for account in (each for each in snapshot.subaccounts if each.id.key == holder):
            if adapter.wants_manager(account):
                calls.append(approve_on_aave(guard, adapter.pool.address))
            a_tokens = adapter.a_tokens()
            calls += [
                approve_a_token(guard, a_tokens[line.token.address], line.amount_raw)
                for line in account.collateral
                if line.amount_raw and line.token.address in adapter.assets
            ]
    return calls
