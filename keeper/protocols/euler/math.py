"""Euler v2's arithmetic: shares and assets, quotes, LTVs that ramp, and one account's margin.

Every formula is the contracts' own, with its rounding: euler-vault-kit (EVK) and euler-price-oracle (EPO), 1.0. The
state is in vault shares, because only whole shares move; whoever asks from outside counts in units of the underlying.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache

from keeper.core.risk import Risk
from keeper.core.snapshot import NOTHING, NOW, Horizon, Strike
from keeper.core.units import BPS, WAD, YEAR_SECONDS, Address, Wad, mul_div_down, mul_div_up

# EVK Constants.sol
VIRTUAL_DEPOSIT = 10**6
RAY = 10**27
AMOUNT_MAX = 2**112 - 1
INTEREST_RATE_MAX = 291_867_278_914_945_094_175
"""Per second, RAY."""

SUB_ACCOUNTS = 256
"""Of one owner in one EVC."""

PROBE = 10**30
"""The amount that oracles are asked to quote. With 18 decimals of the token and up to 12 more of the feed than of the
unit, an adapter that divides once answers for it without any rounding, so its quote for any other amount follows."""

UNEXPLAINED = 10**6
"""Where an oracle rounds in a way that is not ours, a millionth of a value is given up to each change."""

UNREADABLE = Risk(0, 1, 0, 1)


@dataclass(frozen=True, slots=True)
class Exchange:
    """What the shares of a vault are worth in its asset; both totals with the interest that is due."""

    total_assets: int
    """`totalAssets()`: cash and borrows, the borrows rounded up."""
    total_shares: int
    """`totalSupply()`, fees included."""

    def assets_down(self, shares: int) -> int:
        """SharesLib.toAssetsDown by ConversionHelpers.conversionTotals: `convertToAssets`."""
        return shares * (self.total_assets + VIRTUAL_DEPOSIT) // (self.total_shares + VIRTUAL_DEPOSIT)

    def shares_down(self, assets: int) -> int:
        """AssetsLib.toSharesDown: what `deposit` mints."""
        return assets * (self.total_shares + VIRTUAL_DEPOSIT) // (self.total_assets + VIRTUAL_DEPOSIT)

    def shares_up(self, assets: int) -> int:
        """AssetsLib.toSharesUp: what `withdraw` burns, `previewWithdraw`."""
        return mul_div_up(assets, self.total_shares + VIRTUAL_DEPOSIT, self.total_assets + VIRTUAL_DEPOSIT)


@dataclass(frozen=True, slots=True)
class Ltv:
    """One collateral's configuration in one lending vault, `LTVFull`; basis points."""

    borrow: int
    liquidation_target: int
    liquidation_initial: int
    target_timestamp: int
    ramp_seconds: int

    def liquidation(self, timestamp: int) -> int:
        """LTVConfigLib.getLTV: a lowered LTV comes down in a straight line, floored; a raised one holds at once."""
        left = self.target_timestamp - timestamp
        if left <= 0 or self.liquidation_target >= self.liquidation_initial:
            return self.liquidation_target
        fallen = self.liquidation_initial - self.liquidation_target
        return self.liquidation_target + fallen * left // max(self.ramp_seconds, left)


@dataclass(frozen=True, slots=True)
class Price:
    """How a router values one token: what each adapter on the way quotes for `PROBE`, one after the other.

    No adapter at all where the token is the unit of account itself.
    """

    mid: tuple[int, ...]
    bid: tuple[int, ...]
    ask: tuple[int, ...]


def quote(amount: int, adapters: tuple[int, ...]) -> int:
    """EPO ScaleUtils.calcOutAmount, floored once in each adapter; CrossAdapter chains two of them."""
    for rate in adapters:
        amount = amount * rate // PROBE
    return amount


