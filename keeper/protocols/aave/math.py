"""The margin of one Aave account: several collaterals and debts against one line, in the pool's own rounding.

The pool lets an account with debt give collateral that it uses as long as its health stays at 1 or above, so
maintenance and initial are the same, with two exceptions: while a collateral with an LTV of 0 is in use only such ones
may leave, and an asset that is not in use as collateral may leave whatever the health is.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from keeper.core.risk import Risk
from keeper.core.snapshot import NOTHING, NOW, Horizon
from keeper.core.units import BPS, WAD, YEAR_SECONDS, Address, Wad, mul_div_down, mul_div_up
from keeper.protocols.aave.versions import RAY, VERSIONS, Ray, Version

UINT256_MAX = 2**256 - 1
RAY_PER_WAD = RAY // WAD


GROWTH_MIN = 2**8 - 1
"""AaveV3._count, contracts/src/protocols: the guard switches on what is more than was there before it. Of the eight
transfers that a rescue has at most, none is only if each at most doubles what is there."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One reserve as one account uses it: what it supplied and what it owes, in scaled units."""

    token: Address
    unit_raw: int
    """10^decimals of the token."""
    price: int
    """Base units per whole token; 0 where it is not needed and not readable."""
    supplied_scaled: int
    income_index: Ray
    """Normalized income at the pinned block."""
    owed_scaled: int
    debt_index: Ray
    """Normalized variable debt at the pinned block."""
    borrow_rate: Ray
    """A year, the last one seen."""
    threshold_bps: int
    """Liquidation threshold, of the account's e-mode where the reserve is in it."""
    is_in_use: bool
    """Whether the account uses it as collateral; what it does not use does not count."""
    is_used_on_arrival: bool
    """Whether it counts as soon as some of it arrived, or, beside dust, enough (`GROWTH_MIN`)."""
    blocks_others: bool
    """Whether its LTV is 0, so that in use it must leave before others may."""


