"""What every adapter must get right, checked against the real contracts.

A protocol brings a `Subject`: its adapter on a local chain, a way to shake it into random states, and the contracts'
own opinion. Its tests call the functions below with one.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Protocol

from keeper.core.snapshot import Horizon, Snapshot, Subaccount, SubaccountId, Unknown
from keeper.core.units import INFINITE_HEALTH, WAD, Address


class Subject(Protocol):
    """One protocol on a local chain. Numbers are the contracts' own, at the block of the latest `snapshot`."""

    def snapshot(self) -> Snapshot:
        """What the adapters read at the latest block."""
        ...

    def shake(self, random: Random) -> None:
        """Moves prices, time, collateral and debt, in and out of liquidation; mines at least one block."""
        ...

    def wait(self, seconds: int) -> None:
        """Lets interest run and nothing else, until a block that much later."""
        ...

    def accounts(self) -> list[SubaccountId]:
        """The subaccounts of this protocol."""
        ...

    def health(self, account: SubaccountId, delta_raw: int = 0) -> int:
        """The contracts' health, after collateral left (negative) or arrived (positive)."""
        ...

    def is_liquidatable(self, account: SubaccountId) -> bool:
        """Whether the protocol itself lets a stranger liquidate it."""
        ...

    def lets_leave(self, account: SubaccountId, amount_raw: int) -> bool:
        """Whether the protocol itself lets the holder take out that much collateral."""
        ...


def _accounts(subject: Subject, snapshot: Snapshot) -> Iterator[tuple[Subaccount, Address]]:
    """The protocol's subaccounts with the collateral token that is moved."""
    for id in subject.accounts():
        subaccount = snapshot.subaccount(id)
        assert not isinstance(subaccount.reading, Unknown), subaccount.reading
        yield subaccount, subaccount.collateral[0].token.address


def largest_movable(subaccount: Subaccount, token: Address) -> int:
    """The most that may leave by the adapter's own arithmetic, found by halving; -1 when not even nothing may."""
    line = subaccount.line(token)
    assert line is not None
    low, high = -1, line.amount_raw
    while low < high:
        middle = (low + high + 1) // 2
        if subaccount.margin.risk({token: -middle}).lets_collateral_leave:
            low = middle
        else:
            high = middle - 1
    return low


def check_arithmetic_in_random_states(subject: Subject, random: Random, states: int, grain_raw: int = 1) -> None:
    """The adapter's numbers are the contracts' to the wei, in every account of every state.

    Health as it is and after collateral moved; who may be liquidated; and the largest amount that may leave: it passes
    at the same block, `grain_raw` more (the least that is booked as more) is refused. Both sides of the liquidation
    line must be seen, or nothing was tested.
    """
    seen: set[bool] = set()
    for _ in range(states):
        subject.shake(random)
        for subaccount, token in _accounts(subject, subject.snapshot()):
            risk, largest = subaccount.margin.risk(), largest_movable(subaccount, token)
            assert risk.health_factor == subject.health(subaccount.id)
            assert risk.is_liquidatable is subject.is_liquidatable(subaccount.id)
            seen.add(risk.is_liquidatable)
            if largest > 0:
                assert subject.lets_leave(subaccount.id, largest)
            assert not subject.lets_leave(subaccount.id, max(largest, 0) + grain_raw)
            delta = random.choice((random.randint(1, 10**20), -random.randint(0, max(largest, 0))))
            assert subaccount.margin.risk({token: delta}).health_factor == subject.health(subaccount.id, delta)
    assert seen == {True, False}


def check_health_at_inclusion_is_a_bound(subject: Subject, random: Random, states: int) -> None:
    """With prices unchanged no account is worse at inclusion than was foretold, and hardly better.

    What was touched in the pinned block itself shows no rate; there the configured margin has to do.
    """
    for _ in range(states):
        subject.shake(random)
        margin = random.choice((0, WAD // 10))
        if margin == 0:
            subject.wait(1)
        seconds = random.choice((1, 12, 60, 600))
        before = subject.snapshot()
        subject.wait(seconds)
        for subaccount, _ in _accounts(subject, before):
            foretold = subaccount.margin.risk(horizon=Horizon(seconds, margin)).health_factor
            actual = subject.health(subaccount.id)
            assert foretold <= actual
            if actual < INFINITE_HEALTH:
                assert (actual - foretold) * 100_000 <= actual


def check_is_unknown(snapshot: Snapshot, account: SubaccountId, reason: str) -> None:
    """It is named, why as well, and nothing about it looks healthy or may be taken."""
    subaccount = snapshot.subaccount(account)
    assert isinstance(subaccount.reading, Unknown), subaccount.reading
    assert reason in subaccount.reading.reason
    assert subaccount.cannot_give
    assert all(line.movable_raw_max == 0 for line in subaccount.collateral)


def check_nothing_else_changed(before: Snapshot, after: Snapshot, *accounts: SubaccountId) -> None:
    """One bad contract is the problem of its own subaccounts."""
    others = [subaccount for subaccount in before.subaccounts if subaccount.id not in accounts]
    assert [replace(after.subaccount(other.id), margin=other.margin, debts=other.debts) for other in others] == others
