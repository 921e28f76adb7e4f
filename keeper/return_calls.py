"""The owner's transactions that carry a return out: out of one account into the wallet, and from there into another.

Nothing here is for the hot key. Each says what it does and why; an approval is for exactly what the next one takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.core.policy import Policy
from keeper.core.returning import Return, Returning
from keeper.core.snapshot import Snapshot, Subaccount, Token
from keeper.core.units import Address
from keeper.protocols.aave.adapter import AaveV3
from keeper.protocols.abi import interface
from keeper.protocols.guard_setup import OwnerCall
from keeper.protocols.morpho.adapter import Market, MorphoBlue
from keeper.protocols.portfolio import Portfolio
from keeper.protocols.wallet import NAME as WALLET
from keeper.report import amount_text, health_text, name_of


@dataclass(frozen=True, slots=True)
class _Market:
    morpho: Address
    market: Market


@dataclass(frozen=True, slots=True)
class _Account:
    pool: Address
    a_token: Address


@dataclass(frozen=True, slots=True)
class _Wallet:
    pass


_Spot = _Market | _Account | _Wallet
"""Where a subaccount keeps a token."""


def return_calls(portfolio: Portfolio, snapshot: Snapshot, policy: Policy, returning: Returning) -> list[OwnerCall]:
    """In the order to send them; none for a protocol whose transactions are not known here."""
    calls: list[OwnerCall] = []
    for one in returning.returns:
        giver, taker = snapshot.subaccount(one.giver), snapshot.subaccount(one.taker)
        spots = _spot(portfolio, giver, one.token), _spot(portfolio, taker, one.token)
        calls += _calls(one, portfolio.topology.owner, giver, taker, spots, _why(one, giver, policy))
    return calls


def _why(one: Return, giver: Subaccount, policy: Policy) -> str:
    """Why that much may go."""
    spares = "it owes nothing"
    if giver.has_debt:
        after = health_text(giver.margin.risk({one.token.address: -one.amount_raw}).health_factor)
        floor = health_text(policy.subaccounts[giver.id].thresholds.floor)
        spares = f"without it it is at {after}, its floor being {floor}"
    return f"a rescue had brought it there, and {spares}"


def _spot(portfolio: Portfolio, subaccount: Subaccount, token: Token) -> _Spot | None:
    for adapter in portfolio.topology.adapters:
        match adapter:
            case MorphoBlue():
                for market in adapter.markets:
                    if market.subaccount == subaccount.id:
                        return _Market(adapter.morpho, market)
            case AaveV3():
                if any(subaccount.id == enrolment.subaccount for enrolment in adapter.enrolments()):
                    return _Account(adapter.pool.address, adapter.a_tokens()[token.address].address)
            case _:
                pass
    return _Wallet() if subaccount.id.protocol == WALLET else None


def _calls(
    one: Return,
    owner: Address,
    giver: Subaccount,
    taker: Subaccount,
    spots: tuple[_Spot | None, _Spot | None],
    why: str,
) -> Sequence[OwnerCall]:
    what = amount_text(one.amount_raw, one.token)
    sender = None if giver.holder == owner else giver.holder
    match spots:
        case (_Account(pool, a_token), _Account(other_pool, _)) if pool == other_pool:
            says = f"Moves {what} within Aave from {name_of(giver)} to {name_of(taker)}, which had given it: {why}."
            data = interface("ERC20")["transfer"].encode(taker.holder, one.amount_raw)
            return [OwnerCall(a_token, data, 0, says, sender)]
        case (_Market() | _Account() as source, _Wallet()):
            says = f"Takes {what} out of {name_of(giver)} into the wallet, which had given it: {why}."
            return [_out(source, one, owner, says, sender)]
        case (_Market() | _Account() as source, _Market() | _Account() as destination):
            says = f"Takes {what} out of {name_of(giver)} into the wallet, for {name_of(taker)}: {why}."
            return [_out(source, one, owner, says, sender), *_in(destination, one, owner, taker, what)]
        case _:
            # Into a wallet nothing is ever moved, so nothing has to come back from there.
            return []


def by_hand_sentences(portfolio: Portfolio, snapshot: Snapshot, returning: Returning) -> list[str]:
    """What should go back and for which `return_calls` has no transactions."""
    says: list[str] = []
    for one in returning.returns:
        giver, taker = snapshot.subaccount(one.giver), snapshot.subaccount(one.taker)
        if None in (_spot(portfolio, giver, one.token), _spot(portfolio, taker, one.token)):
            what = amount_text(one.amount_raw, one.token)
            says.append(
                f"{what} of {name_of(giver)} would go back to {name_of(taker)}: move it in the protocol's own app"
            )
    return says


def _out(source: _Market | _Account, one: Return, owner: Address, says: str, sender: Address | None) -> OwnerCall:
    match source:
        case _Market(morpho, market):
            data = interface("Morpho")["withdrawCollateral"].encode(market.params, one.amount_raw, owner, owner)
            return OwnerCall(morpho, data, 0, says, sender)
        case _Account(pool, _):
            data = interface("AavePool")["withdraw"].encode(one.token.address, one.amount_raw, owner)
            return OwnerCall(pool, data, 0, says, sender)


def _in(
    destination: _Market | _Account, one: Return, owner: Address, taker: Subaccount, what: str
) -> Sequence[OwnerCall]:
    match destination:
        case _Market(morpho, market):
            to, name = morpho, "Morpho"
            data = interface("Morpho")["supplyCollateral"].encode(market.params, one.amount_raw, owner, b"")
        case _Account(pool, _):
            to, name = pool, "Aave"
            data = interface("AavePool")["supply"].encode(one.token.address, one.amount_raw, taker.holder, 0)
    approve = interface("ERC20")["approve"].encode(to, one.amount_raw)
    return [
        OwnerCall(
            one.token.address, approve, 0, f"Lets {name} take exactly {what} from the wallet, for the next step."
        ),
        OwnerCall(to, data, 0, f"Supplies {what} as collateral to {name_of(taker)}, which had given it to a rescue."),
    ]
