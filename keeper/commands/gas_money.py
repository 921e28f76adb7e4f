"""For how long the hot key's gas money lasts, counted as the alarm `gas_low` counts it."""

from dataclasses import dataclass

from keeper.commands.view import View
from keeper.core.coins import coin_text
from keeper.core.economics import USUAL_RESCUE_BYTES, USUAL_RESCUE_GAS
from keeper.core.fees import Market, rescues_affordable
from keeper.report import counted


@dataclass(frozen=True, slots=True)
class GasMoney:
    balance_wei: int
    rescues: int
    """That it lasts for at today's fees, a rollup's fee for the bytes included."""
    coin: str
    """What the chain's own coin is called."""

    def __str__(self) -> str:
        lasts = counted(self.rescues, "rescue")
        return (
            f"the hot key has {coin_text(self.balance_wei, self.coin)} left for gas, enough for {lasts} at today's fees"
        )


def gas_money(seen: View) -> GasMoney | None:
    """None without a hot key."""
    config = seen.session.config
    balance_wei, tip = seen.snapshot.keeper_balance_wei, config.fees.tip
    if balance_wei is None:
        return None
    # The next block's base fee is at most 12.5 % higher (EIP-1559).
    market = Market(-(-seen.snapshot.block.base_fee_wei * 9 // 8), tip, tip, seen.history.data_fee)
    rescues = rescues_affordable(market, balance_wei, USUAL_RESCUE_GAS, USUAL_RESCUE_BYTES)
    return GasMoney(balance_wei, rescues, config.chain.coin)
