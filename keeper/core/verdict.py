"""What was decided about each subaccount and why, also when nothing is done: one verdict for each, every cycle."""

from dataclasses import dataclass

from keeper.core.units import Wad


@dataclass(frozen=True, slots=True)
class Healthy:
    """At or above its target, or without debt."""


@dataclass(frozen=True, slots=True)
class Watching:
    """Between trigger and target: nothing is done yet."""


@dataclass(frozen=True, slots=True)
class Rescue:
    """A rescue into it is in this plan, or already on its way (`in_flight`)."""

    in_flight: bool = False


@dataclass(frozen=True, slots=True)
class Unfunded:
    """Below its trigger, and nothing that may move reaches `survive`."""

    need_raw: int
    """Collateral that would bring it to its target, raw units of `token_symbol`."""
    token_symbol: str
    reason: str
    """What was tried and the cheapest thing that the owner can do."""


@dataclass(frozen=True, slots=True)
class Uneconomic:
    """A routine rescue that costs more than it saves."""

    cost_usd: Wad
    benefit_usd: Wad
    """The loss that is expected without it."""
    multiple: int
    """How many times its cost the benefit has to be."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A routine rescue that is put off for a moment, to share a transaction with another that is likely soon."""

    until: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class CoolingDown:
    """Rescued a moment ago and not critical."""

    until: int


@dataclass(frozen=True, slots=True)
class Blocked:
    """A rescue is due and something named prevents it, or no rescue can help."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """Could not be read or priced: an alarm, never healthy."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotProtected:
    """Exists on the chain and is not enrolled in the guard, or not even configured: an alarm when it has debt."""

    reason: str = "not enrolled in the guard"
    """What is missing, and where it is not plain, what to do."""


Verdict = Healthy | Watching | Rescue | Unfunded | Uneconomic | Waiting | CoolingDown | Blocked | Unknown | NotProtected
