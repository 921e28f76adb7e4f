"""The bit fields in which Aave keeps what it was configured to, ReserveConfiguration.sol and UserConfiguration.sol, and
what holds for one reserve in one account once the account's e-mode is taken into account.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class ReserveFlags:
    """`ReserveConfigurationMap`."""

    word: int

    @property
    def ltv_bps(self) -> int:
        return self.word & 0xFFFF

    @property
    def threshold_bps(self) -> int:
        return self.word >> 16 & 0xFFFF

    @property
    def bonus_bps(self) -> int:
        """What a liquidator takes for each 10,000 of debt repaid: 10,500 is a penalty of 5 %."""
        return self.word >> 32 & 0xFFFF

    @property
    def decimals(self) -> int:
        return self.word >> 48 & 0xFF

    @property
    def is_active(self) -> bool:
        return bool(self.word >> 56 & 1)

    @property
    def is_frozen(self) -> bool:
        return bool(self.word >> 57 & 1)

    @property
    def is_paused(self) -> bool:
        return bool(self.word >> 60 & 1)

    @property
    def supply_cap(self) -> int:
        """In whole tokens; 0: none."""
        return self.word >> 116 & 0xFFFFFFFFF

    @property
    def category(self) -> int:
        """Its e-mode category; v3.0 only, later ones keep bitmaps by category."""
        return self.word >> 168 & 0xFF

    @property
    def is_isolated(self) -> bool:
        """Whether it has a debt ceiling: collateral beside which no other counts."""
        return bool(self.word >> 212 & 0xFFFFFFFFFF)


@dataclass(frozen=True, slots=True)
class AccountFlags:
    """`UserConfigurationMap`: two bits for each reserve id, the lower one for debt."""

    word: int

    def owes(self, id: int) -> bool:
        return bool(self.word >> 2 * id & 1)

    def uses(self, id: int) -> bool:
        """Whether it is in use as collateral."""
        return bool(self.word >> (2 * id + 1) & 1)

    def ids(self) -> Iterator[int]:
        """All that it owes or uses as collateral."""
        rest, id = self.word, 0
        while rest:
            if rest & 3:
                yield id
            rest, id = rest >> 2, id + 1


@dataclass(frozen=True, slots=True)
class Category:
    """One e-mode category; in v3.0 the bitmaps are empty and each reserve names its own category."""

    id: int
    ltv_bps: int
    threshold_bps: int
    bonus_bps: int
    collateral_bitmap: int = 0
    ltv_zero_bitmap: int = 0


class Terms(NamedTuple):
    """What holds for one reserve in one account."""

    ltv_bps: int
    """What decides whether it may be switched on as collateral, and whether it must leave first: zero or not."""
    threshold_bps: int
    bonus_bps: int


def terms(flags: ReserveFlags, id: int, category: Category | None, has_bitmaps: bool) -> Terms:
    """The terms of the reserve with this id for an account in this category; None: in none.

    ValidationLogic.getUserReserveLtv, GenericLogic.calculateUserAccountData, LiquidationLogic.
    """
    own = Terms(flags.ltv_bps, flags.threshold_bps, flags.bonus_bps)
    if category is None:
        return own
    if has_bitmaps:
        if not category.collateral_bitmap >> id & 1:
            return own
        ltv_bps = 0 if category.ltv_zero_bitmap >> id & 1 else category.ltv_bps
        return Terms(ltv_bps, category.threshold_bps, category.bonus_bps)
    if flags.category != category.id or not flags.threshold_bps:
        return own
    # v3.0 asks the reserve's own LTV, whatever the category says.
    return Terms(flags.ltv_bps, category.threshold_bps, category.bonus_bps)
