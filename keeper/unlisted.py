"""What the owner has on the chain and keeper.toml does not name: not protected, whatever the keeper does.

Looked for in what the protocols say themselves: logs of Morpho and Euler since the last look, lists of Aave, Euler and
Venus, balances.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from keeper.core.snapshot import Block, Subaccount, SubaccountId
from keeper.core.units import Address
from keeper.core.verdict import NotProtected
from keeper.errors import ChainError, ProtocolError
from keeper.protocols.aave import find as aave_find
from keeper.protocols.aave.adapter import AaveV3
from keeper.protocols.euler.adapter import EulerV2
from keeper.protocols.euler.held import SubAccount
from keeper.protocols.euler.topology import NAME as EULER
from keeper.protocols.euler.topology import Topology
from keeper.protocols.morpho import adapter as morpho_blue
from keeper.protocols.morpho.adapter import MorphoBlue
from keeper.protocols.portfolio import (
    AaveSettings,
    EulerSettings,
    MorphoSettings,
    ProtocolSettings,
    VenusSettings,
)
from keeper.protocols.venus import find as venus_find
from keeper.protocols.venus.adapter import NAME as VENUS
from keeper.protocols.venus.adapter import VenusPool
from keeper.protocols.wallet import Wallet
from keeper.protocols.whereabouts import AAVE_USUAL, EVC_USUAL, MORPHO_USUAL, VENUS_REGISTRY
from keeper.search import (
    held_markets,
    held_tokens,
    look,
    market_ids_in_logs,
    sub_accounts,
    usable_markets,
    usable_vaults,
    vaults_in_logs,
)
from keeper.session import Session, portfolio_settings
from keeper.sightings import Sighting, SightingsFile

LOOK_BLOCKS_MAX = 100_000
"""Looked through at once, in fifty requests; what is left is for the next look."""
OVERLAP_BLOCKS = 64
"""Looked through again: a block that was seen may have been replaced since."""
FOUND_MAX = 256
"""Of what one protocol's logs name and keeper.toml does not."""

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
    if subaccount.id.protocol == EULER:
        vaults = " and ".join(dict.fromkeys(line.form for line in subaccount.collateral if line.form))
        return (
            f'not in the guard; let the vaults of [[protocols]] kind = "euler_v2" name {vaults or "its own"} '
            f"(`keeper init --discover` writes such a section) {then}"
        )
    if subaccount.id.protocol == VENUS:
        comptroller, _, account = subaccount.id.key.partition("/")
        return (
            f'not in keeper.toml; add {account} to the accounts of [[protocols]] kind = "venus_pool" with comptroller '
            f"{comptroller} (`keeper init --discover` writes such a section) {then}"
        )
    return (
        f'not in keeper.toml; add {subaccount.id.key} to the accounts of [[protocols]] kind = "aave_v3" '
        f"(`keeper init --discover` writes such a section) {then}"
    )


async def find_unlisted(session: Session, head: Block) -> Unlisted:
    """All that is found at this block; a part that cannot be looked at is a note, and hides nothing of the others."""
    markets, on_morpho = await _noted("on Morpho", _new_markets(session, head))
    accounts, on_aave = await _noted("on Aave", _new_accounts(session, head))
    connectors, on_euler = await _noted("on Euler", _new_sub_accounts(session, head))
    pools, on_venus = await _noted("on Venus", _new_in_pools(session, head))
    protocols = (*markets, *accounts, *connectors, *pools)
    positions, at_all = await _noted("that were found", _positions(session, head, protocols))
    tokens, in_wallet = await _noted("in the wallet", _new_tokens(session, head))
    symbols = {token.address: token.symbol for adapter in session.portfolio.adapters for token in adapter.tokens()}
    in_wallet += [
        f"the wallet holds {symbols[token]}, which positions use, and keeper.toml does not name it: add {token} to the "
        'tokens of [[protocols]] kind = "wallet" to have it given'
        for token in tokens
    ]
    notes = dict.fromkeys((*on_morpho, *on_aave, *on_euler, *on_venus, *at_all, *in_wallet))
    return Unlisted(tuple(positions), tuple(tokens), tuple(notes))


async def _noted(where: str, look: Awaitable[tuple[Sequence[T], list[str]]]) -> tuple[Sequence[T], list[str]]:
    """What a look found, and what to say of it; a fault is something to say."""
    try:
        return await look
    except (ChainError, ProtocolError) as fault:
        return (), [_not_looked_for(where, fault)]


def _not_looked_for(where: str, fault: Exception) -> str:
    return f"new positions {where} could not be looked for: {str(fault).rstrip('.')}"


def _not_kept(problem: object) -> str:
    return f"a position that cannot be kept: {problem}"


async def _one_by_one(
    looks: Iterable[Awaitable[tuple[Sequence[T], list[str]]]], says: Callable[[ProtocolError], str]
) -> tuple[Sequence[T], list[str]]:
    """What all of them found; a contract that is not what it should be is something to say, and spoils no other."""
    found: list[T] = []
    notes: list[str] = []
    for look_at_one in looks:
        try:
            new, of_one = await look_at_one
        except ProtocolError as problem:
            notes.append(says(problem))
        else:
            found += new
            notes += of_one
    return found, notes


