"""Whether a plan made anew differs from the batch on its way by enough to take its place.

Prices move in every block, and so do amounts: what differs by little is made dearer when it is stuck, not made anew.
"""

from collections.abc import Iterable, Mapping

from keeper.core.plan import Kind, Rescue
from keeper.core.snapshot import SubaccountId
from keeper.core.units import BPS, Address

MATERIAL_BPS = 1_000
"""An amount that differs by more than a tenth is another one; so is one that was not there."""

Move = tuple[SubaccountId, SubaccountId, Address, Kind]
"""Recipient, donor, token, kind."""
Moves = Mapping[Move, int]
"""Raw amounts."""


def moves(rescues: Iterable[Rescue]) -> Moves:
    """What rescues move, of each token from whom to whom."""
    found: dict[Move, int] = {}
    for rescue in rescues:
        for transfer in rescue.transfers:
            move = (rescue.recipient, transfer.donor, transfer.token.address, transfer.kind)
            found[move] = found.get(move, 0) + transfer.amount_raw
    return found


def differs(new: Moves, old: Moves) -> bool:
    """Whether any amount is materially another one."""
    return any(_is_other(new.get(move, 0), old.get(move, 0)) for move in {*new, *old})


def recipients(moved: Moves) -> frozenset[SubaccountId]:
    return frozenset(recipient for recipient, _, _, _ in moved)


def _is_other(one: int, other: int) -> bool:
    return abs(one - other) * BPS > max(one, other) * MATERIAL_BPS
