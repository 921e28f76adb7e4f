"""What is read rarely of Euler v2: the vaults, the sub-accounts that exist, and how each router prices what is in them.

A value that can be written as JSON; find.py makes it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from keeper.core.snapshot import SubaccountId, Token
from keeper.core.units import BPS, Address, Wad
from keeper.protocols.abi import word_address
from keeper.protocols.base import CallResult
from keeper.protocols.euler.math import Ltv

NAME = "euler"


@dataclass(frozen=True, slots=True)
class Vault:
    """An EVK vault; its shares are collateral, and it lends if it lists what it takes."""

    address: Address
    share: Token
    asset: Token
    oracle: Address
    """The router that it asks, zero where it asks none (escrow)."""
    unit: Token | None
    """Its unit of account."""
    penalty_bps: int
    cool_off_seconds: int
    """After a status check an account cannot be liquidated for so long."""
    takes: tuple[Address, ...]
    """The collateral vaults that it ever gave an LTV."""

    @property
    def lends(self) -> bool:
        return bool(self.takes) and self.unit is not None


@dataclass(frozen=True, slots=True)
class Leg:
    """One question to an oracle: what `PROBE` of `base` is in `quote`."""

    oracle: Address
    base: Address
    quote: Address


@dataclass(frozen=True, slots=True)
class Route:
    """How a lending vault's router prices one collateral vault's shares, or the vault's own asset."""

    lender: Address
    vault: Address
    """The lender itself: its asset."""
    legs: tuple[Leg, ...]
    """None at all where it is the unit itself; two where a CrossAdapter chains two adapters."""
    is_by_share: bool
    """Whether the share is priced itself, not the assets that it converts to."""
    feeds: tuple[Address, ...] | None
    """None: it does not name them."""


@dataclass(frozen=True, slots=True)
class Position:
    """One sub-account that exists."""

    number: int
    account: Address
    label: str
    controller: Address | None
    """When it was found; it is read again each cycle."""
    lltv: Wad | None
    """The least liquidation LTV of its collateral; None without a controller."""
    collateral_symbol: str
    debt_symbol: str

    @property
    def id(self) -> SubaccountId:
        return SubaccountId(NAME, str(self.number))

    @property
    def key(self) -> str:
        """Its key in the guard."""
        return f"0x{self.number:064x}"


@dataclass(frozen=True)
class Topology:
    """Not slotted, because what follows from it is kept: it is asked for every block."""

    vaults: tuple[Vault, ...]
    routes: tuple[Route, ...]
    positions: tuple[Position, ...]

    @cached_property
    def by_address(self) -> Mapping[Address, Vault]:
        return {vault.address: vault for vault in self.vaults}

    @cached_property
    def lenders(self) -> Mapping[Address, Vault]:
        """The vaults that can be a controller, by address."""
        return {vault.address: vault for vault in self.vaults if vault.lends}

    @cached_property
    def by_share(self) -> frozenset[tuple[Address, Address]]:
        """Lender and vault of the routes that price the share itself."""
        return frozenset((route.lender, route.vault) for route in self.routes if route.is_by_share)


# Words ----------------------------------------------------------------------------------------------------------------


def word(result: CallResult) -> int | None:
    """The number in a one-word answer; None when it failed or is something else."""
    return int.from_bytes(result.data) if result.success and len(result.data) == 32 else None


def address_in(result: CallResult) -> Address | None:
    """The address in a one-word answer; None when it failed or is something else."""
    number = word(result)
    return word_address(result.data) if number is not None and number < 1 << 160 else None


def addresses_in(result: CallResult) -> tuple[Address, ...] | None:
    """The addresses in an `address[]`; None when it failed or is something else."""
    data = result.data
    if not result.success or len(data) < 64 or int.from_bytes(data[:32]) != 32:
        return None
    if len(data) != 64 + 32 * int.from_bytes(data[32:64]):
        return None
    return tuple(word_address(data[at : at + 32]) for at in range(64, len(data), 32))


def decode_ltv(result: CallResult) -> Ltv | None:
    """`LTVFull`; None when it failed or is no LTV."""
    data = result.data
    if not result.success or len(data) != 160:
        return None
    borrow, target, initial, until, seconds = (int.from_bytes(data[at : at + 32]) for at in range(0, 160, 32))
    return Ltv(borrow, target, initial, until, seconds) if max(borrow, target, initial) <= BPS else None
