"""What the owner has on the chain and keeper.toml does not name: not protected, whatever the keeper does.

Looked for in what the protocols say themselves: Morpho's logs since the last look, Aave's lists, balances.
"""

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from keeper.core.snapshot import Block, Subaccount, SubaccountId
from keeper.core.units import Address
from keeper.core.verdict import NotProtected
from keeper.errors import ChainError, ProtocolError
from keeper.protocols.aave import adapter as aave_v3
from keeper.protocols.aave import find as aave_find
from keeper.protocols.aave.adapter import AaveV3
from keeper.protocols.morpho import adapter as morpho_blue
from keeper.protocols.morpho.adapter import MorphoBlue
from keeper.protocols.portfolio import AaveSettings, MorphoSettings, ProtocolSettings
from keeper.protocols.wallet import Wallet
from keeper.protocols.whereabouts import AAVE_USUAL, MORPHO_USUAL
from keeper.search import held_markets, held_tokens, look, market_ids_in_logs, usable_markets
from keeper.session import Session, portfolio_settings
from keeper.sightings import Sighting, SightingsFile

LOOK_BLOCKS_MAX = 100_000
"""Looked through at once, in fifty requests; what is left is for the next look."""
OVERLAP_BLOCKS = 64
"""Looked through again: a block that was seen may have been replaced since."""
MARKETS_MAX = 256

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unlisted:
    positions: tuple[Subaccount, ...] = ()
    tokens: tuple[Address, ...] = ()
    """In the wallet, of use to positions and not named."""
    notes: tuple[str, ...] = ()
    """For people: on the tokens, and on what could not be looked at."""

    @property
    def verdicts(self) -> Mapping[SubaccountId, NotProtected]:
        """What each is, with what to do."""
        return {each.id: NotProtected(what_to_do(each)) for each in self.positions}


def what_to_do(subaccount: Subaccount) -> str:
    then = "and send what `keeper setup` lists"
    if subaccount.id.protocol == morpho_blue.NAME:
        return (
            f'not in keeper.toml; add {subaccount.id.key} to the markets of [[protocols]] kind = "morpho_blue" {then}'
        )
    return (
        f'not in keeper.toml; add {subaccount.id.key} to the accounts of [[protocols]] kind = "{_kind(subaccount)}" '
        f"(`keeper init --discover` writes such a section) {then}"
    )


def _kind(subaccount: Subaccount) -> str:
    return "aave_v3" if subaccount.id.protocol == aave_v3.NAME else subaccount.id.protocol


async def find_unlisted(session: Session, head: Block) -> Unlisted:
    """All that is found at this block; a part that cannot be looked at is a note, and hides nothing of the others."""
    markets, on_morpho = await _noted("on Morpho", _new_markets(session, head))
    accounts, on_aave = await _noted("on Aave", _new_accounts(session, head))
    positions, at_all = await _noted("that were found", _positions(session, head, (*markets, *accounts)))
    tokens, in_wallet = await _noted("in the wallet", _new_tokens(session, head))
    symbols = {token.address: token.symbol for adapter in session.portfolio.adapters for token in adapter.tokens()}
    in_wallet += [
        f"the wallet holds {symbols[token]}, which positions use, and keeper.toml does not name it: add {token} to the "
        'tokens of [[protocols]] kind = "wallet" to have it given'
        for token in tokens
    ]
    return Unlisted(tuple(positions), tuple(tokens), (*on_morpho, *on_aave, *at_all, *in_wallet))


async def _noted(where: str, look: Awaitable[tuple[Sequence[T], list[str]]]) -> tuple[Sequence[T], list[str]]:
    """What a look found, and what to say of it; a fault is something to say."""
    try:
        return await look
    except (ChainError, ProtocolError) as fault:
        return (), [f"new positions {where} could not be looked for: {str(fault).rstrip('.')}"]


async def _positions(
    session: Session, head: Block, protocols: Sequence[ProtocolSettings]
) -> tuple[Sequence[Subaccount], list[str]]:
    if not protocols:
        return (), []
    settings = replace(portfolio_settings(session.config), protocols=tuple(protocols))
    _, snapshot = await look(session.reader, head, settings)
    return [replace(each, notes=(), cannot_give=None) for each in snapshot.subaccounts], []


# Morpho ---------------------------------------------------------------------------------------------------------------


