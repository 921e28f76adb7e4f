"""Where every account stands while a plan grows.

A book holds what moved so far; every question is answered by the accounts' own exact arithmetic with those moves in it,
so a later rescue never counts on what an earlier one took. Healths are at the expected inclusion.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from keeper.core import sizing
from keeper.core.plan import Transfer
from keeper.core.policy import SubaccountPolicy, Thresholds
from keeper.core.risk import Risk, cushion
from keeper.core.snapshot import NOTHING, Fresh, FreshnessUnverified, Horizon, Subaccount, SubaccountId, Token
from keeper.core.units import BPS, WAD, Address, Wad

UINT128_MAX = 2**128 - 1
"""Amounts are uint128 in the guard."""
DEBT_KEPT_SHARE = 100
"""A hundredth of a debt is never repaid: interest rounds, a repayment of more than is owed reverts, and an account
without debt is above what the guard lets a rescue end at."""


@dataclass(frozen=True, slots=True)
class Way:
    """How an account can be helped: with more of one of its collaterals, or with less of one of its debts."""

    token: Token
    price: Wad
    """Of a whole token, in the account's unit of account; capital is counted by it."""
    is_repayment: bool = False

    def __hash__(self) -> int:
        # A string keeps its hash, and a search looks ways up by the ten thousand.
        return hash(self.token.address)

    def value(self, amount_raw: int) -> Wad:
        """The capital that an amount is, WAD in the account's unit of account, rounded down."""
        return amount_raw * self.price // 10**self.token.decimals


@dataclass(slots=True, eq=False)
class Account:
    """A subaccount with what holds for it: its policy, the guard's limits already in `limits`.

    Equal only to itself: what was found out about it is looked up by the ten thousand. Never changed, and not frozen
    only because that takes each account of a wallet twice as long to make.
    """

    subaccount: Subaccount
    settings: SubaccountPolicy
    limits: Thresholds
    falls_bps: Mapping[Address, int]
    """Its own shock, on every asset that backs it."""
    repayable: frozenset[Address] = frozenset()
    """The tokens that the guard knows of it: what it owes of them may be repaid."""
    usd: Wad = WAD
    """USD of its unit of account, to compare capital; WAD for every account when one of them is not known."""
    # These follow from the others; they are kept because a plan asks for them by the ten thousand.
    id: SubaccountId = field(init=False)
    has_debt: bool = field(init=False)
    is_trusted: bool = field(init=False)
    """Whether its prices are good enough to take from an account with debt because of them."""
    ways: tuple[Way, ...] = field(init=False)
    """Its collaterals, then its debts that may be repaid."""

    def __post_init__(self) -> None:
        lines = [Way(line.token, line.price) for line in self.subaccount.collateral]
        debts = [debt for debt in self.subaccount.debts if debt.token.address in self.repayable]
        self.ways = (*lines, *(Way(debt.token, debt.price, is_repayment=True) for debt in debts))
        self.id = self.subaccount.id
        self.has_debt = self.subaccount.has_debt
        self.is_trusted = self._is_trusted()

    def _is_trusted(self) -> bool:
        match self.subaccount.reading:
            case Fresh():
                return True
            case FreshnessUnverified():
                return self.settings.accept_unchecked_age
            case _:
                return False

    def capital(self, way: Way, amount_raw: int) -> int:
        """What an amount on a way is worth, in one measure for all accounts (WAD), rounded down."""
        return way.value(amount_raw) * self.usd // WAD

    def cushion(self, health: Wad) -> Wad:
        return cushion(health, self.settings.shock_bps)


class Keep(NamedTuple):
    """What a donor with debt must be left with."""

    health: Wad
    health_after_shock: Wad = 0


Moves = dict[tuple[SubaccountId, Address], int]
"""Raw units by account and token."""


class _Known:
    """What was worked out before. It depends on nothing but the account, what already moved in it, and the question, so
    all forks share it: a plan asks the same of the same accounts again and again."""

    __slots__ = ("mosts", "needs", "risks", "without")

    def __init__(self) -> None:
        self.risks: dict[tuple[Account, tuple[int, ...], bool], Risk] = {}
        self.without: dict[tuple[Account, tuple[int, ...], Address, int, bool], Risk] = {}
        self.mosts: dict[tuple[Account, tuple[int, ...], Address, int, Keep], int] = {}
        self.needs: dict[tuple[Account, tuple[int, ...], Way, Wad], int | None] = {}


