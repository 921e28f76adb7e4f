"""What a crash did to both wallets and what the keeper did about it, all of it from the chain's blocks and logs.

Money is USD in WAD until the very end; `to_json` rounds to cents and four digits of health, and nothing is assumed.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scripts.localchain import world
from scripts.localchain.events import Event, Liquidation, Rescue, RescueFailure
from scripts.localchain.node import Node
from scripts.localchain.observe import NO_DEBT, Observation
from scripts.localchain.world import KEEPER, WAD

COLLATERAL_TOKENS = ("WETH", "WBTC", "wstETH")
"""What the wallets own; what they borrowed they have spent."""


@dataclass(frozen=True, slots=True)
class WalletResult:
    liquidations: int
    seized_raw: dict[str, int]
    loss_usd: int
    """Collateral seized minus debt repaid, each at the price of its block."""
    equity_before_usd: int
    equity_after_usd: int
    lowest_health: int
    """Of all accounts at all block ends."""
    lowest_health_account: str
    block_ends_liquidatable: int
    collateral_missing_raw: dict[str, int]
    """Collateral, idle tokens and the guard's balance before, minus the same after and what was seized: 0 when kept."""


@dataclass(frozen=True, slots=True)
class RescueResult:
    """One rescue against the owner's limits, at the end of the block that included it."""

    rescue: Rescue
    blocks_to_inclusion: int
    """From the first block end below the trigger to the block of the rescue."""
    donors_with_debt: tuple[str, ...]
    donors_below_floor: tuple[str, ...]
    donors_below_last_stand: tuple[str, ...]
    """Below the hard floor, or nearer to liquidation than the account that was saved."""


@dataclass(frozen=True, slots=True)
class KeeperResult:
    transactions: int
    transactions_reverted: int
    gas_used: int
    gas_cost_usd: int
    rescues: tuple[RescueResult, ...]
    rescues_failed: int


def measure_wallet(
    holder: str, guard: str | None, observations: Sequence[Observation], events: Sequence[Event]
) -> WalletResult:
    """`observations` are consecutive block ends, the first one from before the crash."""
    first, last = observations[0], observations[-1]
    at = {observation.block: observation for observation in observations}
    liquidations = [event for event in events if isinstance(event, Liquidation) and event.borrower == holder.lower()]
    seized: dict[str, int] = dict.fromkeys(COLLATERAL_TOKENS, 0)
    loss = 0
    for event in liquidations:
        spec = world.market(event.market)
        seized[spec.collateral] += event.seized_raw
        seen = at[event.block]
        # Bad debt is a loss of the lenders, not of the wallet.
        loss += seen.usd(spec.collateral, event.seized_raw) - seen.usd(spec.loan, event.repaid_raw)
    lowest, account = min(
        (position.health, name) for seen in observations for name, position in seen.positions[holder].items()
    )
    return WalletResult(
        liquidations=len(liquidations),
        seized_raw=seized,
        loss_usd=loss,
        equity_before_usd=first.equity_usd(holder, COLLATERAL_TOKENS),
        equity_after_usd=last.equity_usd(holder, COLLATERAL_TOKENS),
        lowest_health=lowest,
        lowest_health_account=account,
        block_ends_liquidatable=sum(
            any(position.is_liquidatable for position in seen.positions[holder].values()) for seen in observations
        ),
        collateral_missing_raw={
            symbol: _held(first, holder, guard, symbol) - _held(last, holder, guard, symbol) - seized[symbol]
            for symbol in COLLATERAL_TOKENS
        },
    )


def _held(seen: Observation, holder: str, guard: str | None, symbol: str) -> int:
    backing = sum(
        position.collateral_raw
        for name, position in seen.positions[holder].items()
        if world.market(name).collateral == symbol
    )
    return backing + seen.idle_raw[holder][symbol] + (seen.idle_raw[guard][symbol] if guard else 0)


