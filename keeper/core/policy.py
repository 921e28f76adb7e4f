"""The owner's thresholds: when to act, how far to go, what a donor keeps.

`1 < hard_floor <= survive <= critical < trigger <= rescue_ceiling <= target < floor <= max_after`; the guard enforces
hard_floor, survive (its `minAfter`), rescue_ceiling and max_after on-chain as well, and where it is stricter than the
file, it is the guard's number that is planned with.

Defaults count in steps of how far the price pair moves. For a volatile pair a step is one standard deviation of a day
(5 % unless measured: 95 % a year). For a correlated pair (wstETH/WETH) a daily deviation says nothing; its step is a
sixth of the distance that its LLTV leaves, so that the whole table fits into it.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import Enum

from keeper.core.snapshot import GuardState, Horizon, Subaccount, SubaccountId
from keeper.core.units import BPS, WAD, Wad
from keeper.errors import ConfigError

ASSUMED_VOLATILITY_BPS = 500
"""A day's standard deviation of a volatile pair that was not measured."""
CORRELATED_LLTV_MIN = 91 * WAD // 100
"""Nobody lends at such an LLTV against a price that is free to move."""
STEPS_IN_LLTV_DISTANCE = 6

_TENTHS_OF_STEP = {
    "hard_floor": 4,
    "survive": 8,
    "critical": 16,
    "trigger": 30,
    "rescue_ceiling": 40,
    "target": 50,
    "floor": 60,
    "max_after": 80,  # three steps above the target: so far the price may rise before a rescue is included
}
_SHOCK_STEPS = 2


# Thresholds -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Healths, WAD."""

    hard_floor: Wad
    """No donor with debt ever ends below it."""
    survive: Wad
    """A rescue that ends below it is not made."""
    critical: Wad
    """Below it a rescue goes into the critical lane and the last stand is allowed."""
    trigger: Wad
    """Below it a rescue is due."""
    rescue_ceiling: Wad
    """At or above it the guard refuses to put anything in."""
    target: Wad
    """Where a rescue brings it."""
    floor: Wad
    """A donor normally never ends below it."""
    max_after: Wad
    """The guard refuses a rescue that would end above it: a stolen key drains nobody for what nobody needs."""

    def problems(self) -> tuple[str, ...]:
        """What is out of order, one half-sentence for each pair of neighbours; empty when all is well."""
        ordered = [(one.name, getattr(self, one.name)) for one in fields(self)]
        found: list[str] = []
        if self.hard_floor <= WAD:
            found.append(f"hard_floor = {_health_text(self.hard_floor)} must be above 1, the liquidation line")
        for (low, low_value), (high, high_value) in itertools.pairwise(ordered):
            # critical < trigger: an account below its trigger must have a routine lane; target < floor: else a rescue
            # could leave the donor where the recipient was meant to arrive.
            is_strict = low in ("critical", "target")
            if high_value < low_value or (is_strict and high_value == low_value):
                relation = "above" if is_strict else "at or above"
                found.append(
                    f"{high} = {_health_text(high_value)} must be {relation} {low} = {_health_text(low_value)}"
                )
        return tuple(found)


