"""What the owner can do by hand for a subaccount that the keeper cannot help: whole transactions, ready to send.

While a market's oracle reverts, its health cannot be computed by anybody: the guard lets nothing in, because it checks
what it did, and Morpho lets nothing out. Supplying collateral is the exception: it asks no oracle, so it works from the
owner's own wallet, and the account is the safer for it when the oracle answers again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keeper.core.plan import Plan
from keeper.core.snapshot import Snapshot, Subaccount, SubaccountId
from keeper.core.snapshot import Unknown as UnknownReading
from keeper.core.units import Address
from keeper.core.verdict import Blocked, Unknown
from keeper.protocols.abi import interface
from keeper.protocols.morpho.adapter import Market, MorphoBlue
from keeper.protocols.portfolio import Portfolio
from keeper.report import amount_text, name_of

TOP_UP_SHARE = 10
"""When the wallet holds nothing of the collateral: a tenth more of what is in the account already."""


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
    """One for each subaccount with debt in a Morpho market that cannot be priced."""
    markets = {
        market.subaccount: (adapter.morpho, market)
        for adapter in portfolio.topology.adapters
        if isinstance(adapter, MorphoBlue)
        for market in adapter.markets
    }
    return [
        _supply(*markets[subaccount.id], subaccount, portfolio.topology.owner, _idle(snapshot))
        for subaccount in snapshot.subaccounts
        if subaccount.id in markets
        and subaccount.has_debt
        and isinstance(subaccount.reading, UnknownReading)
        and isinstance(plan.verdicts[subaccount.id], Unknown | Blocked)
    ]


def _idle(snapshot: Snapshot) -> Mapping[Address, int]:
    """What lies in the wallet, raw units by token."""
    return {
        line.token.address: line.amount_raw
        for each in snapshot.subaccounts
        if each.id.protocol == "wallet"
        for line in each.collateral
    }


def _supply(
    morpho: Address, market: Market, subaccount: Subaccount, owner: Address, idle: Mapping[Address, int]
) -> ByHand:
    held = sum(line.amount_raw for line in subaccount.collateral)
    in_wallet = idle.get(market.collateral.address, 0)
    amount = in_wallet or max(held // TOP_UP_SHARE, 1)
    whence = "which the wallet holds" if in_wallet else "once the wallet holds it"
    what = amount_text(amount, market.collateral)
    says = (
        f"{name_of(subaccount)} cannot be helped while its health cannot be read. Its owner can make it safer by hand, "
        f"which asks no oracle: supply {what} ({whence}) as collateral with these two transactions, or less."
    )
    approve = interface("ERC20")["approve"].encode(morpho, amount)
    supply = interface("Morpho")["supplyCollateral"].encode(market.params, amount, owner, b"")
    return ByHand(subaccount.id, says, ((market.collateral.address, approve), (morpho, supply)))
