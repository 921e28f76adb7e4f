"""The model's state: one owner's Morpho positions, wallet, feeds and guard, as integers that one block leaves behind.

The arithmetic is Morpho Blue 1.0.0's and MarginGuard's own, written down here a second time and not taken from the
keeper, so that what the keeper computes is compared with something.
"""

from dataclasses import dataclass, field, replace

WAD = 10**18
PRICE_SCALE = 10**36
SHARES = 10**6
"""SharesMathLib.VIRTUAL_SHARES; VIRTUAL_ASSETS is 1."""
NO_DEBT = 2**128 - 1
FEED_DECIMALS = 8

WETH = "0x" + "e1".rjust(40, "0")
USDC = "0x" + "e2".rjust(40, "0")


@dataclass(frozen=True, slots=True)
class Market:
    """What is fixed about one market; collateral is WETH, loans are USDC."""

    id: str
    lltv: int
    rate: int
    """Interest per second, WAD: the interest model's answer, constant."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Of one market, as Morpho stores it: accrued up to `updated_at`."""

    borrow_assets: int
    borrow_shares: int
    updated_at: int

    def accrued(self, rate: int, now: int) -> "Totals":
        """Morpho._accrueInterest, with MathLib.wTaylorCompounded; the fee is zero."""
        elapsed = now - self.updated_at
        first = rate * elapsed
        second = first * first // (2 * WAD)
        third = second * first // (3 * WAD)
        interest = self.borrow_assets * (first + second + third) // WAD
        return Totals(self.borrow_assets + interest, self.borrow_shares, now)


@dataclass(frozen=True, slots=True)
class Position:
    collateral: int
    borrow_shares: int


@dataclass(frozen=True, slots=True)
class Cap:
    """RollingCap.Counter."""

    amount: int
    window: int
    current: int = 0
    previous: int = 0
    epoch: int = 0

    def at(self, now: int) -> "Cap":
        epoch = now // self.window
        if epoch == self.epoch:
            return self
        return replace(self, previous=self.current if epoch == self.epoch + 1 else 0, current=0, epoch=epoch)

    def remaining(self, now: int) -> int:
        rolled = self.at(now)
        return max(0, rolled.amount - rolled.previous - rolled.current)


@dataclass(frozen=True, slots=True)
class Round:
    """A feed's latest answer."""

    answer: int
    updated_at: int
    number: int = 1


class OracleMuteError(Exception):
    """The oracle reverts, and so does everything that needs a price."""


@dataclass(slots=True)
class State:
    """All that a block leaves behind. Copied for the next one; its values are never changed in place."""

    now: int
    positions: dict[str, Position]
    totals: dict[str, Totals]
    balances: dict[str, int]
    """The owner's wallet."""
    allowances: dict[str, int]
    caps: dict[str, Cap]
    eth: Round
    usdc: Round
    last_sequence: int = 0
    is_paused: bool = False
    is_oracle_mute: bool = False
    """Whether `oracle.price()` and the feeds revert."""
    nonce: int = 0
    """The hot key's."""
    gas_money: int = 0
    liquidated: dict[str, int] = field(default_factory=dict[str, int])
    """Markets and when their positions were liquidated."""

    def copy(self, now: int) -> "State":
        return replace(
            self,
            now=now,
            positions=dict(self.positions),
            totals=dict(self.totals),
            balances=dict(self.balances),
            allowances=dict(self.allowances),
            caps=dict(self.caps),
            liquidated=dict(self.liquidated),
        )

    @property
    def price(self) -> int:
        """`oracle.price()` of every market: raw USDC for 1e36 raw WETH. Raises OracleMuteError."""
        if self.is_oracle_mute:
            raise OracleMuteError
        return self.eth.answer * 10**24 // self.usdc.answer

    def accrued(self, market: Market) -> Totals:
        return self.totals[market.id].accrued(market.rate, self.now)

    def debt(self, market: Market) -> int:
        """SharesMathLib.toAssetsUp."""
        shares = self.positions[market.id].borrow_shares
        totals = self.accrued(market)
        return -(-shares * (totals.borrow_assets + 1) // (totals.borrow_shares + SHARES))

    def health(self, market: Market) -> int:
        """MorphoBlue.standing, WAD; `NO_DEBT` without debt."""
        position = self.positions[market.id]
        if position.borrow_shares == 0:
            return NO_DEBT
        allowed = position.collateral * self.price // PRICE_SCALE * market.lltv // WAD
        return min(allowed * WAD // self.debt(market), NO_DEBT)


def liquidate(state: State, market: Market) -> None:
    """Closes a position as a liquidator with enough capital does: all of the debt, or all of the collateral."""
    position = state.positions[market.id]
    debt = state.debt(market)
    # Morpho.liquidate: the incentive factor, at most 1.15.
    factor = min(115 * WAD // 100, WAD * WAD // (WAD - 3 * WAD // 10 * (WAD - market.lltv) // WAD))
    seized = min(position.collateral, debt * factor // WAD * PRICE_SCALE // state.price)
    totals = state.accrued(market)
    state.totals[market.id] = Totals(
        max(0, totals.borrow_assets - debt), totals.borrow_shares - position.borrow_shares, state.now
    )
    state.positions[market.id] = Position(position.collateral - seized, 0)
    state.liquidated[market.id] = state.now