@dataclass(frozen=True, slots=True)
class SubaccountPolicy:
    """What holds for one subaccount; `why` says where its numbers come from, for `init` and `explain`."""

    thresholds: Thresholds
    shock_bps: int
    """The price fall that its cushion is measured against."""
    priority: int = 0
    """Higher is saved first when not all can be."""
    never_donate: bool = False
    accept_unchecked_age: bool = False
    """Whether a price whose age cannot be read is good enough to act on (`oracle_age = "unchecked"`)."""
    why: str = ""
    moves_together: bool = False
    """Whether collateral and debt are the same asset in two forms, whose feeds say nothing about the pair."""

    @property
    def usual_volatility_bps(self) -> int:
        """The day's deviation that its thresholds were made for, basis points, rounded up: a shock is two of them."""
        return -(-self.shock_bps // _SHOCK_STEPS)


class DonorsOrder(Enum):
    """What counts first when it is chosen who gives."""

    DEBT_FREE_FIRST = "debt-free first"
    """As little as possible from accounts with debt, then the least gas."""
    LEAST_GAS = "least gas"
    """Whoever gives."""


@dataclass(frozen=True, slots=True)
class PriceLimits:
    """How far prices may be apart before they are disputed, basis points of the higher one."""

    disagreement_max_bps: int = 1_000
    """An oracle's price and a second source's."""
    jump_max_bps: int | None = None
    """A price now and any in the last `jump_seconds`, unless a second source confirms it; None: jumps are believed."""
    jump_seconds: int = 120

    @property
    def memory_seconds(self) -> int:
        """How long a price is to be remembered; 0: not at all."""
        return 0 if self.jump_max_bps is None else self.jump_seconds


@dataclass(frozen=True, slots=True)
class Policy:
    """The policy of a wallet, resolved for every subaccount of its topology."""

    subaccounts: Mapping[SubaccountId, SubaccountPolicy]
    last_stand: bool
    """`equalise` when true: in the critical lane donors may go below their floor and share a cushion with it."""
    inclusion: Horizon
    """When a transaction sent now is expected to take effect, and the interest allowed until then."""
    amount_margin_bps: int
    """Kept back from every exact maximum: the maximum of one block is refused one block later."""
    cooldown_seconds: int
    """After a rescue, no routine rescue of the same subaccount; never mutes a critical one."""
    min_benefit_multiple: int
    """Routine lane: act when the expected loss avoided exceeds this many times the gas cost."""
    donors_order: DonorsOrder = DonorsOrder.DEBT_FREE_FIRST
    volatility_min_bps: int = 0
    """A day's deviation that is assumed even when less was measured."""
    prices: PriceLimits = PriceLimits()


# Defaults -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Pair:
    """What the defaults of a subaccount depend on; symbols are for the reason only."""

    id: SubaccountId
    lltv: Wad | None = None
    """None without debt."""
    collateral_symbol: str = ""
    debt_symbol: str = ""
    volatility_bps_per_day: int | None = None
    """Of the collateral's price in the debt; None: not measured."""
    is_correlated: bool | None = None
    """Whether collateral and debt are the same asset in two forms; None: judged by the LLTV."""

    @property
    def moves_together(self) -> bool:
        if self.is_correlated is not None:
            return self.is_correlated
        return self.lltv is not None and self.lltv >= CORRELATED_LLTV_MIN


def default_thresholds(pair: Pair) -> SubaccountPolicy:
    """Thresholds and shock that suit a price pair, with the reason in `why`."""
    step_bps = pair.volatility_bps_per_day or ASSUMED_VOLATILITY_BPS
    name = f"{pair.collateral_symbol}/{pair.debt_symbol}".strip("/") or "this account"
    if pair.lltv is None:
        why = "owes nothing, so nothing in it can be liquidated; the numbers hold if it ever borrows"
    elif pair.moves_together:
        distance = WAD * WAD // pair.lltv - WAD
        # A pair that moves together is never given wider thresholds than one that does not.
        step_bps = max(min(step_bps, distance * BPS // WAD // STEPS_IN_LLTV_DISTANCE), 1)
        why = (
            f"{name} moves together, so the numbers are shares of the {_percent(distance)} that an LLTV of "
            f"{_percent(pair.lltv)} leaves: a step of {_bps_percent(step_bps)}"
        )
    else:
        known = "measured" if pair.volatility_bps_per_day else "assumed, as none was measured"
        why = f"{name} moves by {_bps_percent(step_bps)} in a usual day ({known}), which is a step"
    if pair.lltv is not None:
        why += (
            "; acts at 3 steps from liquidation, brings it to 5, takes from it down to 6, tests it against a fall of 2"
        )
    values = {name: WAD + step_bps * tenths * WAD // (10 * BPS) for name, tenths in _TENTHS_OF_STEP.items()}
    return SubaccountPolicy(Thresholds(**values), step_bps * _SHOCK_STEPS, why=why)


# The owner's file -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AccountSettings:
    """What the owner said about one subaccount, or about all of them; None: not said."""

    hard_floor: Wad | None = None
    survive: Wad | None = None
    critical: Wad | None = None
    trigger: Wad | None = None
    rescue_ceiling: Wad | None = None
    target: Wad | None = None
    floor: Wad | None = None
    max_after: Wad | None = None
    shock_bps: int | None = None
    priority: int | None = None
    never_donate: bool | None = None
    accept_unchecked_age: bool | None = None
    is_correlated: bool | None = None
    """See `Pair.is_correlated`."""

    def over(self, wider: "AccountSettings") -> "AccountSettings":
        """These where said, else the wider ones."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return AccountSettings(
            **{name: getattr(wider, name) if value is None else value for name, value in values.items()}
        )


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """`[policy]` of keeper.toml, as values."""

    everywhere: AccountSettings = AccountSettings()
    overrides: Mapping[str, AccountSettings] = field(default_factory=dict[str, AccountSettings])
    """By subaccount id, or a beginning of one that fits no other."""
    last_stand: bool = True
    inclusion_seconds: int = 36
    """Three blocks of twelve seconds."""
    rate_margin: Wad = WAD // 10
    amount_margin_bps: int = 1
    cooldown_seconds: int = 300
    min_benefit_multiple: int = 3
    donors_order: DonorsOrder = DonorsOrder.DEBT_FREE_FIRST
    volatility_min_bps: int = 300
    """A calm week must not make anybody believe that the next is calm too."""
    prices: PriceLimits = PriceLimits()


def resolve(settings: PolicySettings, pairs: Sequence[Pair]) -> Policy:
    """The policy of every subaccount: what the owner said about it, else about all, else its pair's default.

    Raises ConfigError for an override that fits no subaccount or several, two overrides for the same one, and
    thresholds that are out of order once everything is put together; it names the override and the keys.
    """
    override_of: dict[SubaccountId, str] = {}
    for key in settings.overrides:
        id = _matching(key, [pair.id for pair in pairs])
        if id in override_of:
            raise ConfigError(f"{_section(key)} and {_section(override_of[id])} are the same subaccount {id}.")
        override_of[id] = key
    subaccounts: dict[SubaccountId, SubaccountPolicy] = {}
    for pair in pairs:
        key = override_of.get(pair.id)
        said = settings.everywhere if key is None else settings.overrides[key].over(settings.everywhere)
        resolved = _resolved(pair, said)
        problems = resolved.thresholds.problems()
        if problems:
            where = "[policy]" if key is None else f"{_section(key)} together with [policy]"
            raise ConfigError(f"{where}, for {pair.id}: {'; '.join(problems)}.")
        subaccounts[pair.id] = resolved
    return Policy(
        subaccounts,
        settings.last_stand,
        Horizon(settings.inclusion_seconds, settings.rate_margin),
        settings.amount_margin_bps,
        settings.cooldown_seconds,
        settings.min_benefit_multiple,
        settings.donors_order,
        settings.volatility_min_bps,
        settings.prices,
    )


def _resolved(pair: Pair, said: AccountSettings) -> SubaccountPolicy:
    if said.is_correlated is not None:
        pair = replace(pair, is_correlated=said.is_correlated)
    default = default_thresholds(pair)
    values: dict[str, Wad] = {}
    for one in fields(Thresholds):
        value = getattr(said, one.name)
        values[one.name] = getattr(default.thresholds, one.name) if value is None else value
    if said.max_after is None:  # as far above the floor as it is by default
        values["max_after"] += values["floor"] - default.thresholds.floor
    named = [one.name for one in fields(Thresholds) if getattr(said, one.name) is not None]
    named += ["shock"] if said.shock_bps is not None else []
    why = default.why
    if len(named) == len(fields(Thresholds)) + 1:
        why = "all from the configuration"
    elif named:
        why = f"{', '.join(named)} from the configuration; else: {default.why}"
    return SubaccountPolicy(
        Thresholds(**values),
        default.shock_bps if said.shock_bps is None else said.shock_bps,
        said.priority or 0,
        said.never_donate or False,
        said.accept_unchecked_age or False,
        why,
        pair.lltv is not None and pair.moves_together,
    )


def _matching(key: str, ids: Sequence[SubaccountId]) -> SubaccountId:
    beginning = key.removesuffix("…").lower()
    exact = [id for id in ids if str(id).lower() == beginning]
    found = exact or [id for id in ids if str(id).lower().startswith(beginning)]
    match found:
        case [only]:
            return only
        case []:
            there_are = ", ".join(str(id) for id in ids) or "none at all"
            raise ConfigError(f"{_section(key)} names no subaccount; there are {there_are}.")
        case _:
            raise ConfigError(f"{_section(key)} could be {' or '.join(str(id) for id in found)}; write more of the id.")


def _section(key: str) -> str:
    return f'[policy.overrides."{key}"]'


# The guard's own limits -----------------------------------------------------------------------------------------------


def enforced(thresholds: Thresholds, guard: GuardState | None, index: int | None) -> Thresholds:
    """The thresholds to plan with: the stricter of the file's and the guard's, for the enrolment with this index."""
    account = None if guard is None or index is None else guard.account(index)
    if account is None or account.hard_floor == 0:  # an account without debt (the wallet) has no limits
        return thresholds
    survive = max(thresholds.survive, account.min_after)
    hard_floor = max(thresholds.hard_floor, account.hard_floor)
    max_after = min(thresholds.max_after, account.max_after)
    is_stricter = survive > thresholds.survive or hard_floor > thresholds.hard_floor or max_after < thresholds.max_after
    if not is_stricter and account.rescue_ceiling >= thresholds.rescue_ceiling:
        return thresholds
    target = max(thresholds.target, survive)
    if target >= max_after:
        # Halfway between what the guard demands and what it allows, so that a price may move both ways until inclusion.
        target = (survive + max_after) // 2
    return Thresholds(
        hard_floor,
        survive,
        max(thresholds.critical, survive),
        thresholds.trigger,
        min(thresholds.rescue_ceiling, account.rescue_ceiling),
        target,
        max(thresholds.floor, hard_floor),
        max_after,
    )


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A limit of the guard that is not the file's. The stricter is used: the guard's own cannot be passed anyway."""

    subaccount: SubaccountId
    key: str
    file: Wad
    guard: Wad
    is_guard_stricter: bool

    def __str__(self) -> str:
        consequence = (
            "the guard's is used"
            if self.is_guard_stricter
            else "the file's is used, and a stolen keeper key could go as far as the guard's"
        )
        return (
            f"{self.subaccount}: {self.key} is {_health_text(self.file)} in the file and {_health_text(self.guard)} in "
            f"the guard; {consequence} until the owner sends setPolicy (`keeper setup`) or the file is changed"
        )


def disagreements(policy: Policy, guard: GuardState, subaccounts: Sequence[Subaccount]) -> tuple[Disagreement, ...]:
    """Where the guard's limits differ from the file's, for `check` and `status`."""
    found: list[Disagreement] = []
    for subaccount in subaccounts:
        settings = policy.subaccounts.get(subaccount.id)
        account = None if subaccount.guard_index is None else guard.account(subaccount.guard_index)
        if settings is None or account is None or account.hard_floor == 0:
            continue
        file = settings.thresholds
        for key, wanted, enrolled, is_stricter in (
            ("hard_floor", file.hard_floor, account.hard_floor, account.hard_floor > file.hard_floor),
            ("survive", file.survive, account.min_after, account.min_after > file.survive),
            (
                "rescue_ceiling",
                file.rescue_ceiling,
                account.rescue_ceiling,
                account.rescue_ceiling < file.rescue_ceiling,
            ),
            ("max_after", file.max_after, account.max_after, account.max_after < file.max_after),
        ):
            if wanted != enrolled:
                found.append(Disagreement(subaccount.id, key, wanted, enrolled, is_stricter))
    return tuple(found)


# Texts ----------------------------------------------------------------------------------------------------------------


def _health_text(health: Wad) -> str:
    """`1.15`, never rounded: two numbers that differ must not print the same."""
    whole, part = divmod(health, WAD)
    digits = f"{part:018}".rstrip("0")
    return f"{whole}.{digits:0<2}"


def _percent(value: Wad) -> str:
    """A WAD share with at most two decimals, `5.82 %`."""
    return _bps_percent(value * BPS // WAD)


def _bps_percent(bps: int) -> str:
    return f"{bps // 100}.{bps % 100:02}".removesuffix("0").removesuffix(".0") + " %"