async def _positions(
    session: Session, head: Block, protocols: Sequence[ProtocolSettings]
) -> tuple[Sequence[Subaccount], list[str]]:
    return await _one_by_one((_positions_in(session, head, protocol) for protocol in protocols), _not_kept)


async def _positions_in(
    session: Session, head: Block, protocol: ProtocolSettings
) -> tuple[Sequence[Subaccount], list[str]]:
    # A second source of a token that is not there would be refused.
    settings = replace(portfolio_settings(session.config), protocols=(protocol,), seconds=())
    _, snapshot = await look(session.reader, head, settings)
    # A connector is looked at as a whole; whom its adapter knows already is not new.
    known = {enrolment.subaccount for enrolment in session.portfolio.enrolments()}
    new = [each for each in snapshot.subaccounts if each.id not in known]
    return [replace(each, notes=(), cannot_give=None) for each in new], []


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
    morphos = await _morphos(session, head)
    looks = (_new_markets_of(session, head, *one) for one in morphos.items())
    return await _one_by_one(looks, partial(_not_looked_for, "on Morpho"))


async def _new_markets_of(
    session: Session, head: Block, morpho: Address, known: frozenset[str]
) -> tuple[Sequence[ProtocolSettings], list[str]]:
    ids, says = await _new_market_ids(session, head, morpho, known)
    usable = await usable_markets(session.reader, head, morpho, session.config.guard.owner, ids)
    notes = [*says, *map(_not_kept, usable.problems)]
    ids = tuple(market.id for market in usable.markets)
    return [MorphoSettings(morpho, ids)] if ids else [], notes


async def _new_market_ids(
    session: Session, head: Block, morpho: Address, known: frozenset[str]
) -> tuple[Sequence[str], list[str]]:
    """The markets in which the owner has a position now, as far as the logs were looked through; and what to say."""
    owner = session.config.guard.owner

    async def logged(first: int, last: int) -> Sequence[str]:
        return await market_ids_in_logs(session.rpc, morpho, owner, first, last)

    async def held(candidates: Sequence[str]) -> Sequence[str]:
        # Whoever left a market and comes back is in the logs again.
        return await held_markets(session.reader, head, morpho, owner, [id for id in candidates if id not in known])

    return await _since_last_look(session, head, "Morpho", morpho, logged, held)


async def _since_last_look(
    session: Session,
    head: Block,
    name: str,
    contract: Address,
    logged: Callable[[int, int], Awaitable[Sequence[str]]],
    held: Callable[[Sequence[str]], Awaitable[Sequence[str]]],
) -> tuple[Sequence[str], list[str]]:
    """What the logs name, from where the last look ended, and is still `held`; and what to say."""
    chain_id, owner = session.config.chain.chain_id, session.config.guard.owner
    file = SightingsFile(session.config.journal.path)
    seen = file.read(chain_id, contract, owner)
    if seen is None or seen.until > head.number:
        seen = Sighting(max(head.number - LOOK_BLOCKS_MAX, 0), ())
    first = max(seen.until + 1 - OVERLAP_BLOCKS, 0)
    last = min(head.number, first + LOOK_BLOCKS_MAX - 1)
    says: list[str] = []
    new: Sequence[str] = ()
    try:
        new = await logged(first, last)
    except ChainError as fault:
        last = seen.until
        says.append(f"new positions on {name} could not be looked for: {str(fault).rstrip('.')}")
    found = await held(tuple(dict.fromkeys((*seen.found, *new))))
    if len(found) > FOUND_MAX:
        says.append(f"only {FOUND_MAX} of {len(found)} positions on {name} that are not in keeper.toml are looked at")
        found = found[:FOUND_MAX]
    file.write(chain_id, contract, owner, Sighting(last, tuple(found)))
    if last < head.number and not says:
        says.append(f"{name}'s logs are looked through to block {last}; the next look goes on from there")
    return found, says


# Euler ----------------------------------------------------------------------------------------------------------------


async def _new_sub_accounts(session: Session, head: Block) -> tuple[Sequence[ProtocolSettings], list[str]]:
    """Sub-accounts that were not there when the keeper started, or of a connector that is not listed."""
    listed = {adapter.evc: adapter.topology for adapter in _of(session, EulerV2)}
    usual = EVC_USUAL.get(session.config.chain.chain_id)
    if usual is not None and usual not in listed and await session.rpc.code(usual, head.hash):
        listed[usual] = Topology((), (), ())
    looks = (_new_on_connector(session, head, *one) for one in listed.items())
    return await _one_by_one(looks, partial(_not_looked_for, "on Euler"))


