"""What a crash did to each account, and what the keeper did about it: from blocks, logs and receipts of the fork."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from keeper.core.snapshot import Snapshot, Subaccount, SubaccountId, Token, Unknown
from keeper.core.units import INFINITE_HEALTH, WAD, Address, Wad
from scripts.localchain.abi import topic
from scripts.localchain.node import Node
from scripts.rehearsal.crash import Act
from scripts.rehearsal.liquidators import Liquidation

RESCUED = topic("Rescued(bytes32,uint16,uint256,uint256)")


@dataclass(slots=True)
class Loss:
    """What liquidators took from one account at one step."""

    step: int
    seized_raw: dict[Token, int] = field(default_factory=dict[Token, int])
    seized_usd: Wad | None = 0
    lost_usd: Wad | None = 0
    """Collateral seized less debt repaid, at the prices of the step; None where one has no price in USD."""


@dataclass(frozen=True, slots=True)
class AccountOutcome:
    """One account in one act. A health is None where the account could not be read."""

    id: SubaccountId
    label: str
    start: Wad | None
    lowest: Wad | None
    lowest_step: int
    end: Wad | None
    losses: tuple[Loss, ...]
    rescued_at: tuple[int, ...]
    """The steps at which the guard let a rescue of it take effect."""
    is_emptied: bool = False
    """Whether liquidators left neither debt nor collateral; its health in the end says nothing."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One act: every account with debt, and the keeper's costs."""

    accounts: tuple[AccountOutcome, ...]
    rescues: int
    transactions: int
    reverted: int
    gas_used: int
    gas_usd: Wad | None

    @property
    def liquidated(self) -> tuple[AccountOutcome, ...]:
        return tuple(account for account in self.accounts if account.losses)

    @property
    def lost_usd(self) -> Wad | None:
        """None as soon as a part of it has no price."""
        losses = [loss.lost_usd for account in self.accounts for loss in account.losses]
        known = [loss for loss in losses if loss is not None]
        return sum(known) if len(known) == len(losses) else None

    @property
    def first_liquidation(self) -> int | None:
        """The step."""
        return min((loss.step for account in self.accounts for loss in account.losses), default=None)


def measure(node: Node, act: Act, hot_key: Address, guard: Address) -> Outcome:
    """`act` is what was just played on this node."""
    first, last = act.start.block.number, act.end.block.number
    rescued = _rescues(node, act, guard)
    owing = [each for each in act.start.subaccounts if each.has_debt]
    hashes = [
        transaction["hash"]
        for number in range(first, last + 1)
        for transaction in node.request("eth_getBlockByNumber", hex(number), True)["transactions"]
        if transaction["from"].lower() == hot_key
    ]
    receipts = [receipt for receipt in map(node.receipt, hashes) if receipt is not None]
    wei = sum(receipt.gas_used * receipt.gas_price_wei for receipt in receipts)
    native = act.start.usd_per_native
    return Outcome(
        tuple(_account(act, each, rescued.get(each.id, ())) for each in owing),
        sum(map(len, rescued.values())),
        len(receipts),
        sum(not receipt.success for receipt in receipts),
        sum(receipt.gas_used for receipt in receipts),
        None if native is None else wei * native // WAD,
    )


def _rescues(node: Node, act: Act, guard: Address) -> dict[SubaccountId, tuple[int, ...]]:
    """By account: at which step each of its rescues took effect."""
    of_index = {each.guard_index: each.id for each in act.end.subaccounts}
    found: dict[SubaccountId, tuple[int, ...]] = {}
    for step in act.steps:
        for log in node.logs([guard], [RESCUED], step.fallen.block.number + 1, step.end.block.number):
            id = of_index[int(log["topics"][2], 16)]
            found[id] = (*found.get(id, ()), step.number)
    return found


def _account(act: Act, subaccount: Subaccount, rescued_at: Sequence[int]) -> AccountOutcome:
    id = subaccount.id
    seen = [(health_of(snapshot, id), step.number) for step in act.steps for snapshot in (step.fallen, step.end)]
    known = [(health, step) for health, step in seen if health is not None]
    lowest, lowest_step = min(known, default=(None, 0))
    losses = [
        _loss(step.number, step.fallen, mine)
        for step in act.steps
        if (mine := [one for one in step.liquidations if one.subaccount == str(id)])
    ]
    end = health_of(act.end, id)
    is_emptied = (
        bool(losses)
        and end == INFINITE_HEALTH
        and not any(line.amount_raw for line in act.end.subaccount(id).collateral)
    )
    return AccountOutcome(
        id,
        subaccount.label,
        health_of(act.start, id),
        lowest,
        lowest_step,
        end,
        tuple(losses),
        tuple(rescued_at),
        is_emptied,
    )


def _loss(step: int, snapshot: Snapshot, liquidations: Sequence[Liquidation]) -> Loss:
    loss = Loss(step)
    for one in liquidations:
        for token, raw in one.seized_raw.items():
            loss.seized_raw[token] = loss.seized_raw.get(token, 0) + raw
        subaccount = snapshot.subaccount(SubaccountId.parse(one.subaccount))
        seized, repaid = (_worth(snapshot, subaccount, part) for part in (one.seized_raw, one.repaid_raw))
        loss.seized_usd = None if loss.seized_usd is None or seized is None else loss.seized_usd + seized
        # What liquidators repay without getting it back is a loss of the lenders', and no gain of the wallet's.
        taken = None if seized is None or repaid is None else max(seized - repaid, 0)
        loss.lost_usd = None if loss.lost_usd is None or taken is None else loss.lost_usd + taken
    return loss


def _worth(snapshot: Snapshot, subaccount: Subaccount, amounts_raw: Mapping[Token, int]) -> Wad | None:
    parts = [usd(snapshot, subaccount, token, raw) for token, raw in amounts_raw.items()]
    known = [part for part in parts if part is not None]
    return sum(known) if len(known) == len(parts) else None


def health_of(snapshot: Snapshot, id: SubaccountId) -> Wad | None:
    """None where the account could not be read or is not there."""
    subaccount = next((each for each in snapshot.subaccounts if each.id == id), None)
    if subaccount is None or isinstance(subaccount.reading, Unknown):
        return None
    return subaccount.margin.risk().health_factor if subaccount.has_debt else INFINITE_HEALTH


def usd(snapshot: Snapshot, subaccount: Subaccount, token: Token, amount_raw: int) -> Wad | None:
    """WAD, at the snapshot's prices: by the token's own feed in USD, else through the account's unit; None without."""
    whole = snapshot.usd_per_unit.get(token.address)
    if whole is None and subaccount.unit is not None:
        of_unit = snapshot.usd_per_unit.get(subaccount.unit.address)
        parts = (*subaccount.collateral, *subaccount.debts)
        price = next((part.price for part in parts if part.token.address == token.address), None)
        whole = None if of_unit is None or price is None else price * of_unit // WAD
    return None if whole is None else whole * amount_raw // 10**token.decimals
