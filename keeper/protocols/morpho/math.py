"""Morpho Blue's arithmetic: one position's margin, interest, and what a liquidation takes.

Every formula is the contract's own, with its rounding (morpho-blue 1.0.0: Morpho.sol, SharesMathLib, MathLib).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from keeper.core.risk import Risk
from keeper.core.snapshot import NOTHING, NOW, Horizon
from keeper.core.units import BPS, WAD, YEAR_SECONDS, Address, Wad, mul_div_down, mul_div_up

# ConstantsLib and SharesMathLib, morpho-blue 1.0.0.
ORACLE_PRICE_SCALE = 10**36
LIQUIDATION_CURSOR = 3 * WAD // 10
MAX_LIQUIDATION_INCENTIVE_FACTOR = 115 * WAD // 100
VIRTUAL_ASSETS = 1
VIRTUAL_SHARES = 10**6


@dataclass(frozen=True, slots=True)
class MorphoMargin:
    """One position in one market, in raw units as the contract keeps them."""

    collateral_token: Address
    loan_token: Address
    collateral_raw: int
    borrow_shares: int
    total_borrow_assets: int
    """Accrued to the pinned block."""
    total_borrow_shares: int
    price: int
    """`oracle.price()`: loan per collateral in raw units, scaled by 1e36. 0 when it was not needed and not readable."""
    lltv: Wad
    value_scale: int
    """10^(18 - decimals of the loan token): from its raw units to WAD, exact."""
    rate: Wad
    """Interest per second that the pinned block's accrual showed, rounded up."""

    def risk(
        self,
        deltas: Mapping[Address, int] = NOTHING,
        horizon: Horizon = NOW,
        falls_bps: Mapping[Address, int] = NOTHING,
        repaid: Mapping[Address, int] = NOTHING,
    ) -> Risk:
        """See `Margin.risk`; at the pinned block without changes to the wei what Morpho._isHealthy compares.

        Raises ValueError when a delta takes out more than there is, or is of a token that this market does not take.
        """
        if repaid and any(token != self.loan_token for token in repaid):
            raise ValueError(f"this market's loans are of {self.loan_token} only")
        collateral, price = self.collateral_raw, self.price
        for token, delta in deltas.items():
            if token != self.collateral_token:
                raise ValueError(f"this market takes {self.collateral_token} as collateral, not {token}")
            collateral += delta
        if collateral < 0:
            raise ValueError(f"{-collateral} raw units more than there are cannot leave")
        if falls_bps:
            price = mul_div_down(price, BPS - falls_bps.get(self.collateral_token, 0), BPS)
        # Morpho._isHealthy, morpho-blue 1.0.0: mulDivDown by the price, then wMulDown by the LLTV, each floored.
        max_borrow = collateral * price // ORACLE_PRICE_SCALE * self.lltv // WAD
        borrowed = self.borrowed_raw(horizon, repaid.get(self.loan_token, 0)) if self.borrow_shares else 0
        counted, owed = max_borrow * self.value_scale, borrowed * self.value_scale
        return Risk(counted, owed, counted, owed)

    def borrowed_raw(self, horizon: Horizon = NOW, repaid_raw: int = 0) -> int:
        """The debt in raw units of the loan token, rounded up, with interest until the horizon, less what is repaid."""
        totals = self.total_borrow_assets, self.total_borrow_shares
        return _owed_raw(self.borrow_shares, *totals, self.rate, horizon, repaid_raw)


@lru_cache(maxsize=1024)
def _owed_raw(
    borrow_shares: int, total_assets: int, total_shares: int, rate: Wad, horizon: Horizon, repaid_raw: int
) -> int:
    """Kept, because a plan asks for the margin of each account with ten different amounts of collateral."""
    if horizon.seconds:
        rate += mul_div_up(horizon.rate_margin, 1, YEAR_SECONDS)
        total_assets += mul_div_up(total_assets, taylor_compounded_up(rate, horizon.seconds), WAD)
    if repaid_raw:
        # Morpho.repay, by SharesMathLib.toSharesDown; the totals' assets stop at zero.
        shares = mul_div_down(repaid_raw, total_shares + VIRTUAL_SHARES, total_assets + VIRTUAL_ASSETS)
        if shares > borrow_shares:
            raise ValueError(f"{repaid_raw} raw units are more than what is owed")
        borrow_shares, total_shares = borrow_shares - shares, total_shares - shares
        total_assets = max(total_assets - repaid_raw, 0)
    # SharesMathLib.toAssetsUp
    return mul_div_up(borrow_shares, total_assets + VIRTUAL_ASSETS, total_shares + VIRTUAL_SHARES)


def taylor_compounded_up(rate: Wad, seconds: int) -> Wad:
    """MathLib.wTaylorCompounded with every term rounded up: what interest adds at most, WAD.

    Two accruals one after the other add at least as much as one over both, so this bounds the accrual at inclusion
    although that one starts before the pinned block.
    """
    first = rate * seconds
    second = mul_div_up(first, first, 2 * WAD)
    third = mul_div_up(second, first, 3 * WAD)
    return first + second + third


def rate_seen(borrowed_before: int, borrowed_after: int, elapsed_seconds: int) -> Wad:
    """Interest per second from the growth that one accrual added, WAD, rounded up.

    0 when no time had passed: whoever looks ahead from a market touched in that very block has the configured margin
    only.

    The contract floors that growth, so up to one raw unit more was due, also where it shows none; compounding makes the
    rate itself no higher.
    """
    if elapsed_seconds <= 0 or borrowed_before == 0:
        return 0
    return mul_div_up(borrowed_after - borrowed_before + 1, WAD, borrowed_before * elapsed_seconds)


def penalty_bps(lltv: Wad) -> int:
    """What a liquidator takes beyond the debt repaid, basis points of that debt, rounded up. Morpho.liquidate."""
    factor = WAD * WAD // (WAD - LIQUIDATION_CURSOR * (WAD - lltv) // WAD)
    return mul_div_up(min(MAX_LIQUIDATION_INCENTIVE_FACTOR, factor) - WAD, BPS, WAD)
