"""Exact sizes from exact arithmetic: the smallest amount that reaches a health, the largest that leaves one standing.

A slack is an integer that is 0 or more while a condition holds. It is monotone in the amount but, with a contract's own
rounding in it, not quite linear: a straight line between two points gives the guess, and the slack itself decides.
Every answer was checked by the slack, and is within 2^-30 of the exact one, on the safe side.
"""

from collections.abc import Callable, Sequence

PRECISION_BITS = 30


def smallest(slack: Callable[[int], int], probe: int, most: int) -> int | None:
    """The smallest amount in [0, most] with a slack of 0 or more, for a slack that does not fall with the amount.

    `probe` is an amount large enough to show the slope. None when not even `most` suffices.
    """
    at_zero = slack(0)
    if at_zero >= 0:
        return 0
    probe = min(probe, most)
    slope = slack(probe) - at_zero if probe > 0 else 0
    if slope <= 0 or slack(most) < 0:
        return None
    guess = -(at_zero * probe // slope)
    _, enough = _narrowed(lambda amount: slack(amount) < 0, 0, most, guess)
    return enough


def largest(slacks: Callable[[int], Sequence[int]], most: int) -> int:
    """The largest amount in [0, most] with all slacks 0 or more, for slacks that do not rise with the amount.

    0 also when the conditions do not even hold with nothing taken.
    """
    if most <= 0:
        return 0
    at_most = slacks(most)
    if min(at_most) >= 0:
        return most
    at_zero = slacks(0)
    if min(at_zero) < 0:
        return 0
    guess = min(most * zero // (zero - end) for zero, end in zip(at_zero, at_most, strict=True) if end < 0)
    held, _ = _narrowed(lambda amount: min(slacks(amount)) >= 0, 0, most, guess)
    return held


def _narrowed(holds: Callable[[int], bool], low: int, high: int, guess: int) -> tuple[int, int]:
    """Where `holds` turns from true (at `low`) to false (at `high`): gallops away from the guess, then bisects."""
    precision = max(guess >> PRECISION_BITS, 1)
    step = precision
    at = guess
    while high - low > precision:
        if not low < at < high:
            at = (low + high) // 2
        if holds(at):
            low, at = at, at + step
        else:
            high, at = at, at - step
        step *= 2
    return low, high