@dataclass(frozen=True, slots=True)
class Holding:
    """An account's shares of one vault."""

    vault: Address
    token: Address
    """What the outside calls it: the underlying, or the vault's own address where another vault of it moves."""
    underlying: Address
    shares: int
    exchange: Exchange
    ltv: Ltv | None
    """None: does not count, because it is not enabled or the controller gives it no LTV."""
    price: Price | None
    """None: the oracle did not answer."""
    is_priced_by_share: bool = False
    """Whether the router prices the share itself, not the assets that it converts to."""

    def value(self, shares: int, adapters: tuple[int, ...]) -> int:
        """EulerRouter.resolveOracle: a resolved vault's shares are converted to assets first."""
        return quote(shares if self.is_priced_by_share else self.exchange.assets_down(shares), adapters)

    def after(self, delta_assets: int) -> int:
        """Shares after so many assets left (negative) or arrived. Raises ValueError when more leave than are there."""
        shares = self.shares
        if delta_assets < 0:
            shares -= self.exchange.shares_up(-delta_assets)
        else:
            shares += self.exchange.shares_down(delta_assets)
        if shares < 0:
            raise ValueError(f"{-shares} shares more than there are would have to leave {self.vault}")
        return shares


@dataclass(frozen=True, slots=True)
class Owed:
    """What an account owes its controller."""

    token: Address
    amount_raw: int
    """`debtOf`: with the interest that is due, rounded up."""
    rate: int
    """Interest per second, RAY."""
    price: Price | None
    """None: the oracle did not answer."""

    def at(self, horizon: Horizon) -> int:
        """The debt in raw units at the horizon, rounded up."""
        return _grown(self.amount_raw, self.rate, horizon) if horizon.seconds else self.amount_raw


@lru_cache(maxsize=1024)
def _grown(amount_raw: int, rate: int, horizon: Horizon) -> int:
    """VaultCache accrues by RPow.rpow, floored; here every product is rounded up, so this is a bound."""
    base = RAY + rate + mul_div_up(horizon.rate_margin, RAY, WAD * YEAR_SECONDS)
    factor, seconds = RAY, horizon.seconds
    while seconds:
        if seconds & 1:
            factor = mul_div_up(factor, base, RAY)
        base = mul_div_up(base, base, RAY)
        seconds >>= 1
    return mul_div_up(amount_raw, factor, RAY)


@dataclass(frozen=True, slots=True)
class Sides:
    """What `accountLiquidity` compares, raw units of the unit of account: for liquidation, then for operations."""

    collateral: int
    debt: int
    initial_collateral: int
    initial_debt: int


