"""What has to lie with the guard so that Aave v3.0 pays out whatever is withdrawn, whichever way it rounds.

The guard ends each rescue with the aTokens that it began with, so a speck of each stays where it is.
"""

from collections.abc import Iterator, Sequence

from keeper.commands.finding import Finding, Grade
from keeper.core.snapshot import Block, Token
from keeper.core.units import Address
from keeper.protocols.aave.adapter import AaveV3
from keeper.protocols.aave.versions import SPECK_RAW
from keeper.protocols.abi import interface
from keeper.protocols.base import Call
from keeper.session import Session


async def specks_missing(
    session: Session, block: Block, adapter: AaveV3, guard: Address, holder: Address
) -> Sequence[Token]:
    """The aTokens of what may move of which the guard has nothing, and the holder enough to leave a speck with it."""
    if not adapter.version.needs_speck:
        return []
    known, scaled = adapter.a_tokens(), interface("AaveToken")["scaledBalanceOf"]
    a_tokens = [known[asset] for asset in adapter.assets]
    reads = [Call(token.address, scaled.encode(one)) for token in a_tokens for one in (guard, holder)]
    results = await session.reader.aggregate(reads, block)
    has = [int.from_bytes(result.data) if result.success else 0 for result in results]
    return [
        token
        for token, of_guard, of_holder in zip(a_tokens, has[::2], has[1::2], strict=True)
        if not of_guard and of_holder > SPECK_RAW
    ]


async def speck_findings(session: Session, block: Block, guard: Address) -> list[Finding]:
    return [
        finding
        for adapter in session.portfolio.topology.adapters
        if isinstance(adapter, AaveV3)
        for account in adapter.pool.accounts
        for finding in _findings(await specks_missing(session, block, adapter, guard, account.address))
    ]


def _findings(missing: Sequence[Token]) -> Iterator[Finding]:
    for token in missing:
        yield Finding(
            Grade.WARNING,
            token.symbol,
            "the guard has none of it, so Aave v3.0 refuses every now and then what is to be withdrawn, and a rescue "
            "fails or waits for the next block",
            "`keeper setup` leaves a speck of it with the guard",
        )