class Book:
    """The moves of a plan in progress, on top of one snapshot."""

    __slots__ = (
        "_asked_raw", "_caps_raw", "_horizon", "_known", "_margin_bps", "_moves", "_repaid",
        "donors", "given", "received",
    )  # fmt: skip

    def __init__(self, donors: Sequence[Account], caps_raw: Mapping[Address, int], horizon: Horizon, margin_bps: int):
        self.donors: dict[Address, list[Account]] = {}
        """The accounts that may give at all, whatever their margin says, by token."""
        for donor in donors:
            for line in donor.subaccount.collateral:
                if min(line.movable_raw_max, line.amount_raw) > 0:
                    self.donors.setdefault(line.token.address, []).append(donor)
        self.received = frozenset[SubaccountId]()
        """What an earlier rescue of this plan left is not taken away again."""
        self.given = frozenset[SubaccountId]()
        """Who gave is not filled up again in the same plan: that would only move collateral through it."""
        self._caps_raw = dict(caps_raw)
        self._asked_raw: Mapping[Address, int] | None = None
        self._horizon = horizon
        self._margin_bps = margin_bps
        self._moves: Moves = {}
        """What came in of collateral (negative: left)."""
        self._repaid: Moves = {}
        """Apart, because a token may be collateral and debt of one account."""
        self._known = _Known()

    def asked(self, most_raw: Mapping[Address, int]) -> "Book":
        """A copy for those who take no more than that of a token in all, so that nobody needs to be able to give more:
        whoever can is looked at once."""
        asked_raw = {token: -(-amount * BPS // (BPS - self._margin_bps)) + 1 for token, amount in most_raw.items()}
        return self.fork(asked_raw)

    def fork(self, asked_raw: Mapping[Address, int] | None = None) -> "Book":
        """A copy to try something on."""
        copy = Book((), self._caps_raw, self._horizon, self._margin_bps)
        copy.donors, copy._asked_raw = self.donors, asked_raw or self._asked_raw
        copy.received, copy.given = self.received, self.given
        copy._moves, copy._repaid = dict(self._moves), dict(self._repaid)
        copy._known = self._known
        return copy

    def move(self, transfer: Transfer) -> None:
        token, amount = transfer.token.address, transfer.amount_raw
        arrived = self._repaid if transfer.is_repayment else self._moves
        self._moves[transfer.donor, token] = self._moves.get((transfer.donor, token), 0) - amount
        arrived[transfer.recipient, token] = arrived.get((transfer.recipient, token), 0) + amount
        self._caps_raw[token] = self._caps_raw.get(token, 0) - amount
        self.received |= {transfer.recipient}
        self.given |= {transfer.donor}

    # Margin -----------------------------------------------------------------------------------------------------------

    def risk(
        self,
        account: Account,
        token: Address | None = None,
        change: int = 0,
        *,
        repaid: int = 0,
        is_shocked: bool = False,
    ) -> Risk:
        """The risk at the expected inclusion, with a further change of one token, or a further repayment in it."""
        if not change and not repaid:
            key = account, self._moved(account), is_shocked
            known = self._known.risks.get(key)
            if known is None:
                known = self._known.risks[key] = self._risk(account, {}, {}, is_shocked=is_shocked)
            return known
        assert token is not None
        deltas, repayments = {token: change} if change else {}, {token: repaid} if repaid else {}
        return self._risk(account, deltas, repayments, is_shocked=is_shocked)

    def _risk(
        self, account: Account, deltas: dict[Address, int], repayments: dict[Address, int], *, is_shocked: bool
    ) -> Risk:
        if self._has_moved(account):
            for line in account.subaccount.collateral:
                token = line.token.address
                moved = self._moves.get((account.id, token), 0)
                if moved:
                    deltas[token] = deltas.get(token, 0) + moved
            for debt in account.subaccount.debts:
                token = debt.token.address
                before = self._repaid.get((account.id, token), 0)
                if before:
                    repayments[token] = repayments.get(token, 0) + before
        falls = account.falls_bps if is_shocked else NOTHING
        return account.subaccount.margin.risk(deltas, self._horizon, falls, repayments)

    def _moved(self, account: Account) -> tuple[int, ...]:
        """What moved in it so far: of its collaterals, then of its debts."""
        if not self._has_moved(account):
            return ()
        return (
            *(self._moves.get((account.id, line.token.address), 0) for line in account.subaccount.collateral),
            *(self._repaid.get((account.id, debt.token.address), 0) for debt in account.subaccount.debts),
        )

    def helped(self, account: Account, way: Way, amount: int) -> Risk:
        """The risk once so much more came in on one way."""
        if way.is_repayment:
            return self.risk(account, way.token.address, repaid=amount)
        return self.risk(account, way.token.address, amount)

    def health(self, account: Account) -> Wad:
        return self.risk(account).health_factor

    # Amounts ----------------------------------------------------------------------------------------------------------

    def room(self, account: Account, way: Way) -> int:
        """What may still arrive: the protocol's limit, or what may be repaid of the debt, and the guard's cap."""
        return max(min(self._limit(account, way), self.cap(way.token.address), UINT128_MAX), 0)

    def _limit(self, account: Account, way: Way) -> int:
        token = way.token.address
        if way.is_repayment:
            debt = account.subaccount.debt(token)
            owed = 0 if debt is None else debt.amount_raw
            return owed - -(-owed // DEBT_KEPT_SHARE) - self._repaid.get((account.id, token), 0)
        line = account.subaccount.line(token)
        return 0 if line is None else line.receivable_raw_max - self._moves.get((account.id, token), 0)

    def cap(self, token: Address) -> int:
        """What the guard lets move of a token besides what moved."""
        return self._caps_raw.get(token, 0)

    def available(self, account: Account, token: Address) -> int:
        """What its protocol and permissions let leave, whatever its margin says."""
        line = account.subaccount.line(token)
        if line is None:
            return 0
        available = min(line.movable_raw_max, line.amount_raw)
        return max(available + self._moves.get((account.id, token), 0), 0) if self._has_moved(account) else available

    def within_reach(self, account: Account, token: Address) -> int:
        """That, and no more than is asked of all; of an account that is asked for several tokens all of it, as what one
        takes of its margin is told as a share of what it could give of another."""
        available = self.available(account, token)
        asked = self._asked_raw
        if asked is None or sum(line.token.address in asked for line in account.subaccount.collateral) > 1:
            return available
        return min(available, asked.get(token, 0))

    def risk_without(self, account: Account, token: Address, amount: int, *, is_shocked: bool) -> Risk:
        """The risk once so much has left, for an amount that is asked about again: all that is within reach."""
        key = account, self._moved(account), token, amount, is_shocked
        known = self._known.without.get(key)
        if known is None:
            known = self._known.without[key] = self.risk(account, token, -amount, is_shocked=is_shocked)
        return known

    def need(self, account: Account, way: Way, health: Wad) -> int | None:
        """The smallest amount that brings it to a health on this way; None when no amount on this way does."""
        key = account, self._moved(account), way, health
        if key not in self._known.needs:
            self._known.needs[key] = self._need(account, way, health)
        return self._known.needs[key]

    def _need(self, account: Account, way: Way, health: Wad) -> int | None:
        if way.is_repayment:
            probe = most = max(self._limit(account, way), 0)
        else:
            line = account.subaccount.line(way.token.address)
            if line is None:
                return None
            probe, most = max(line.amount_raw, 10**line.token.decimals), UINT128_MAX
        return sizing.smallest(lambda amount: _slack(self.helped(account, way, amount), health), probe, most)

    def spare(self, account: Account, token: Address, keep: Keep) -> int:
        """`most`, less the margin for a later block, of all that it gives in this plan; all of `most` without debt, or
        where its margin would let more than so much leave than there is."""
        most = self.most(account, token, keep)
        if not account.has_debt or not most:
            return most
        given = self._given(account, token)
        if most == self.available(account, token) and self._may_lose_more(account, token, most, keep, given):
            return most
        return max((given + most) * (BPS - self._margin_bps) // BPS - given, 0)

    def can_spare(self, account: Account, token: Address, keep: Keep, amount: int) -> bool:
        """Whether one look shows that it can spare so much; where none does, `spare` has to be worked out."""
        given = self._given(account, token)
        most = -(-(given + amount) * BPS // (BPS - self._margin_bps)) - given
        return most <= self.available(account, token) and min(self._kept(account, token, most, keep)) >= 0

    def _may_lose_more(self, account: Account, token: Address, most: int, keep: Keep, given: int) -> bool:
        """Whether its margin alone would let more leave than there is, by the margin for a later block."""
        now, then = self._kept(account, token, 0, keep), self._kept(account, token, most, keep)
        return all(
            (given * (slack - left) + most * slack) * (BPS - self._margin_bps) >= (given + most) * (slack - left) * BPS
            for slack, left in zip(now, then, strict=True)
        )

    def most(self, account: Account, token: Address, keep: Keep) -> int:
        """The largest amount that may leave at the expected inclusion while the account keeps what it must, of what is
        within reach."""
        reach = self.within_reach(account, token) if account.has_debt else self.available(account, token)
        if not account.has_debt or not reach:
            return reach
        key = account, self._moved(account), token, reach, keep
        known = self._known.mosts.get(key)
        if known is None:
            known = self._known.mosts[key] = sizing.largest(
                lambda amount: self._kept(account, token, amount, keep, is_all=amount == reach), reach
            )
        return known

    def _given(self, account: Account, token: Address) -> int:
        return max(-self._moves.get((account.id, token), 0), 0) if self._has_moved(account) else 0

    def _has_moved(self, account: Account) -> bool:
        return bool(self.received) and (account.id in self.given or account.id in self.received)

    def _kept(
        self, account: Account, token: Address, amount: int, keep: Keep, *, is_all: bool = False
    ) -> tuple[int, ...]:
        """The slacks of what it must keep once so much has left."""

        def risk(*, is_shocked: bool) -> Risk:
            if is_all:
                return self.risk_without(account, token, amount, is_shocked=is_shocked)
            return self.risk(account, token, -amount, is_shocked=is_shocked)

        calm = risk(is_shocked=False)
        slacks = (_slack(calm, keep.health), calm.initial_collateral_value - calm.initial_debt_value)
        return (*slacks, _slack(risk(is_shocked=True), keep.health_after_shock)) if keep.health_after_shock else slacks


def _slack(risk: Risk, health: Wad) -> int:
    return risk.collateral_value * WAD - risk.debt_value * health