@dataclass(frozen=True, slots=True)
class AaveMargin:
    """One account at the pinned block."""

    revision: int
    value_scale: int
    """From base units to WAD, exact."""
    holdings: tuple[Holding, ...]

    @property
    def version(self) -> Version:
        return VERSIONS[self.revision]

    def risk(
        self,
        deltas: Mapping[Address, int] = NOTHING,
        horizon: Horizon = NOW,
        falls_bps: Mapping[Address, int] = NOTHING,
        repaid: Mapping[Address, int] = NOTHING,
    ) -> Risk:
        """See `Margin.risk`; without changes its health is `Pool.getUserAccountData`'s to the wei.

        Of a debt below one unit of account it is at most one wei less: WAD is too coarse for more. What arrives is
        rounded as a supply is. Interest on collateral is not counted ahead.

        Raises ValueError when more leaves than there is or more is repaid than is owed, or for an unknown token.
        """
        after = self._after(deltas)
        counted_bps = self._counted_bps(after, falls_bps)
        debt = self._debt(horizon, falls_bps, repaid)
        debt_value, counted_value = debt * self.value_scale, counted_bps * self.value_scale // BPS
        if debt_value >= WAD:
            # The pool rounds half up: as little more as shows the same health.
            health = self.version.health(counted_bps, debt)
            counted_value = max(counted_value, mul_div_up(health, debt_value, WAD))
        leaving = [one for one in self.holdings if deltas.get(one.token, 0) < 0] if deltas else []
        checked = [one for one in leaving if one.is_in_use]
        may_leave = counted_value
        if leaving and not checked:
            may_leave = max(counted_value, debt_value)
        elif self._must_others_leave_first(checked, after):
            may_leave = 0
        return Risk(counted_value, debt_value, may_leave, debt_value)

    def pool_health(self) -> int:
        """What `Pool.getUserAccountData` must answer as health factor at the pinned block."""
        debt = self._debt(NOW, NOTHING, NOTHING)
        return self.version.health(self._counted_bps(self._after(NOTHING), NOTHING), debt) if debt else UINT256_MAX

    def held_raw(self, holding: Holding) -> int:
        return self.version.held_raw(holding.supplied_scaled, holding.income_index)

    def owed_raw(self, holding: Holding, horizon: Horizon = NOW) -> int:
        """Its debt in raw units with interest until the horizon."""
        return self.version.owed_raw(holding.owed_scaled, _index_at(holding.debt_index, holding.borrow_rate, horizon))

    def _after(self, deltas: Mapping[Address, int]) -> list[tuple[Holding, int]]:
        """What is in use as collateral after the changes, with its scaled amount."""
        self._require_known(deltas)
        version = self.version
        used: list[tuple[Holding, int]] = []
        for one in self.holdings:
            scaled, delta, is_in_use = one.supplied_scaled, deltas.get(one.token, 0), one.is_in_use
            if delta < 0:
                held = self.held_raw(one)
                if -delta > held:
                    raise ValueError(f"{-delta - held} raw units of {one.token} more than there are cannot leave")
                # SupplyLogic.executeFinalizeTransfer, executeWithdraw: without a balance it is in use no longer.
                scaled = 0 if -delta == held else scaled - version.leaving_scaled(-delta, one.income_index)
                is_in_use = is_in_use and scaled > 0
            elif delta > 0:
                scaled += version.arriving_scaled(delta, one.income_index)
                is_in_use = is_in_use or (one.is_used_on_arrival and delta > GROWTH_MIN * self.held_raw(one))
            if is_in_use:
                used.append((one, scaled))
        return used

    def _require_known(self, changes: Mapping[Address, int]) -> None:
        unknown = changes and changes.keys() - {one.token for one in self.holdings}
        if unknown:
            raise ValueError(f"this account has nothing to do with {', '.join(sorted(unknown))}")

    def _counted_bps(self, used: list[tuple[Holding, int]], falls_bps: Mapping[Address, int]) -> int:
        # GenericLogic.calculateUserAccountData; v3.0 leaves out what has no threshold, where v3.6 counts zero for it.
        version = self.version
        total = weighted_bps = 0
        for one, scaled in used:
            if one.threshold_bps:
                price = mul_div_down(one.price, BPS - falls_bps.get(one.token, 0), BPS)
                value = version.held_raw(scaled, one.income_index) * price // one.unit_raw
                total += value
                weighted_bps += value * one.threshold_bps
        return version.counted_bps(total, weighted_bps)

    def _debt(self, horizon: Horizon, falls_bps: Mapping[Address, int], repaid: Mapping[Address, int]) -> int:
        """In base units."""
        self._require_known(repaid)
        version, debt = self.version, 0
        for one in self.holdings:
            scaled, paid = one.owed_scaled, repaid.get(one.token, 0)
            if scaled or paid:
                index = _index_at(one.debt_index, one.borrow_rate, horizon)
                owed = version.owed_raw(scaled, index)
                if paid > owed:
                    raise ValueError(f"{paid - owed} raw units of {one.token} more than is owed cannot be repaid")
                if paid:  # BorrowLogic.executeRepay
                    owed = 0 if paid == owed else version.owed_raw(scaled - version.repaid_scaled(paid, index), index)
                price = mul_div_up(one.price, BPS - falls_bps.get(one.token, 0), BPS)
                debt += version.debt_value(owed, price, one.unit_raw)
        return debt

    def _must_others_leave_first(self, checked: list[Holding], after: list[tuple[Holding, int]]) -> bool:
        # ValidationLogic.validateHFAndLtvzero (3.6), validateHFAndLtv (3.0); whoever owes nothing is not asked.
        if not any(one.blocks_others for one, _ in after) or not any(one.owed_scaled for one in self.holdings):
            return False
        return any(not one.blocks_others for one in checked)


@lru_cache(maxsize=1024)
def _index_at(index: Ray, rate: Ray, horizon: Horizon) -> Ray:
    """The debt index at the horizon; kept, because a plan asks for each account with ten different amounts."""
    if not horizon.seconds:
        return index
    # The pool accrues from its last update on, in one step; two steps one after the other add at least as much. Its
    # index at the pinned block may have been rounded down by half a unit.
    growth = compounded_up(rate + horizon.rate_margin * RAY_PER_WAD, horizon.seconds)
    return mul_div_up(index + 1, growth, RAY)


def compounded_up(rate: Ray, seconds: int) -> Ray:
    """MathUtils.calculateCompoundedInterest with every term rounded up: 1 + x + x^2/2 + x^3/6, `rate` a year."""
    first = mul_div_up(rate, seconds, YEAR_SECONDS)
    second = mul_div_up(first, first, 2 * RAY)
    third = mul_div_up(second, first, 3 * RAY)
    return RAY + first + second + third


def linear_weight(holding: Holding, value_scale: int) -> Wad:
    """What counts of one raw unit, WAD in the unit of account times WAD, rounded down; 0 while it does not count."""
    if not (holding.is_in_use or holding.is_used_on_arrival):
        return 0
    return holding.price * value_scale * holding.threshold_bps * WAD // (holding.unit_raw * BPS)