@dataclass(frozen=True, slots=True)
class EulerMargin:
    """One account: its shares, and what it owes the one vault that controls it."""

    holdings: tuple[Holding, ...]
    """Enabled collateral first, in the order of `getCollaterals`."""
    owed: Owed | None
    timestamp: int
    """Of the pinned block; the LTVs ramp from there."""
    value_scale: int = 1
    """10^(18 - decimals of the unit of account): from its raw units to WAD, exact."""
    reported: Sides | None = None
    """What the contract said, where an oracle rounds in a way that this arithmetic does not know; else None."""

    def risk(
        self,
        deltas: Mapping[Address, int] = NOTHING,
        horizon: Horizon = NOW,
        falls_bps: Mapping[Address, int] = NOTHING,
        repaid: Mapping[Address, int] = NOTHING,
    ) -> Risk:
        """See `Margin.risk`; `deltas` and `repaid` in raw units of underlyings.

        At the pinned block without changes it is what LiquidityUtils.calculateLiquidity answers, but for two edges. The
        contract takes C = L for liquidatable and lets nothing leave unless C > L; `Risk` draws both lines at the other
        side of equality. So the initial debt is one more, always, and the maintenance debt is one more at equality
        alone: there, and nowhere else, health is a wei below the contract's.

        Raises ValueError when a delta takes out more than there is, more is repaid than is owed, or a token has no
        place here.
        """
        shares = self._shares_after(deltas)
        owed = self._owed_after(repaid, horizon)
        if owed and (self.owed is None or self.owed.price is None):
            return UNREADABLE
        sides = self._sides(shares, owed, self.timestamp + horizon.seconds, falls_bps)
        if self.reported is not None:
            sides = self._anchored(sides, self.reported)
        scale = self.value_scale
        collateral, debt = sides.collateral * scale, sides.debt * scale
        return Risk(
            collateral,
            debt + 1 if debt and debt == collateral else debt,
            sides.initial_collateral * scale,
            sides.initial_debt * scale + 1 if owed else 0,
        )

    def _shares_after(self, deltas: Mapping[Address, int]) -> list[int]:
        left = dict(deltas)
        shares = [
            holding.after(left.pop(holding.token)) if holding.token in left else holding.shares
            for holding in self.holdings
        ]
        if left:
            raise ValueError(f"this account holds no shares of a vault of {', '.join(left)}")
        return shares

    def _owed_after(self, repaid: Mapping[Address, int], horizon: Horizon) -> int:
        owed = self.owed.at(horizon) if self.owed else 0
        for token, amount_raw in repaid.items():
            if self.owed is None or token != self.owed.token:
                raise ValueError(f"this account owes no {token}")
            if not 0 <= amount_raw <= owed:
                raise ValueError(f"{amount_raw} raw units cannot be repaid of {owed} that are owed")
            owed -= amount_raw
        return owed

    def _sides(self, shares: list[int], owed: int, timestamp: int, falls_bps: Mapping[Address, int]) -> Sides:
        """LiquidityUtils.getCollateralValue and getLiabilityValue, each asset floored before and after its LTV.

        A collateral without a price counts for nothing.
        """
        collateral = initial = 0
        for holding, amount in zip(self.holdings, shares, strict=True):
            ltv, price = holding.ltv, holding.price
            if ltv is None or price is None or not amount:
                continue
            mid, bid = holding.value(amount, price.mid), holding.value(amount, price.bid)
            fall = falls_bps.get(holding.underlying, 0)
            # The unit falls in nothing; yet whoever lets collateral in it fall means against the debt.
            if fall > 0 or (fall and price.mid):
                mid, bid = mul_div_down(mid, BPS - fall, BPS), mul_div_down(bid, BPS - fall, BPS)
            collateral += mid * ltv.liquidation(timestamp) // BPS
            initial += bid * ltv.borrow // BPS
        if self.owed is None or self.owed.price is None or not owed:
            return Sides(collateral, 0, initial, 0)
        debt, asked = quote(owed, self.owed.price.mid), quote(owed, self.owed.price.ask)
        fall = falls_bps.get(self.owed.token, 0)
        if fall and self.owed.price.mid:
            debt, asked = mul_div_up(debt, BPS - fall, BPS), mul_div_up(asked, BPS - fall, BPS)
        return Sides(collateral, debt, initial, asked)

    def own(self) -> Sides:
        """The pinned block's sides by this arithmetic alone."""
        owed = self.owed.amount_raw if self.owed else 0
        return self._sides([holding.shares for holding in self.holdings], owed, self.timestamp, NOTHING)

    def _anchored(self, after: Sides, reported: Sides) -> Sides:
        """What the contract said, changed in proportion; each value that changes gives up a little."""
        before = self.own()
        return Sides(
            _in_proportion_down(reported.collateral, after.collateral, before.collateral),
            _in_proportion_up(reported.debt, after.debt, before.debt),
            _in_proportion_down(reported.initial_collateral, after.initial_collateral, before.initial_collateral),
            _in_proportion_up(reported.initial_debt, after.initial_debt, before.initial_debt),
        )

    # Shares -----------------------------------------------------------------------------------------------------------

    def moved(self, shares: Mapping[Address, int]) -> "EulerMargin":
        """The account after shares came in (negative: left), by vault, in this arithmetic alone."""
        holdings = tuple(replace(one, shares=one.shares + shares.get(one.vault, 0)) for one in self.holdings)
        return replace(self, holdings=holdings, reported=None)

    def lets_shares_leave(self, vault: Address, shares: int) -> bool:
        """Whether the account may be left with so many shares of a vault less: its status check would pass.

        LiquidityUtils.checkLiquidity: nothing owed passes; else the collaterals are added up in their order at the
        borrow LTV, and the first that brings C above L ends it. So an oracle that does not answer fails only a check
        that comes as far as its collateral; and where C > L is not reached, no share may leave, not even one that does
        not count, nor none at all.
        """
        if all(holding.vault != vault or holding.shares < shares for holding in self.holdings):
            return False
        if self.owed is None or self.owed.amount_raw == 0:
            return True
        if self.owed.price is None:
            return False
        liability = quote(self.owed.amount_raw, self.owed.price.ask)
        collateral = 0
        for holding in self.holdings:
            amount = holding.shares - (shares if holding.vault == vault else 0)
            if holding.ltv is None or not holding.ltv.borrow or not amount:
                continue
            if holding.price is None:
                return False
            collateral += holding.value(amount, holding.price.bid) * holding.ltv.borrow // BPS
            if collateral > liability:
                return True
        return False

    def largest_leaving(self, vault: Address) -> int:
        """The most shares of a vault that its status check lets leave; 0 also where not even nothing may."""
        low, high = 0, next((holding.shares for holding in self.holdings if holding.vault == vault), 0)
        while low < high:
            middle = (low + high + 1) // 2
            if self.lets_shares_leave(vault, middle):
                low = middle
            else:
                high = middle - 1
        return low


