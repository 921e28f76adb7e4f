"""What the owner can do by hand for a subaccount that the keeper cannot help: whole transactions, ready to send.

While an oracle reverts, the health of whoever is priced by it cannot be computed by anybody: the guard lets nothing in,
because it checks what it did, and Morpho, Euler and Venus let nothing out. Supplying collateral is the exception: it
asks no oracle, so it works from the owner's own wallet, and the account is the safer for it when the oracle answers
again. Where a protocol lets anybody liquidate a debt whatever the account's health, only repaying it helps.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from keeper.core.amounts import amount_text
from keeper.core.plan import Plan
from keeper.core.snapshot import Snapshot, Subaccount, SubaccountId, Token
from keeper.core.snapshot import Unknown as UnknownReading
from keeper.core.units import Address
from keeper.core.verdict import Blocked, Unknown
from keeper.protocols.abi import interface
from keeper.protocols.euler.adapter import EulerV2
from keeper.protocols.morpho.adapter import Market, MorphoBlue
from keeper.protocols.portfolio import Portfolio
from keeper.protocols.venus.adapter import VenusPool
from keeper.protocols.venus.topology import Account as VenusAccount
from keeper.report import name_of

TOP_UP_SHARE = 10
"""When the wallet holds nothing of the collateral: a tenth more of what is in the account already, or was on Venus when
the keeper started."""
INTEREST_SHARE = 1_000
"""A debt is repaid whole with a thousandth more, for the interest until the transaction is included."""


@dataclass(frozen=True, slots=True)
class ByHand:
    """Transactions of the owner's own, in order."""

    subaccount: SubaccountId
    says: str
    """Why, and what they do, a sentence."""
    calls: Sequence[tuple[Address, bytes]]
    """Where each goes, and its calldata; none carries value."""

    def cast_lines(self, owner: Address) -> list[str]:
        return [f"cast send --rpc-url $ETH_RPC_URL --from {owner} {to} 0x{data.hex()}" for to, data in self.calls]


def by_hand(portfolio: Portfolio, snapshot: Snapshot, plan: Plan) -> list[ByHand]:
    """One for each subaccount with debt on Morpho, Euler or Venus that cannot be priced, or is liquidated by force."""
    ways: list[ByHand] = []
    for subaccount in snapshot.subaccounts:
        if subaccount.forced_liquidation is not None:
            ways.append(_repay(subaccount, _idle(snapshot)))
        is_lost = isinstance(subaccount.reading, UnknownReading) and subaccount.has_debt
        if is_lost and isinstance(plan.verdicts[subaccount.id], Unknown | Blocked):
            destination = _destination(portfolio, subaccount)
            if destination is not None:
                ways.append(_supply(destination, subaccount, _idle(snapshot)))
    return ways


@dataclass(frozen=True, slots=True)
class _Destination:
    """Where collateral can be supplied without anybody asking an oracle."""

    collateral: Token
    held_raw: int
    contract: Address
    supply: Callable[[int], bytes]
    """The calldata for a raw amount."""


def _destination(portfolio: Portfolio, subaccount: Subaccount) -> _Destination | None:
    owner = portfolio.topology.owner
    for adapter in portfolio.topology.adapters:
        match adapter:
            case MorphoBlue():
                for market in adapter.markets:
                    if market.subaccount == subaccount.id:
                        return _market(adapter.morpho, market, owner, subaccount)
            case EulerV2():
                if any(position.id == subaccount.id for position in adapter.topology.positions):
                    return _vault(subaccount)
            case VenusPool():
                account = adapter.account(subaccount.id)
                if account is not None:
                    return _pool_market(adapter, account)
            case _:
                pass
    return None


def _market(morpho: Address, market: Market, owner: Address, subaccount: Subaccount) -> _Destination:
    held = sum(line.amount_raw for line in subaccount.collateral)
    supply = interface("Morpho")["supplyCollateral"]
    return _Destination(market.collateral, held, morpho, lambda raw: supply.encode(market.params, raw, owner, b""))


def _vault(subaccount: Subaccount) -> _Destination | None:
    """Of what it holds the first: what is enabled as collateral stands before what is not. A vault asks nobody's health
    when something is put in (EVK Vault.deposit)."""
    line = next((line for line in subaccount.collateral if line.amount_raw and line.form is not None), None)
    if line is None or line.form is None:
        return None
    deposit = interface("EulerVault")["deposit"]
    return _Destination(line.token, line.amount_raw, line.form, lambda raw: deposit.encode(raw, subaccount.holder))


def _pool_market(adapter: VenusPool, account: VenusAccount) -> _Destination | None:
    """Of what backed it the first: it entered that market. A market asks for no price when something is minted
    (Comptroller.preMintHook), and anybody may mint for somebody else."""
    if not account.collateral:
        return None
    address, held_raw = account.collateral[0]
    token = next(market.token for market in adapter.pool.markets if market.address == address)
    mint = interface("VToken")["mintBehalf"]
    return _Destination(token, held_raw, address, lambda raw: mint.encode(account.address, raw))


def _idle(snapshot: Snapshot) -> Mapping[Address, int]:
    """What lies in the wallet, raw units by token."""
    return {
        line.token.address: line.amount_raw
        for each in snapshot.subaccounts
        if each.id.protocol == "wallet"
        for line in each.collateral
    }


def _repay(subaccount: Subaccount, idle: Mapping[Address, int]) -> ByHand:
    """On Venus, where a market takes no more than what is owed of it (VToken._repayBorrowFresh), from anybody."""
    calls: list[tuple[Address, bytes]] = []
    parts: list[str] = []
    for debt in subaccount.debts:
        if debt.is_forced and debt.form is not None:
            token, amount = debt.token, debt.amount_raw + debt.amount_raw // INTEREST_SHARE + 1
            held = amount_text(idle.get(token.address, 0), token)
            parts.append(f"{amount_text(amount, token, is_rounded_up=True)} (the wallet holds {held})")
            calls += [
                (token.address, interface("ERC20")["approve"].encode(debt.form, amount)),
                (debt.form, interface("VToken")["repayBorrowBehalf"].encode(subaccount.holder, amount)),
            ]
    says = (
        f"{name_of(subaccount)} can be liquidated by anybody, and no rescue ends that. Its owner can by hand: repay "
        f"{' and '.join(parts)}, interest until then included, with these transactions, or less."
    )
    return ByHand(subaccount.id, says, calls)


def _supply(into: _Destination, subaccount: Subaccount, idle: Mapping[Address, int]) -> ByHand:
    in_wallet = idle.get(into.collateral.address, 0)
    amount = in_wallet or max(into.held_raw // TOP_UP_SHARE, 1)
    whence = "which the wallet holds" if in_wallet else "once the wallet holds it"
    what = amount_text(amount, into.collateral)
    says = (
        f"{name_of(subaccount)} cannot be helped while its health cannot be read. Its owner can make it safer by hand, "
        f"which asks no oracle: supply {what} ({whence}) as collateral with these two transactions, or less."
    )
    approve = interface("ERC20")["approve"].encode(into.contract, amount)
    return ByHand(subaccount.id, says, ((into.collateral.address, approve), (into.contract, into.supply(amount))))
