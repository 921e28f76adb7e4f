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
from keeper.commands.holders import holders_calls
from keeper.commands.init import init
from keeper.commands.missing import Wanted, missing_calls
from keeper.commands.new_key import new_key
from keeper.config import load_config
from keeper.core.snapshot import Snapshot
from keeper.core.units import Address
from keeper.errors import ChainError
from keeper.protocols.portfolio import Portfolio
from keeper.session import open_session
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
    """Other accounts on Aave and Venus that are kept with the owner's."""
    evc: str | None
    venus_pools: tuple[str, ...]


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
    init(
        owner=wish.owner,
        rpc_url=node.url,
        find_positions=True,
        morpho=wish.morpho,
        markets=wish.markets,
        aave_pool=wish.aave_pool,
        accounts=wish.holders,
        evc=wish.evc,
        vaults=(),
        venus_pools=wish.venus_pools,
        from_block=wish.from_block,
        output=config,
        force=True,
    )
    text = config.read_text().replace('# request_timeout = "5s"', f'request_timeout = "{REQUEST_SECONDS_MAX}s"')
    blocks = (
        text.rstrip(),
        '[signer]\nkeystore = "keystore.json"\npassword = "file:password"',
        f'[telemetry]\nlisten = "127.0.0.1:{_free_port()}"',
    )
    config.write_text("\n\n".join(blocks) + "\n")


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
            of_holder = [call for call in await holders_calls(session) if call.sender == holder]
            await send_all(await impersonated(session.rpc, holder), of_holder)
            says += [call.says for call in of_holder]
        left = await missing_calls(session, WANTED)
    if left:
        raise ChainError(f"The owner's transactions were all taken, and this is missing all the same: {left[0].says}")
    return says
