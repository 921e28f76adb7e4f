"""The margin of one account in an isolated pool of Venus: several collaterals and debts, in its comptroller's rounding.

An account holds vTokens, and whole ones move. Maintenance counts them at the liquidation thresholds, initial at the
collateral factors. Every formula is that of isolated-pools 4.4.0, which floors each product.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from keeper.core.risk import Risk
from keeper.core.snapshot import NOTHING, NOW, Horizon
from keeper.core.units import BPS, WAD, YEAR_SECONDS, Address, Wad, mul_div_down, mul_div_up

GRAINS_MIN = 100_000
"""VenusPools.GRAINS_MIN, contracts/src/protocols: the guard moves no fewer of a market's smallest parts at once."""


@dataclass(frozen=True, slots=True)
class Holding:
    """One market as one account uses it."""

    token: Address
    """The underlying."""
    tokens: int
    """vTokens, of 8 decimals mostly."""
    exchange_rate: Wad
    """Raw units of the underlying for each of the smallest parts of a vToken."""
    owed_raw: int
    borrow_rate: Wad
    """For each slot, the last one seen; a slot is a second or a block, as the market counts."""
    slots_per_year: int
    price: int
    """USD for each raw unit, WAD of WAD."""
    collateral_factor: Wad
    threshold: Wad
    """Of liquidation."""
    is_entered: bool
    """Whether the account entered the market: what lies in another one backs nothing, and leaves unasked."""

    @property
    def held_raw(self) -> int:
        """VToken.balanceOfUnderlying."""
        return self.worth_raw(self.tokens)

    @property
    def grain_raw(self) -> int:
        """What the smallest part of a vToken is worth, rounded up."""
        return self.exchange_rate // WAD + 1

    def worth_raw(self, tokens: int) -> int:
        return self.exchange_rate * tokens // WAD

    def tokens_up(self, amount_raw: int) -> int:
        """VenusPools._tokensFor: what the guard takes for an amount."""
        return mul_div_up(amount_raw, WAD, self.exchange_rate)

    def tokens_down(self, amount_raw: int) -> int:
        """VToken._mintFresh; a transfer brings up to one more."""
        return amount_raw * WAD // self.exchange_rate

    def owed_at(self, horizon: Horizon) -> int:
        """Its debt in raw units with interest until the horizon."""
        if not self.owed_raw or not horizon.seconds:
            return self.owed_raw
        return _grown(self.owed_raw, self.borrow_rate, self.slots_per_year, horizon)


@lru_cache(maxsize=1024)
def _grown(owed_raw: int, rate: Wad, slots_per_year: int, horizon: Horizon) -> int:
    """VToken.accrueInterest: simple interest, in one step. What is owed was rounded down by less than one."""
    slots = horizon.seconds
    if slots_per_year != YEAR_SECONDS:  # blocks, of which one more may come than the time is for
        slots = mul_div_up(horizon.seconds, slots_per_year, YEAR_SECONDS) + 1
    growth = rate * slots + mul_div_up(horizon.rate_margin, horizon.seconds, YEAR_SECONDS)
    return mul_div_up(owed_raw + 1, WAD + growth, WAD)


@dataclass(frozen=True, slots=True)
class VenusMargin:
    """One account at the pinned block, interest accrued."""

    holdings: tuple[Holding, ...]

    def risk(
        self,
        deltas: Mapping[Address, int] = NOTHING,
        horizon: Horizon = NOW,
        falls_bps: Mapping[Address, int] = NOTHING,
        repaid: Mapping[Address, int] = NOTHING,
    ) -> Risk:
        """See `Margin.risk`; Comptroller._getHypotheticalLiquiditySnapshot.

        What is to leave stands on the side of the debt there, at the collateral factors, and so it does here. Interest
        on collateral is not counted ahead.

        Raises ValueError when more leaves than there is or more is repaid than is owed, or for an unknown token.
        """
        self._require_known(deltas)
        self._require_known(repaid)
        collateral = initial = leaving = debt = 0
        is_asked = not deltas or any(one.is_entered and deltas.get(one.token, 0) < 0 for one in self.holdings)
        for one in self.holdings:
            gone, arrived = _moved(one, deltas.get(one.token, 0))
            owed = _owed_after(one, horizon, repaid.get(one.token, 0))
            if not one.is_entered:
                continue
            fall = falls_bps.get(one.token, 0)
            price = one.exchange_rate * mul_div_down(one.price, BPS - fall, BPS) // WAD
            collateral += one.threshold * price // WAD * (one.tokens + arrived - gone) // WAD
            weighted = one.collateral_factor * price // WAD
            initial += weighted * (one.tokens + arrived) // WAD
            leaving += weighted * gone // WAD
            debt += mul_div_up(one.price, BPS - fall, BPS) * owed // WAD
        if any(delta < 0 for delta in deltas.values()) and not is_asked:
            initial = max(initial, debt + leaving)
        return Risk(collateral, debt, initial, debt + leaving)

    def liquidity(self) -> tuple[int, int]:
        """What `Comptroller.getAccountLiquidity` must answer at the pinned block: what is left, and what is missing."""
        risk = self.risk()
        left = risk.collateral_value - risk.debt_value
        return max(left, 0), max(-left, 0)

    @property
    def total_value(self) -> Wad:
        """All that is collateral, not weighted: what `minLiquidatableCollateral` is compared with."""
        return sum(one.exchange_rate * one.price // WAD * one.tokens // WAD for one in self.holdings if one.is_entered)

    def _require_known(self, changes: Mapping[Address, int]) -> None:
        unknown = changes and changes.keys() - {one.token for one in self.holdings}
        if unknown:
            raise ValueError(f"this account has nothing to do with {', '.join(sorted(unknown))}")


def _moved(one: Holding, delta_raw: int) -> tuple[int, int]:
    """vTokens that leave, and that arrive."""
    if delta_raw >= 0:
        return 0, one.tokens_down(delta_raw)
    gone = one.tokens_up(-delta_raw)
    if gone > one.tokens:
        raise ValueError(f"{gone - one.tokens} vTokens more than there are of {one.token} cannot leave")
    return gone, 0


def _owed_after(one: Holding, horizon: Horizon, repaid_raw: int) -> int:
    owed = one.owed_at(horizon)
    if repaid_raw > owed:
        raise ValueError(f"{repaid_raw - owed} raw units of {one.token} more than is owed cannot be repaid")
    return owed - repaid_raw
