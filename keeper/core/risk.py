"""How near each subaccount is to liquidation.

Collateral rounds down and debt rounds up, so we call a subaccount unhealthy slightly before its protocol does.
"""

from typing import NamedTuple

from keeper.core.units import BPS, INFINITE_HEALTH, WAD, Wad, mul_div_down


class Risk(NamedTuple):
    """The margin of one subaccount: two sides at two requirements, WAD in its unit of account.

    At the pinned block with no change the maintenance side equals the protocol's own arithmetic to the wei.
    """

    collateral_value: Wad
    """Collateral as the protocol counts it for liquidation: each asset times its liquidation LTV."""
    debt_value: Wad
    initial_collateral_value: Wad
    """Collateral as the protocol counts it when something is to leave."""
    initial_debt_value: Wad

    @property
    def health_factor(self) -> Wad:
        """Collateral over debt at maintenance, rounded down; `INFINITE_HEALTH` without debt. 1.0 is the line."""
        if self.debt_value == 0:
            return INFINITE_HEALTH
        return min(mul_div_down(self.collateral_value, WAD, self.debt_value), INFINITE_HEALTH)

    @property
    def is_liquidatable(self) -> bool:
        return self.debt_value > self.collateral_value

    @property
    def lets_collateral_leave(self) -> bool:
        """Whether the protocol's own check on a withdrawal holds (the stricter of its two requirements)."""
        return self.initial_debt_value <= self.initial_collateral_value

    @property
    def free_collateral(self) -> Wad:
        """Value that may leave before the maintenance requirement breaks; 0 when it is broken already."""
        return max(self.collateral_value - self.debt_value, 0)

    @property
    def initial_free_collateral(self) -> Wad:
        """Value that may leave before the protocol refuses; 0 when it refuses already."""
        return max(self.initial_collateral_value - self.initial_debt_value, 0)

    def is_at_least(self, health: Wad) -> bool:
        """Whether health is at or above a threshold, by cross-multiplication: no division decides."""
        return self.collateral_value * WAD >= self.debt_value * health


def survivable_fall(health: Wad) -> Wad:
    """The fall of all collateral prices that a health survives, WAD of the price, rounded down: 1 - 1 / health.

    0 at or below the liquidation line; WAD (the whole price) without debt.
    """
    if health >= INFINITE_HEALTH:
        return WAD
    if health <= WAD:
        return 0
    return WAD - -(-WAD * WAD // health)


def cushion(health: Wad, shock_bps: int) -> Wad:
    """How near to liquidation, comparable between price pairs: the fall survived over the pair's own shock, WAD.

    1.0 survives exactly its shock. `INFINITE_HEALTH` without debt.
    """
    if health >= INFINITE_HEALTH:
        return INFINITE_HEALTH
    return mul_div_down(survivable_fall(health), BPS, max(shock_bps, 1))


def health_at_cushion(cushion: Wad, shock_bps: int) -> Wad:
    """The least health whose cushion is at least this, rounded up; `INFINITE_HEALTH` when no finite one is.

    The inverse of `cushion`: a fall of `cushion` shocks is survived by a health of 1 / (1 - fall).
    """
    fall = -(-cushion * max(shock_bps, 1) // BPS)
    if fall >= WAD:
        return INFINITE_HEALTH
    return -(-WAD * WAD // (WAD - fall))