async def _morphos(session: Session, head: Block) -> Mapping[Address, frozenset[str]]:
    """Where to look, each with the markets that are listed."""
    listed = {
        adapter.morpho: frozenset(market.id for market in adapter.markets) for adapter in _of(session, MorphoBlue)
    }
    if listed or not await session.rpc.code(MORPHO_USUAL, head.hash):
        return listed
    return {MORPHO_USUAL: frozenset()}


async def _new_markets(session: Session, head: Block) -> tuple[Sequence[ProtocolSettings], list[str]]:
    found: list[ProtocolSettings] = []
    notes: list[str] = []
    for morpho, known in (await _morphos(session, head)).items():
        ids, says = await _new_market_ids(session, head, morpho, known)
        usable = await usable_markets(session.reader, head, morpho, session.config.guard.owner, ids)
        notes += [*says, *(f"a position that cannot be kept: {problem}" for problem in usable.problems)]
        if usable.markets:
            found.append(MorphoSettings(morpho, tuple(market.id for market in usable.markets)))
    return found, notes


async def _new_market_ids(
    session: Session, head: Block, morpho: Address, known: frozenset[str]
) -> tuple[Sequence[str], list[str]]:
    """The markets in which the owner has a position now, as far as the logs were looked through; and what to say."""
    owner, chain_id = session.config.guard.owner, session.config.chain.chain_id
    file = SightingsFile(session.config.journal.path)
    seen = file.read(chain_id, morpho, owner)
    if seen is None or seen.until > head.number:
        seen = Sighting(max(head.number - LOOK_BLOCKS_MAX, 0), ())
    first = max(seen.until + 1 - OVERLAP_BLOCKS, 0)
    last = min(head.number, first + LOOK_BLOCKS_MAX - 1)
    says: list[str] = []
    try:
        logged = await market_ids_in_logs(session.rpc, morpho, owner, first, last)
    except ChainError as fault:
        logged, last = (), seen.until
        says.append(f"new positions on Morpho could not be looked for: {str(fault).rstrip('.')}")
    candidates = [id for id in dict.fromkeys((*seen.market_ids, *logged)) if id not in known]
    # Whoever left a market and comes back is in the logs again.
    ids = await held_markets(session.reader, head, morpho, owner, candidates)
    if len(ids) > MARKETS_MAX:
        says.append(f"only {MARKETS_MAX} of {len(ids)} positions on Morpho that are not in keeper.toml are looked at")
        ids = ids[:MARKETS_MAX]
    file.write(chain_id, morpho, owner, Sighting(last, tuple(ids)))
    if last < head.number and not says:
        says.append(f"Morpho's logs are looked through to block {last}; the next look goes on from there")
    return ids, says


# Aave, the wallet -----------------------------------------------------------------------------------------------------


async def _new_accounts(session: Session, head: Block) -> tuple[Sequence[ProtocolSettings], list[str]]:
    """The owner's own account, in a pool that is listed without it or in the chain's main one."""
    owner = session.config.guard.owner
    listed = {
        adapter.pool.address: {account.address for account in adapter.pool.accounts} for adapter in _of(session, AaveV3)
    }
    usual = AAVE_USUAL.get(session.config.chain.chain_id)
    if usual is not None and usual not in listed and await session.rpc.code(usual, head.hash):
        listed[usual] = set()
    found: list[ProtocolSettings] = []
    for pool, accounts in listed.items():
        if owner in accounts:
            continue
        use = (await session.reader.discover(aave_find.uses(pool, (owner,)), head)).accounts[0]
        if use.is_any:
            found.append(AaveSettings(pool, (owner,), use.supplied))
    return found, []


async def _new_tokens(session: Session, head: Block) -> tuple[Sequence[Address], list[str]]:
    """What positions use and the wallet holds and may not give, because it is not named."""
    named = {token.address for wallet in _of(session, Wallet) for token in wallet.held}
    others = (adapter for adapter in session.portfolio.adapters if not isinstance(adapter, Wallet))
    used = dict.fromkeys(token for adapter in others for token in adapter.underlyings() if token not in named)
    return await held_tokens(session.reader, head, session.config.guard.owner, tuple(used)), []


def _of(session: Session, kind: type[T]) -> Iterable[T]:
    return (adapter for adapter in session.portfolio.topology.adapters if isinstance(adapter, kind))
