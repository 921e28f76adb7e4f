"""The optimum, proven by an integer program: what a plan is held against, in tests and benchmarks only.

Everything is on straight lines: a health is its value now plus a weight for each token times what comes or goes.
Amounts are whole tokens, healths are plain numbers, so that the solver sees numbers of like sizes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

from highspy import Highs, HighsModelStatus
from highspy.highs import highs_var

from keeper.core import economics
from keeper.core.imagined import after_transfers
from keeper.core.plan import Kind, Plan, Rescue, Stage, Transfer
from keeper.core.planner import RESCUES_PER_BATCH_MAX
from keeper.core.policy import DonorsOrder, Policy, SubaccountPolicy
from keeper.core.risk import cushion, health_at_cushion
from keeper.core.snapshot import NOTHING, Debt, Subaccount, SubaccountId
from keeper.core.stages import DUST_SHARE, TRANSFERS_PER_RESCUE_MAX
from keeper.core.triage import CUSHION_STEP
from keeper.core.units import WAD, Address, Wad
from scripts.benchmarks.books import Instance

SLACK = 1e-6
"""Of a limit: what the planner rounds, and what the solver tolerates."""
CENTS = 0.05
"""USD more from donors with debt for less gas."""
ROUNDING = 0.15
"""USD by which the planner may round what it takes from donors with debt."""


@dataclass(frozen=True, slots=True)
class _Line:
    """An account on straight lines."""

    subaccount: Subaccount
    settings: SubaccountPolicy
    now: float
    shocked: float
    initial: float
    weights: Mapping[Address, float]
    shocked_weights: Mapping[Address, float]
    initial_weights: Mapping[Address, float]
    repaid_weights: Mapping[Address, float]
    """What a whole token repaid takes off, as a share of all that is owed."""

    @property
    def id(self) -> SubaccountId:
        return self.subaccount.id

    @property
    def has_debt(self) -> bool:
        return self.subaccount.has_debt

    @property
    def takes(self) -> list[tuple[Address, bool]]:
        """The tokens that help it, and whether they do by repaying."""
        lines = [(line.token.address, False) for line in self.subaccount.collateral]
        return lines + [(debt.token.address, True) for debt in self.subaccount.debts]

    def movable(self, token: Address) -> float:
        line = self.subaccount.line(token)
        return 0 if line is None else min(line.movable_raw_max, line.amount_raw) / 10**line.token.decimals


def _line(subaccount: Subaccount, policy: Policy) -> _Line:
    settings = policy.subaccounts[subaccount.id]
    falls = {line.token.address: settings.shock_bps for line in subaccount.collateral}
    risk = subaccount.margin.risk(NOTHING, policy.inclusion)
    shocked = subaccount.margin.risk(NOTHING, policy.inclusion, falls)
    if not subaccount.has_debt:
        return _Line(subaccount, settings, 0, 0, 0, {}, {}, {}, {})
    weights: list[dict[Address, float]] = [{}, {}, {}]
    for line in subaccount.collateral:
        token, units = line.token.address, line.amount_raw / 10**line.token.decimals
        more = subaccount.margin.risk({token: line.amount_raw}, policy.inclusion)
        more_shocked = subaccount.margin.risk({token: line.amount_raw}, policy.inclusion, falls)
        for found, value in zip(
            weights,
            (
                more.collateral_value - risk.collateral_value,
                more_shocked.collateral_value - shocked.collateral_value,
                more.initial_collateral_value - risk.initial_collateral_value,
            ),
            strict=True,
        ):
            found[token] = value / risk.debt_value / units
    return _Line(
        subaccount,
        settings,
        risk.collateral_value / risk.debt_value,
        shocked.collateral_value / shocked.debt_value,
        risk.initial_collateral_value / risk.initial_debt_value,
        weights[0],
        weights[1],
        weights[2],
        {debt.token.address: _share_of_a_token(subaccount, debt, policy) for debt in subaccount.debts},
    )


def _share_of_a_token(subaccount: Subaccount, debt: Debt, policy: Policy) -> float:
    half = debt.amount_raw // 2
    owed = subaccount.margin.risk(NOTHING, policy.inclusion).debt_value
    left = subaccount.margin.risk(NOTHING, policy.inclusion, NOTHING, {debt.token.address: half}).debt_value
    return (owed - left) / owed / (half / 10**debt.token.decimals)


def _lines(instance: Instance) -> dict[SubaccountId, _Line]:
    return {one.id: _line(one, instance.policy) for one in instance.snapshot.subaccounts}


_Way = tuple[SubaccountId, SubaccountId, Address, bool]
"""From, to, what, and whether it repays."""


class _Program:
    """What moves on which way, and what holds whatever is wanted."""

    def __init__(self, instance: Instance, lines: Mapping[SubaccountId, _Line], ways: list[_Way], seconds: float):
        self.highs = Highs()
        self.highs.setOptionValue("output_flag", False)
        self.highs.setOptionValue("threads", 1)
        self.highs.setOptionValue("mip_rel_gap", 0.0)
        self.highs.setOptionValue("time_limit", seconds)
        self.amounts: dict[_Way, highs_var] = {}
        self.is_used: dict[_Way, highs_var] = {}
        for way in ways:
            most = lines[way[0]].movable(way[2])
            self.amounts[way] = self.highs.addVariable(0, most)
            self.is_used[way] = self.highs.addBinary()
            self.highs.addConstr(self.amounts[way] <= most * self.is_used[way])
        for donor in {way[0] for way in ways}:
            for token in {way[2] for way in ways if way[0] == donor}:
                out = [amount for way, amount in self.amounts.items() if (way[0], way[2]) == (donor, token)]
                self.highs.addConstr(self.highs.qsum(out) <= lines[donor].movable(token))
        decimals = {
            line.token.address: line.token.decimals for one in lines.values() for line in one.subaccount.collateral
        }
        assert instance.snapshot.guard is not None
        for token in {way[2] for way in ways}:
            moved = [amount for way, amount in self.amounts.items() if way[2] == token]
            cap = instance.snapshot.guard.remaining_cap_raw.get(token, 0) / 10 ** decimals[token]
            self.highs.addConstr(self.highs.qsum(moved) <= cap)

    def ways(self, *, out_of: SubaccountId | None = None, into: SubaccountId | None = None) -> list[_Way]:
        return [way for way in self.amounts if out_of in (None, way[0]) and into in (None, way[1])]

    def weighed(self, ways: list[_Way], weights: Mapping[Address, float]):
        return self.highs.qsum([weights[way[2]] * self.amounts[way] for way in ways])

    def helped(self, ways: list[_Way], line: _Line, health: float):
        """What ways add to an account that ends at a health: of a repayment as much as it no longer has to cover."""
        return self.highs.qsum([_help(line, way, health) * self.amounts[way] for way in ways])

    def is_optimal(self) -> bool:
        return self.highs.getModelStatus() == HighsModelStatus.kOptimal


def _help(line: _Line, way: _Way, health: float) -> float:
    return health * line.repaid_weights[way[2]] if way[3] else line.weights[way[2]]


# Who can be saved -----------------------------------------------------------------------------------------------------


def least_loss(instance: Instance, seconds: float = 60) -> dict[int, float] | None:
    """USD whose loss is avoided at most, by tier of priority, the highest first; None when the time did not suffice.

    Of those in need, who end at or above `survive`. Every donor with debt keeps its hard floor, what its protocol
    demands, and the cushion with which whom it saves survives.
    """
    lines = _lines(instance)
    needs = [line for line in lines.values() if _is_in_need(line)]
    dying = {line.id for line in needs if line.now < line.settings.thresholds.survive / WAD}
    losses = {line.id: (economics.loss_usd(instance.snapshot, line.subaccount) or 0) / WAD for line in needs}
    ways = [
        (donor.id, id, token, is_repayment)
        for id in dying
        for token, is_repayment in lines[id].takes
        for donor in lines.values()
        if donor.id != id and donor.movable(token) > 0 and _may_give(donor, Stage.LAST_STAND)
    ]
    program = _Program(instance, lines, ways, seconds)
    highs = program.highs
    lives = {line.id: highs.addBinary() for line in needs}
    gives = {id: highs.addBinary() for id in {way[0] for way in ways}}
    for id in dying:
        into, line = program.ways(into=id), lines[id]
        survive = line.settings.thresholds.survive / WAD
        highs.addConstr(program.helped(into, line, survive) >= (survive - line.now) * lives[id])
        highs.addConstr(highs.qsum([program.is_used[way] for way in into]) <= TRANSFERS_PER_RESCUE_MAX * lives[id])
        if id in gives:
            highs.addConstr(lives[id] + gives[id] <= 1)
    highs.addConstr(highs.qsum([lives[id] for id in dying]) <= RESCUES_PER_BATCH_MAX)
    for id, is_giving in gives.items():
        out, donor = program.ways(out_of=id), lines[id]
        for way in out:
            highs.addConstr(program.is_used[way] <= is_giving)
        if not donor.has_debt:
            continue
        lost, limits = program.weighed(out, donor.weights), donor.settings.thresholds
        highs.addConstr(lost <= donor.now - limits.hard_floor / WAD)
        highs.addConstr(program.weighed(out, donor.initial_weights) <= donor.initial - 1)
        for way in out:
            saved = lines[way[1]].settings
            keep = _health_at(cushion(saved.thresholds.survive, saved.shock_bps), donor.settings)
            highs.addConstr(lost <= donor.now - keep + keep * (1 - program.is_used[way]))
        if id in lives and id not in dying:
            highs.addConstr(lost <= donor.now - limits.survive / WAD + 2 * (1 - lives[id]))
    found: dict[int, float] = {}
    for tier in sorted({line.settings.priority for line in needs}, reverse=True):
        avoided = highs.qsum([losses[line.id] * lives[line.id] for line in needs if line.settings.priority == tier])
        highs.maximize(avoided)
        if not program.is_optimal():
            return None
        found[tier] = highs.val(avoided)
        highs.addConstr(avoided >= found[tier] * (1 - SLACK) - SLACK)
    return found


def avoided_loss(instance: Instance, plan: Plan) -> dict[int, float]:
    """The same of a plan, by what it leads to."""
    after = after_transfers(instance.snapshot, _transfers(plan))
    found: dict[int, float] = {}
    for line in (line for line in _lines(instance).values() if _is_in_need(line)):
        risk = after.subaccount(line.id).margin.risk(NOTHING, instance.policy.inclusion)
        lives = risk.health_factor >= line.settings.thresholds.survive
        loss = (economics.loss_usd(instance.snapshot, line.subaccount) or 0) / WAD
        found[line.settings.priority] = found.get(line.settings.priority, 0) + loss * lives
    return found


def _is_in_need(line: _Line) -> bool:
    return line.has_debt and line.now < line.settings.thresholds.trigger / WAD and economics.equity(line.subaccount) > 0


def _may_give(donor: _Line, stage: Stage) -> bool:
    limits = donor.settings.thresholds
    return not donor.has_debt or donor.now > (limits.floor if stage is Stage.NORMAL else limits.hard_floor) / WAD


def _health_at(wanted: Wad, settings: SubaccountPolicy) -> float:
    return health_at_cushion(wanted, settings.shock_bps) / WAD


def _transfers(plan: Plan) -> list[Transfer]:
    return list(chain.from_iterable(rescue.transfers for rescue in plan.rescues))


# From whom and for how much gas ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LeastCost:
    indebted: float
    """USD from donors with debt, when they come last; infinite when nothing was found, also when nothing can be."""
    gas: float
    """The least found with that."""
    bound: float
    """Less is not possible."""


def transfer_gas(plan: Plan) -> int:
    return sum(economics.transfer_gas(transfer.donor, transfer.kind) for transfer in _transfers(plan))


def indebted_capital(instance: Instance, plan: Plan) -> float:
    """USD that donors with debt give, as the recipients' prices have it."""
    lines = _lines(instance)
    return sum(
        _price(instance, lines[one.recipient], one.token.address, one.is_repayment)
        * one.amount_raw
        / 10**one.token.decimals
        for one in _transfers(plan)
        if lines[one.donor].has_debt
    )


