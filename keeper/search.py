"""Where somebody has positions, asked of the chain: logs of Morpho and Euler in bounded pieces, what Aave and
Euler list themselves, token balances.

What strangers can do must not get in the way: a market that cannot be used is named and left out.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc
from keeper.core.snapshot import Block, Snapshot
from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.protocols.abi import interface
from keeper.protocols.base import Call, LogFilter
from keeper.protocols.euler import find as euler_find
from keeper.protocols.euler import held as euler_held
from keeper.protocols.euler.held import SubAccount
from keeper.protocols.morpho import adapter as morpho_blue
from keeper.protocols.morpho.adapter import Market
from keeper.protocols.morpho.find import held, market_ids_in, position_log_filter
from keeper.protocols.portfolio import Portfolio, PortfolioSettings, discover


@dataclass(frozen=True, slots=True)
class Usable:
    """What can be kept of what was found, and a sentence on each that cannot."""

    markets: tuple[Market, ...]
    problems: tuple[str, ...]


async def market_ids_in_logs(rpc: Rpc, morpho: Address, owner: Address, first: int, last: int) -> tuple[str, ...]:
    """Every market in which the owner got collateral in these blocks. Raises ChainError."""
    logged = await _topics_in_logs(rpc, position_log_filter(morpho, owner), first, last)
    return market_ids_in(["0x" + topic.hex() for topic in topics] for topics in logged)


async def vaults_in_logs(
    rpc: Rpc, reader: Reader, head: Block, evc: Address, owner: Address, first: int, last: int
) -> tuple[Address, ...]:
    """Every vault that the owner's sub-accounts called in these blocks. Raises ChainError."""
    logged = await _topics_in_logs(rpc, euler_held.call_log_filter(evc, owner), first, last)
    return await reader.discover(euler_held.vaults_of(evc, euler_held.called_in(logged)), head)


async def _topics_in_logs(rpc: Rpc, wanted: LogFilter, first: int, last: int) -> list[tuple[bytes, ...]]:
    topics = [None if topic is None else bytes.fromhex(topic[2:]) for topic in wanted.topics]
    return [log.topics for log in await rpc.logs(wanted.address, topics, first, last)]


async def sub_accounts(
    reader: Reader, head: Block, evc: Address, owner: Address, vaults: Sequence[Address]
) -> tuple[SubAccount, ...]:
    """Those that exist at this block, with the shares that they have in these vaults. Raises ProtocolError."""
    return await reader.discover(euler_held.sub_accounts(evc, owner, vaults), head)


async def held_markets(
    reader: Reader, head: Block, morpho: Address, owner: Address, ids: Sequence[str]
) -> tuple[str, ...]:
    """Those with collateral or a debt at this block."""
    return await reader.discover(held(morpho, owner, ids), head) if ids else ()


async def usable_markets(reader: Reader, head: Block, morpho: Address, owner: Address, ids: Sequence[str]) -> Usable:
    """One by one, so that none spoils the others."""
    markets: list[Market] = []
    problems: list[str] = []
    for id in ids:
        try:
            markets += (await reader.discover(morpho_blue.discover(morpho, owner, None, [id]), head)).markets
        except ProtocolError as problem:
            problems.append(f"{problem}")
    return Usable(tuple(markets), tuple(problems))


async def usable_vaults(
    reader: Reader, head: Block, evc: Address, vaults: Sequence[Address]
) -> tuple[tuple[Address, ...], tuple[str, ...]]:
    """One by one as well; and a sentence on each that cannot be used: what holds tokens through the connector and lends
    nothing is none."""
    usable: list[Address] = []
    problems: list[str] = []
    for vault in vaults:
        try:
            await reader.discover(euler_find.describe(evc, [vault]), head)
        except ProtocolError as problem:
            problems.append(f"{problem}")
        else:
            usable.append(vault)
    return tuple(usable), tuple(problems)


async def held_tokens(reader: Reader, head: Block, owner: Address, tokens: Sequence[Address]) -> tuple[Address, ...]:
    """Those that the owner's wallet has some of."""
    balance = interface("ERC20")["balanceOf"].encode(owner)
    results = await reader.aggregate([Call(token, balance) for token in tokens], head)
    return tuple(
        token for token, result in zip(tokens, results, strict=True) if result.success and any(result.data[:32])
    )


async def look(reader: Reader, head: Block, settings: PortfolioSettings) -> tuple[Portfolio, Snapshot]:
    """All of it, discovered and read at one block."""
    portfolio = await reader.discover(discover(settings), head)
    return portfolio, portfolio.decode(head, (await reader.read(portfolio, head)).answer)