def _in_proportion_down(reported: int, after: int, before: int) -> int:
    if after == before:
        return reported
    return max(mul_div_down(reported, after, max(before, 1)) - max(reported, after) // UNEXPLAINED - 1, 0)


def _in_proportion_up(reported: int, after: int, before: int) -> int:
    if after == before:
        return reported
    if after == 0:
        return 0
    return mul_div_up(reported, after, max(before, 1)) + max(reported, after) // UNEXPLAINED + 1


def agrees(own: Sides, reported: Sides) -> bool:
    """Whether both are the same but for rounding: a millionth, or one raw unit."""
    pairs = (
        (own.collateral, reported.collateral),
        (own.debt, reported.debt),
        (own.initial_collateral, reported.initial_collateral),
        (own.initial_debt, reported.initial_debt),
    )
    return all(abs(ours - theirs) <= theirs // UNEXPLAINED + 1 for ours, theirs in pairs)


def penalty_bps(discount_max_bps: int) -> int:
    """What a liquidator takes beyond the debt repaid at most, basis points of that debt, rounded up.

    Liquidation.calculateMaxLiquidation: the discount is 1 - health, up to `maxLiquidationDiscount`, and what is taken
    is worth the debt repaid over (1 - discount).
    """
    return mul_div_up(discount_max_bps, BPS, BPS - discount_max_bps)


STRIKE = Strike(least_bps=100)
"""The discount grows from nothing, and all of the debt may be repaid at once. A liquidator waits until it pays for a
swap's slippage and gas: about a hundredth."""


def account(owner: Address, number: int) -> Address:
    """EthereumVaultConnector: sub-account `number` (0-255) of an owner differs from it in the last byte alone."""
    return Address(f"0x{int(owner, 16) ^ number:040x}")


def number_of(owner: Address, one: Address) -> int | None:
    """Which of the owner's sub-accounts it is; None when it is not one."""
    number = int(owner, 16) ^ int(one, 16)
    return number if number < SUB_ACCOUNTS else None


def wad_per_token(holding: Holding, adapters: tuple[int, ...], decimals: int, value_scale: int) -> Wad:
    """What one whole token of the underlying is worth, WAD in the unit of account, rounded down."""
    fine = 10**12  # a token of 6 decimals would else be valued at 6 digits
    shares = holding.exchange.shares_down(10**decimals * fine) if holding.is_priced_by_share else 0
    value = quote(shares or 10**decimals * fine, adapters)
    return value * value_scale // fine