def _price(instance: Instance, line: _Line, token: Address, is_repayment: bool) -> float:
    """USD of a whole token as an account counts it."""
    debt, held = line.subaccount.debt(token), line.subaccount.line(token)
    price = debt.price if is_repayment and debt else held.price if held else 0
    unit = line.subaccount.unit
    return price * (instance.snapshot.usd_per_unit[unit.address] if unit else WAD) / WAD**2


def least_cost(instance: Instance, plan: Plan, seconds: float = 60) -> LeastCost:
    """The least for which the plan's recipients can be brought where it brings them.

    The problem at the head of keeper.core.sourcing, its first two wishes.
    """
    lines = _lines(instance)
    rescues = {rescue.recipient: rescue for rescue in plan.rescues}
    healths = _healths_after(instance, plan)
    is_debt_free_first = instance.policy.donors_order is DonorsOrder.DEBT_FREE_FIRST
    ways = [
        way
        for rescue in plan.rescues
        for token, is_repayment in lines[rescue.recipient].takes
        for donor in lines.values()
        for way in [(donor.id, rescue.recipient, token, is_repayment)]
        if donor.id not in rescues and donor.movable(token) > 0 and _may_give(donor, rescue.stage)
        if donor.has_debt or not is_debt_free_first or not _is_dust(lines, way, healths[rescue.recipient] / WAD)
    ]
    program = _Program(instance, lines, ways, seconds)
    highs = program.highs
    for id in rescues:
        into, line, reached = program.ways(into=id), lines[id], healths[id] / WAD
        highs.addConstr(program.helped(into, line, reached) >= (reached - line.now) * (1 - SLACK))
        highs.addConstr(highs.qsum([program.is_used[way] for way in into]) <= TRANSFERS_PER_RESCUE_MAX)
    for donor in (line for line in lines.values() if line.has_debt):
        out = program.ways(out_of=donor.id)
        normal = [way for way in out if rescues[way[1]].stage is Stage.NORMAL]
        for way in out:
            rescue, saved = rescues[way[1]], lines[way[1]]
            level = _health_at(cushion(healths[saved.id], saved.settings.shock_bps), donor.settings)
            if _is_in_need(donor):
                level = max(level, _kept_by_one_in_need(donor, healths[donor.id]))
            taken = normal if rescue.stage is Stage.NORMAL else out
            for weights, room in _rooms(donor, rescue, level * (1 - SLACK)):
                highs.addConstr(program.weighed(taken, weights) <= room + 10 * (1 - program.is_used[way]))
    indebted = 0.0
    if is_debt_free_first:
        taken = [way for way in ways if lines[way[0]].has_debt]
        worth = highs.qsum([_price(instance, lines[way[1]], way[2], way[3]) * program.amounts[way] for way in taken])
        highs.minimize(worth)
        if not program.is_optimal():
            return LeastCost(float("inf"), float("inf"), 0)
        indebted = highs.val(worth)
        highs.addConstr(worth <= indebted * (1 + SLACK) + CENTS)
    gas = highs.qsum(
        [economics.transfer_gas(way[0], _kind(way)) / 1000 * used for way, used in program.is_used.items()]
    )
    highs.minimize(gas)
    info = highs.getInfo()
    if not program.is_optimal() and info.primal_solution_status != 2:
        return LeastCost(indebted, float("inf"), max(info.mip_dual_bound, 0) * 1000)
    bound = highs.val(gas) if program.is_optimal() else info.mip_dual_bound
    return LeastCost(indebted, round(highs.val(gas)) * 1000, bound * 1000)


