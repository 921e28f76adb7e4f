"""Where two versions of Aave round differently: balances, debts, what counts of the collateral, and health.

Each number is the contract's own, cited by contract and function. Scaled amounts are what the tokens keep; an index
(RAY) turns them into raw units of the underlying. Base units are the oracle's, 8 decimals for USD.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from keeper.core.units import BPS, WAD, Wad, mul_div_down, mul_div_up

RAY = 10**27

Ray = int
"""A number with 27 decimals."""

SPECK_RAW = 10
"""Of an aToken, kept for good by whoever withdraws where `needs_speck`: at least one scaled unit up to an index of
twenty, and one is enough."""


class Version(Protocol):
    """One version's rounding."""

    @property
    def name(self) -> str: ...

    @property
    def scaled_max(self) -> int:
        """The most that a token keeps for one account, in scaled units."""
        ...

    @property
    def has_position_managers(self) -> bool:
        """Whether somebody else can be approved to switch a received asset on as collateral; where nobody can, a
        transfer switches the first one on by itself."""
        ...

    @property
    def has_category_bitmaps(self) -> bool:
        """Whether an e-mode category lists its reserves; else each reserve names its one category."""
        ...

    @property
    def has_virtual_balance(self) -> bool:
        """Whether the pool keeps account of what can be withdrawn; else it is what the aToken has."""
        ...

    @property
    def has_stable_debt(self) -> bool: ...

    @property
    def needs_speck(self) -> bool:
        """Whether of what a transfer brings one raw unit less may be booked, so that the pool refuses to pay it out to
        who has nothing besides. Which amounts those are hangs on the index, and so on the second of inclusion."""
        ...

    @property
    def closes_small_whole(self) -> bool:
        """Whether a liquidation may repay all of a debt where either side of it is small."""
        ...

    def held_raw(self, scaled: int, index: Ray) -> int:
        """What an aToken balance is worth."""
        ...

    def leaving_scaled(self, amount_raw: int, index: Ray) -> int:
        """What a transfer or a withdrawal takes from its source."""
        ...

    def arriving_scaled(self, amount_raw: int, index: Ray) -> int:
        """What a supply, or a transfer, gives its recipient at least."""
        ...

    def owed_raw(self, scaled: int, index: Ray) -> int:
        """What a variable debt comes to."""
        ...

    def repaid_scaled(self, amount_raw: int, index: Ray) -> int:
        """What a repayment takes from a variable debt."""
        ...

    def debt_value(self, owed_raw: int, price: int, unit_raw: int) -> int:
        """A debt in base units."""
        ...

    def counted_bps(self, value: int, weighted_bps: int) -> int:
        """What counts of collateral worth `value` base units in all, times BPS; `weighted_bps` is the sum of each value
        times its own threshold."""
        ...

    def health(self, counted_bps: int, debt_value: int) -> Wad:
        """The health factor; `debt_value` is not 0."""
        ...


@dataclass(frozen=True, slots=True)
class V36:
    """Aave v3.6 (aave-v3-origin 3.6.0): balances floored, debts rounded up, the thresholds summed exactly."""

    name: str = "3.6"
    scaled_max: int = 2**120 - 1
    has_position_managers: bool = True
    has_category_bitmaps: bool = True
    has_virtual_balance: bool = True
    has_stable_debt: bool = False
    needs_speck: bool = False
    closes_small_whole: bool = True

    def held_raw(self, scaled: int, index: Ray) -> int:
        # rayMulFloor, in TokenMath.getATokenBalance
        return scaled * index // RAY

    def leaving_scaled(self, amount_raw: int, index: Ray) -> int:
        # rayDivCeil, in TokenMath.getATokenTransferScaledAmount and getATokenBurnScaledAmount
        return mul_div_up(amount_raw, RAY, index)

    def arriving_scaled(self, amount_raw: int, index: Ray) -> int:
        # rayDivFloor, in TokenMath.getATokenMintScaledAmount. A transfer gives up to one unit more, being rounded up.
        return mul_div_down(amount_raw, RAY, index)

    def owed_raw(self, scaled: int, index: Ray) -> int:
        # rayMulCeil, in TokenMath.getVTokenBalance
        return mul_div_up(scaled, index, RAY)

    def repaid_scaled(self, amount_raw: int, index: Ray) -> int:
        # rayDivFloor, in TokenMath.getVTokenBurnScaledAmount
        return mul_div_down(amount_raw, RAY, index)

    def debt_value(self, owed_raw: int, price: int, unit_raw: int) -> int:
        # MathUtils.mulDivCeil, in GenericLogic._getUserDebtInBaseCurrency
        return mul_div_up(owed_raw, price, unit_raw)

    def counted_bps(self, value: int, weighted_bps: int) -> int:  # noqa: ARG002
        return weighted_bps

    def health(self, counted_bps: int, debt_value: int) -> Wad:
        # GenericLogic.calculateUserAccountData divides the sum of the products by the debt, then by 100_00.
        return _div_half_up(counted_bps * WAD, debt_value) // BPS


@dataclass(frozen=True, slots=True)
class V30:
    """Aave v3.0 (core-v3 1.19.3): everything rounded half up, one average threshold for all collateral."""

    name: str = "3.0"
    scaled_max: int = 2**128 - 1
    has_position_managers: bool = False
    has_category_bitmaps: bool = False
    has_virtual_balance: bool = False
    has_stable_debt: bool = True
    needs_speck: bool = True
    closes_small_whole: bool = False

    def held_raw(self, scaled: int, index: Ray) -> int:
        # rayMul, in AToken.balanceOf
        return _div_half_up(scaled * index, RAY)

    def leaving_scaled(self, amount_raw: int, index: Ray) -> int:
        # rayDiv, in ScaledBalanceTokenBase._burnScaled and _transfer
        return _div_half_up(amount_raw * RAY, index)

    def arriving_scaled(self, amount_raw: int, index: Ray) -> int:
        # rayDiv, in ScaledBalanceTokenBase._mintScaled and _transfer
        return _div_half_up(amount_raw * RAY, index)

    def owed_raw(self, scaled: int, index: Ray) -> int:
        # rayMul, in VariableDebtToken.balanceOf
        return _div_half_up(scaled * index, RAY)

    def repaid_scaled(self, amount_raw: int, index: Ray) -> int:
        # rayDiv, in ScaledBalanceTokenBase._burnScaled
        return _div_half_up(amount_raw * RAY, index)

    def debt_value(self, owed_raw: int, price: int, unit_raw: int) -> int:
        # Floored in GenericLogic._getUserDebtInBaseCurrency.
        return mul_div_down(owed_raw, price, unit_raw)

    def counted_bps(self, value: int, weighted_bps: int) -> int:
        # percentMul of the total by the average, in GenericLogic.calculateUserAccountData
        average_bps = weighted_bps // value if value else 0
        return _div_half_up(value * average_bps, BPS) * BPS

    def health(self, counted_bps: int, debt_value: int) -> Wad:
        # … and wadDiv by the debt
        return _div_half_up(counted_bps // BPS * WAD, debt_value)


def _div_half_up(numerator: int, divisor: int) -> int:
    """WadRayMath.wadDiv, rayMul, rayDiv and PercentageMath.percentMul: half of the divisor, floored, is added first."""
    return (numerator + divisor // 2) // divisor


VERSIONS: Mapping[int, Version] = {1: V30(), 10: V36()}
"""By `Pool.POOL_REVISION`: PoolInstance.sol of aave-v3-origin 3.6.0, Pool.sol of core-v3 1.19.3."""
