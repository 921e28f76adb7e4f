"""The owner's transactions that carry a return out: out of one account into the wallet, and from there into another.

Nothing here is for the hot key. Each says what it does and why; an approval is for exactly what the next one takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.core.amounts import amount_text
from keeper.core.imagined import after_transfers
from keeper.core.policy import Policy
from keeper.core.returning import Return, Returning
from keeper.core.snapshot import Snapshot, Subaccount
from keeper.core.units import Address
from keeper.protocols.aave.adapter import AaveV3
from keeper.protocols.abi import interface
from keeper.protocols.euler.adapter import EulerV2
from keeper.protocols.euler.math import EulerMargin
from keeper.protocols.guard_setup import OwnerCall
from keeper.protocols.morpho.adapter import Market, MorphoBlue
from keeper.protocols.portfolio import Portfolio
from keeper.protocols.venus.adapter import VenusPool
from keeper.protocols.venus.math import VenusMargin
from keeper.protocols.wallet import NAME as WALLET
from keeper.report import health_text, name_of


@dataclass(frozen=True, slots=True)
class _Market:
    morpho: Address
    market: Market


@dataclass(frozen=True, slots=True)
class _Account:
    pool: Address
    a_token: Address


@dataclass(frozen=True, slots=True)
class _Shares:
    """Of a vault, in a sub-account, for which its owner acts through the connector."""

    evc: Address
    vault: Address
    account: Address
    shares: int
    """As many as the amount is worth, or hardly more."""


@dataclass(frozen=True, slots=True)
class _VTokens:
    """Of a market of Venus, which pays out to whoever holds them."""

    market: Address
    tokens: int
    """As many as the amount is worth, or hardly more."""


@dataclass(frozen=True, slots=True)
class _Wallet:
    pass


_Place = _Market | _Account | _Shares | _VTokens
_Spot = _Place | _Wallet
"""Where a subaccount keeps a token."""


def return_calls(portfolio: Portfolio, snapshot: Snapshot, policy: Policy, returning: Returning) -> list[OwnerCall]:
    """In the order to send them; none for a protocol whose transactions are not known here."""
    calls: list[OwnerCall] = []
    after = snapshot
    for one in returning.returns:
        after = after_transfers(after, [one.transfer])
        giver, taker = snapshot.subaccount(one.giver), snapshot.subaccount(one.taker)
        spots = _spot(portfolio, giver, one), _spot(portfolio, taker, one)
        calls += _calls(one, portfolio.topology.owner, giver, taker, spots, _why(after.subaccount(one.giver), policy))
    return calls


def _why(giver: Subaccount, policy: Policy) -> str:
    """Why that much may go, of a giver as it is after it and all that is returned before it."""
    spares = "it owes nothing"
    if giver.has_debt:
        after = health_text(giver.margin.risk().health_factor)
        floor = health_text(policy.subaccounts[giver.id].thresholds.floor)
        spares = f"without it it is at {after}, its floor being {floor}"
    return f"a rescue had brought it there, and {spares}"


def _spot(portfolio: Portfolio, subaccount: Subaccount, one: Return) -> _Spot | None:
    for adapter in portfolio.topology.adapters:
        match adapter:
            case MorphoBlue():
                for market in adapter.markets:
                    if market.subaccount == subaccount.id:
                        return _Market(adapter.morpho, market)
            case AaveV3():
                if any(subaccount.id == enrolment.subaccount for enrolment in adapter.enrolments()):
                    return _Account(adapter.pool.address, adapter.a_tokens()[one.token.address].address)
            case EulerV2():
                if any(subaccount.id == position.id for position in adapter.topology.positions):
                    return _shares(adapter, subaccount, one)
            case VenusPool():
                if adapter.account(subaccount.id) is not None:
                    return _v_tokens(adapter, subaccount, one)
            case _:
                pass
    return _Wallet() if subaccount.id.protocol == WALLET else None


def _shares(adapter: EulerV2, subaccount: Subaccount, one: Return) -> _Shares | None:
    """In the vault that it has, or else in the first that takes the token."""
    line = subaccount.line(one.token.address)
    vaults = [vault.address for vault in adapter.topology.vaults if vault.asset.address == one.token.address]
    vault = line.form if line is not None and line.form in vaults else next(iter(vaults), None)
    if vault is None:
        return None
    holdings = subaccount.margin.holdings if isinstance(subaccount.margin, EulerMargin) else ()
    shares = next((each.exchange.shares_up(one.amount_raw) for each in holdings if each.vault == vault), 0)
    return _Shares(adapter.evc, vault, subaccount.holder, shares)


def _v_tokens(adapter: VenusPool, subaccount: Subaccount, one: Return) -> _VTokens | None:
    market = next((each.address for each in adapter.pool.markets if each.token.address == one.token.address), None)
    if market is None:
        return None
    holdings = subaccount.margin.holdings if isinstance(subaccount.margin, VenusMargin) else ()
    return _VTokens(market, next((h.tokens_up(one.amount_raw) for h in holdings if h.token == one.token.address), 0))


def _calls(
    one: Return,
    owner: Address,
    giver: Subaccount,
    taker: Subaccount,
    spots: tuple[_Spot | None, _Spot | None],
    why: str,
) -> Sequence[OwnerCall]:
    what = amount_text(one.amount_raw, one.token)
    sender = None if giver.holder == owner or isinstance(spots[0], _Shares) else giver.holder
    match spots:
        case (_Shares(_, vault, _, shares) as source, _Shares(_, other_vault, account, _)) if vault == other_vault:
            says = f"Moves {what} within Euler from {name_of(giver)} to {name_of(taker)}, which had given it: {why}."
            return [_act(source, owner, interface("ERC20")["transfer"].encode(account, shares), says)]
        case (_Account(pool, a_token), _Account(other_pool, _)) if pool == other_pool:
            says = f"Moves {what} within Aave from {name_of(giver)} to {name_of(taker)}, which had given it: {why}."
            data = interface("ERC20")["transfer"].encode(taker.holder, one.amount_raw)
            return [OwnerCall(a_token, data, 0, says, sender)]
        case (_VTokens(market, tokens), _VTokens(other_market, _)) if market == other_market:
            says = f"Moves {what} within Venus from {name_of(giver)} to {name_of(taker)}, which had given it: {why}."
            return [OwnerCall(market, interface("ERC20")["transfer"].encode(taker.holder, tokens), 0, says, sender)]
        case (_Market() | _Account() | _Shares() | _VTokens() as source, _Wallet()):
            says = f"Takes {what} out of {name_of(giver)} into the wallet, which had given it: {why}."
            return _out(source, one, owner, says, sender, what)
        case (
            _Market() | _Account() | _Shares() | _VTokens() as source,
            _Market() | _Account() | _Shares() | _VTokens() as destination,
        ):
            says = f"Takes {what} out of {name_of(giver)} into the wallet, for {name_of(taker)}: {why}."
            return [*_out(source, one, owner, says, sender, what), *_in(destination, one, owner, taker, what)]
        case _:
            # Into a wallet nothing is ever moved, so nothing has to come back from there.
            return []


def by_hand_sentences(portfolio: Portfolio, snapshot: Snapshot, returning: Returning) -> list[str]:
    """What should go back and for which `return_calls` has no transactions."""
    says: list[str] = []
    for one in returning.returns:
        giver, taker = snapshot.subaccount(one.giver), snapshot.subaccount(one.taker)
        if None in (_spot(portfolio, giver, one), _spot(portfolio, taker, one)):
            what = amount_text(one.amount_raw, one.token)
            says.append(
                f"{what} of {name_of(giver)} would go back to {name_of(taker)}: move it in the protocol's own app"
            )
    return says


def _out(
    source: _Place, one: Return, owner: Address, says: str, sender: Address | None, what: str
) -> Sequence[OwnerCall]:
    match source:
        case _Market(morpho, market):
            data = interface("Morpho")["withdrawCollateral"].encode(market.params, one.amount_raw, owner, owner)
            return [OwnerCall(morpho, data, 0, says, sender)]
        case _Account(pool, _):
            data = interface("AavePool")["withdraw"].encode(one.token.address, one.amount_raw, owner)
            return [OwnerCall(pool, data, 0, says, sender)]
        case _Shares():
            data = interface("EulerVault")["withdraw"].encode(one.amount_raw, owner, source.account)
            return [_act(source, owner, data, says)]
        case _VTokens(market, _):
            data = interface("VToken")["redeemUnderlying"].encode(one.amount_raw)
            redeemed = OwnerCall(market, data, 0, says, sender)
            if sender is None:
                return [redeemed]
            sent = interface("ERC20")["transfer"].encode(owner, one.amount_raw)
            says = f"Sends {what} from that account's own wallet on to the owner's: Venus pays out to nobody else."
            return [redeemed, OwnerCall(one.token.address, sent, 0, says, sender)]


def _act(source: _Shares, owner: Address, data: bytes, says: str) -> OwnerCall:
    """By the sub-account; the owner itself needs no connector for that."""
    if source.account == owner:
        return OwnerCall(source.vault, data, 0, says)
    return OwnerCall(source.evc, interface("EVC")["call"].encode(source.vault, source.account, 0, data), 0, says)


def _in(destination: _Place, one: Return, owner: Address, taker: Subaccount, what: str) -> Sequence[OwnerCall]:
    match destination:
        case _Market(morpho, market):
            to, name = morpho, "Morpho"
            data = interface("Morpho")["supplyCollateral"].encode(market.params, one.amount_raw, owner, b"")
        case _Account(pool, _):
            to, name = pool, "Aave"
            data = interface("AavePool")["supply"].encode(one.token.address, one.amount_raw, taker.holder, 0)
        case _Shares(_, vault, account, _):
            to, name = vault, "a vault of Euler's"
            data = interface("EulerVault")["deposit"].encode(one.amount_raw, account)
        case _VTokens(market, _):
            to, name = market, "Venus"
            data = interface("VToken")["mintBehalf"].encode(taker.holder, one.amount_raw)
    approve = interface("ERC20")["approve"].encode(to, one.amount_raw)
    return [
        OwnerCall(
            one.token.address, approve, 0, f"Lets {name} take exactly {what} from the wallet, for the next step."
        ),
        OwnerCall(to, data, 0, f"Supplies {what} as collateral to {name_of(taker)}, which had given it to a rescue."),
    ]
