"""A small linear program, for the prices of what is scarce."""

from collections.abc import Sequence
from dataclasses import dataclass

PIVOTS_MAX = 300
TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Column:
    """Something to have more or less of."""

    cost: float
    entries: Sequence[tuple[int, float]]
    """What it takes of each row."""


def prices(columns: Sequence[Column], rows: int) -> list[float]:
    """What a row is worth when the columns are chosen for the least cost and no row gives more than 1: the duals.

    Dantzig's simplex. Stopped by the number of pivots; prices are then not the best, and none is below 0.
    """
    count = len(columns)
    table = [[0.0] * (count + rows + 1) for _ in range(rows)]
    objective = [column.cost for column in columns] + [0.0] * (rows + 1)
    for place, column in enumerate(columns):
        for row, entry in column.entries:
            table[row][place] = entry
    for row in range(rows):
        table[row][count + row] = table[row][-1] = 1.0
    for _ in range(PIVOTS_MAX):
        entering = min(range(count + rows), key=objective.__getitem__)
        ratios = [(row[-1] / row[entering], place) for place, row in enumerate(table) if row[entering] > TOLERANCE]
        if objective[entering] > -TOLERANCE or not ratios:
            break
        _, leaving = min(ratios)
        pivot = table[leaving][entering]
        base = table[leaving] = [value / pivot for value in table[leaving]]
        for place, row in enumerate(table):
            if row[entering] and place != leaving:
                table[place] = _without(row, base, row[entering])
        objective = _without(objective, base, objective[entering])
    return [max(price, 0.0) for price in objective[count : count + rows]]


def _without(row: Sequence[float], base: Sequence[float], times: float) -> list[float]:
    return [value - times * other for value, other in zip(row, base, strict=True)]