def _is_dust(lines: Mapping[SubaccountId, _Line], way: _Way, health: float) -> bool:
    """Whether it brings less than a hundredth of what is missing."""
    donor, saved = lines[way[0]], lines[way[1]]
    return donor.movable(way[2]) * _help(saved, way, health) * DUST_SHARE < health - saved.now


def _healths_after(instance: Instance, plan: Plan) -> dict[SubaccountId, Wad]:
    after = after_transfers(instance.snapshot, _transfers(plan))
    return {one.id: one.margin.risk(NOTHING, instance.policy.inclusion).health_factor for one in after.subaccounts}


def _kept_by_one_in_need(donor: _Line, health: Wad) -> float:
    least = cushion(min(health, donor.settings.thresholds.trigger), donor.settings.shock_bps)
    return _health_at(least // CUSHION_STEP * CUSHION_STEP, donor.settings)


def _rooms(donor: _Line, rescue: Rescue, level: float) -> list[tuple[Mapping[Address, float], float]]:
    """What may be lost of each health."""
    limits = donor.settings.thresholds
    demanded = (donor.initial_weights, donor.initial - 1)
    if rescue.stage is Stage.LAST_STAND:
        return [(donor.weights, donor.now - max(limits.hard_floor / WAD, level)), demanded]
    return [
        (donor.weights, donor.now - max(limits.floor / WAD, level)),
        (donor.shocked_weights, donor.shocked - limits.trigger / WAD),
        demanded,
    ]


def _kind(way: _Way) -> Kind:
    if way[3]:
        return Kind.REPAY
    return Kind.NATIVE if way[0].protocol == way[1].protocol else Kind.CROSS


# What others would do -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Greedy:
    gas: int
    short: int
    """Rescues for which not enough was left; what they did get is counted."""

    def __add__(self, other: "Greedy") -> "Greedy":
        return Greedy(self.gas + other.gas, self.short + other.short)


def greedy(instance: Instance, plan: Plan, *, is_best_fit: bool) -> Greedy:
    """When every rescue in turn takes from the donor that can give most, or first from one that just suffices."""
    lines, healths = _lines(instance), _healths_after(instance, plan)
    recipients = {rescue.recipient for rescue in plan.rescues}
    taken: dict[tuple[SubaccountId, Address], float] = {}
    gas = short = 0
    for rescue in plan.rescues:
        amounts: dict[tuple[Address, bool], float] = {}
        for transfer in rescue.transfers:
            way = transfer.token.address, transfer.is_repayment
            amounts[way] = amounts.get(way, 0) + transfer.amount_raw / 10**transfer.token.decimals
        for (token, is_repayment), amount in amounts.items():
            donors = [one for one in lines.values() if one.id not in recipients and one.movable(token) > 0]
            rest = amount
            while rest > amount * SLACK:
                saved = lines[rescue.recipient]
                level = cushion(healths[saved.id], saved.settings.shock_bps)
                rooms = [(_room(donor, rescue, token, level, taken), donor) for donor in donors]
                rooms = [(room, donor) for room, donor in rooms if room > rest * SLACK]
                if not rooms:
                    short += 1
                    break
                fitting = [one for one in rooms if one[0] >= rest] if is_best_fit else []
                key = min if fitting else max
                room, donor = key(fitting or rooms, key=lambda one: (one[0], one[1].id))
                given = min(room, rest)
                taken[donor.id, token] = taken.get((donor.id, token), 0) + given
                rest -= given
                way = (donor.id, rescue.recipient, token, is_repayment)
                gas += economics.transfer_gas(donor.id, _kind(way))
    return Greedy(gas, short)


def _room(
    donor: _Line, rescue: Rescue, token: Address, level: Wad, taken: Mapping[tuple[SubaccountId, Address], float]
) -> float:
    gone = taken.get((donor.id, token), 0)
    left = donor.movable(token) - gone
    if not donor.has_debt:
        return left
    rows = _rooms(donor, rescue, _health_at(level, donor.settings))
    return min([left, *(room / weights[token] - gone for weights, room in rows if weights[token])])