def measure_keeper(
    node: Node, holder: str, observations: Sequence[Observation], events: Sequence[Event]
) -> KeeperResult:
    """The keeper's transactions in these blocks, and each rescue of `holder` against the limits of its accounts."""
    gas_used = cost = transactions = reverted = 0
    for seen in observations[1:]:
        for transaction in node.request("eth_getBlockByNumber", hex(seen.block), True)["transactions"]:
            if transaction["from"] != KEEPER.address.lower():
                continue
            receipt = node.receipt(transaction["hash"])
            assert receipt is not None
            transactions += 1
            reverted += not receipt.success
            gas_used += receipt.gas_used
            cost += seen.usd("WETH", receipt.gas_used * receipt.gas_price_wei)
    return KeeperResult(
        transactions=transactions,
        transactions_reverted=reverted,
        gas_used=gas_used,
        gas_cost_usd=cost,
        rescues=tuple(_judge(event, holder, observations) for event in events if isinstance(event, Rescue)),
        rescues_failed=sum(isinstance(event, RescueFailure) for event in events),
    )


def _judge(rescue: Rescue, holder: str, observations: Sequence[Observation]) -> RescueResult:
    at = {observation.block: observation for observation in observations}
    accounts = at[rescue.block].positions[holder]
    donors = sorted({move.donor for move in rescue.moves} - {"wallet"})
    with_debt = tuple(name for name in donors if accounts[name].debt_raw)
    below_floor = tuple(name for name in with_debt if accounts[name].health < world.wad(world.limits(name).floor))
    saved = _cushion_ppm(rescue.recipient, accounts[rescue.recipient].health)
    below_last_stand = tuple(
        name
        for name in below_floor
        if accounts[name].health < world.wad(world.limits(name).hard_floor)
        or _cushion_ppm(name, accounts[name].health) < saved
    )
    return RescueResult(rescue, _waited(rescue, holder, at), with_debt, below_floor, below_last_stand)


def _cushion_ppm(account: str, health: int) -> int:
    """The price fall that an account survives over its own shock, in millionths: the owner's measure of nearness."""
    survives = 10**6 - -(-(10**6) * WAD // health) if health > WAD else 0
    return survives * 100 // int(world.limits(account).shock.removesuffix("%"))


def _waited(rescue: Rescue, holder: str, at: dict[int, Observation]) -> int:
    trigger = world.wad(world.limits(rescue.recipient).trigger)
    first = rescue.block
    while first - 1 in at and at[first - 1].positions[holder][rescue.recipient].health < trigger:
        first -= 1
    return rescue.block - first


# As JSON --------------------------------------------------------------------------------------------------------------


def wallet_json(result: WalletResult) -> dict[str, Any]:
    return {
        "liquidations": result.liquidations,
        "collateral_seized": {symbol: _decimal(raw, symbol) for symbol, raw in result.seized_raw.items() if raw},
        "loss_usd": _cents(result.loss_usd),
        "equity_before_usd": _cents(result.equity_before_usd),
        "equity_after_usd": _cents(result.equity_after_usd),
        "lowest_health_at_block_end": _health(result.lowest_health),
        "lowest_health_account": result.lowest_health_account,
        "block_ends_liquidatable": result.block_ends_liquidatable,
        "collateral_missing_raw": result.collateral_missing_raw,
    }


def keeper_json(result: KeeperResult, protected: WalletResult) -> dict[str, Any]:
    waits = [judged.blocks_to_inclusion for judged in result.rescues]
    return {
        "transactions": result.transactions,
        "transactions_reverted": result.transactions_reverted,
        "gas_used": result.gas_used,
        "gas_cost_usd": _cents(result.gas_cost_usd),
        "rescues": len(result.rescues),
        "rescues_failed": result.rescues_failed,
        "rescues_from_donors_with_debt": sum(bool(judged.donors_with_debt) for judged in result.rescues),
        "donors_left_below_floor": sum(len(judged.donors_below_floor) for judged in result.rescues),
        "donors_left_below_last_stand": sum(len(judged.donors_below_last_stand) for judged in result.rescues),
        "lowest_health_at_block_end": _health(protected.lowest_health),
        "blocks_to_inclusion": {
            "median": float(statistics.median(waits)) if waits else None,
            "max": max(waits) if waits else None,
        },
    }


def _cents(usd: int) -> float:
    return round(usd / WAD, 2)


def _health(health: int) -> float | None:
    return None if health >= NO_DEBT else round(health / WAD, 4)


def _decimal(raw: int, symbol: str) -> float:
    return raw / 10 ** world.token(symbol).decimals