async def _new_on_connector(
    session: Session, head: Block, evc: Address, topology: Topology
) -> tuple[Sequence[ProtocolSettings], list[str]]:
    subs, says = await _sub_accounts_now(session, head, evc, tuple(topology.by_address))
    numbers = {position.number for position in topology.positions}
    held = dict.fromkeys(vault for sub in subs for vault in sub.held)
    unnamed = [vault for vault in held if vault not in topology.by_address]
    usable, problems = await usable_vaults(session.reader, head, evc, unnamed)
    notes = [*says, *map(_not_kept, problems)]
    notes += [
        f"{EULER} {sub.number} has shares of {vault}, which keeper.toml does not name: add it to the vaults of "
        '[[protocols]] kind = "euler_v2" to have them given'
        for sub in subs
        if sub.number in numbers
        for vault in sub.held
        if vault in usable
    ]
    if all(sub.number in numbers for sub in subs):
        return [], notes
    kept = tuple(vault for vault in held if vault not in unnamed or vault in usable)
    return [EulerSettings(evc, kept)], notes


async def _sub_accounts_now(
    session: Session, head: Block, evc: Address, listed: Sequence[Address]
) -> tuple[Sequence[SubAccount], list[str]]:
    owner = session.config.guard.owner
    subs: Sequence[SubAccount] = ()

    async def logged(first: int, last: int) -> Sequence[str]:
        return await vaults_in_logs(session.rpc, session.reader, head, evc, owner, first, last)

    async def held(candidates: Sequence[str]) -> Sequence[str]:
        nonlocal subs
        vaults = tuple(dict.fromkeys((*listed, *map(Address, candidates))))
        subs = await sub_accounts(session.reader, head, evc, owner, vaults)
        with_shares = dict.fromkeys(vault for sub in subs for vault in sub.held)
        return [vault for vault in with_shares if vault not in listed]

    _, says = await _since_last_look(session, head, "Euler", evc, logged, held)
    return subs, says


# Aave, Venus, the wallet ----------------------------------------------------------------------------------------------


async def _new_accounts(session: Session, head: Block) -> tuple[Sequence[ProtocolSettings], list[str]]:
    """The owner's own account, in a pool that is listed without it or in the chain's main one."""
    owner = session.config.guard.owner
    listed = {
        adapter.pool.address: {account.address for account in adapter.pool.accounts} for adapter in _of(session, AaveV3)
    }
    usual = AAVE_USUAL.get(session.config.chain.chain_id)
    if usual is not None and usual not in listed and await session.rpc.code(usual, head.hash):
        listed[usual] = set()
    looks = (_new_account(session, head, pool) for pool, accounts in listed.items() if owner not in accounts)
    return await _one_by_one(looks, partial(_not_looked_for, "on Aave"))


async def _new_account(session: Session, head: Block, pool: Address) -> tuple[Sequence[ProtocolSettings], list[str]]:
    owner = session.config.guard.owner
    use = (await session.reader.discover(aave_find.uses(pool, (owner,)), head)).accounts[0]
    return [AaveSettings(pool, (owner,), use.supplied)] if use.is_any else [], []


async def _new_in_pools(session: Session, head: Block) -> tuple[Sequence[ProtocolSettings], list[str]]:
    """The owner's own accounts in pools of the chain that are listed without it, and what keeper.toml leaves out of the
    accounts that it names."""
    listed = {adapter.pool.comptroller: adapter for adapter in _of(session, VenusPool)}
    registry = VENUS_REGISTRY.get(session.config.chain.chain_id)
    comptrollers = list(listed)
    if registry is not None and await session.rpc.code(registry, head.hash):
        comptrollers += await session.reader.discover(venus_find.pools(registry), head)
    looks = (_new_in_pool(session, head, one, listed.get(one)) for one in dict.fromkeys(comptrollers))
    return await _one_by_one(looks, partial(_not_looked_for, "on Venus"))


async def _new_in_pool(
    session: Session, head: Block, comptroller: Address, adapter: VenusPool | None
) -> tuple[Sequence[ProtocolSettings], list[str]]:
    owner = session.config.guard.owner
    labels = {account.address: account.label for account in (adapter.pool.accounts if adapter else ())}
    known = {market.address for market in (adapter.pool.markets if adapter else ())}
    asked = tuple(dict.fromkeys((*labels, owner)))
    found: list[ProtocolSettings] = []
    notes: list[str] = []
    for use in (await session.reader.discover(venus_find.uses(comptroller, asked), head)).accounts:
        if use.account in labels:
            notes += [
                f"{labels[use.account]} has vTokens of {market}, which keeper.toml does not name: add it to the "
                'markets of [[protocols]] kind = "venus_pool" to have them given'
                for market in use.supplied
                if market not in known
            ]
        elif use.is_any:
            found.append(VenusSettings(comptroller, (owner,), use.supplied))
    return found, notes


async def _new_tokens(session: Session, head: Block) -> tuple[Sequence[Address], list[str]]:
    """What positions use and the wallet holds and may not give, because it is not named."""
    named = {token.address for wallet in _of(session, Wallet) for token in wallet.held}
    others = (adapter for adapter in session.portfolio.adapters if not isinstance(adapter, Wallet))
    used = dict.fromkeys(token for adapter in others for token in adapter.underlyings() if token not in named)
    return await held_tokens(session.reader, head, session.config.guard.owner, tuple(used)), []


def _of(session: Session, kind: type[T]) -> Iterable[T]:
    return (adapter for adapter in session.portfolio.topology.adapters if isinstance(adapter, kind))
