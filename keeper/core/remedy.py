"""What the owner can do for an account that nothing which may move helps: the cheapest first, in USD."""

from keeper.core.amounts import amount_text
from keeper.core.book import Account, Book, Way
from keeper.core.units import BPS, INFINITE_HEALTH, WAD, Wad, mul_div_down, mul_div_up
from keeper.core.verdict import Unfunded


def remedy(book: Book, account: Account, reached: Wad, usd_per_unit: Wad | None) -> Unfunded:
    """What an account needs, what was within reach of it, and each thing that alone brings it to its target.

    `usd_per_unit` is of its unit of account, None without a price: then nothing is said in USD.
    """
    target = account.limits.target
    tokens = [way for way in account.ways if not way.is_repayment]
    needs = [(way, book.need(account, way, target)) for way in tokens]
    able = [(way, need) for way, need in needs if need is not None and need <= _room(account, way)]
    value, parts = _repayment(book, account)
    ways_out = [(value, f"repay {parts}")] + [
        (_value_up(way, need), f"deposit {amount_text(need, way.token, is_rounded_up=True)}") for way, need in able
    ]
    said = ", or ".join(
        f"{what}{_usd(value, usd_per_unit)}" for value, what in sorted(ways_out, key=lambda one: one[0])
    )
    if not able:
        return Unfunded(0, "", f"no amount of its collateral helps: {said}")
    way, need = min(able, key=lambda one: _value_up(*one))
    what = f"what may move brings it to {health_text(reached)}; it needs {health_text(target)}"
    return Unfunded(need, way.token.symbol, f"{what}: {said}")


def _room(account: Account, way: Way) -> int:
    line = account.subaccount.line(way.token.address)
    return 0 if line is None else line.receivable_raw_max


def _value_up(way: Way, amount_raw: int) -> Wad:
    return mul_div_up(amount_raw, way.price, 10**way.token.decimals)


def _repayment(book: Book, account: Account) -> tuple[Wad, str]:
    """The debt whose repayment alone brings it to its target: its value in its unit of account, and the amounts."""
    risk = book.risk(account)
    bearable = mul_div_down(risk.collateral_value, WAD, account.limits.target)
    share = max(risk.debt_value - bearable, 0)
    if share == 0:
        return 0, "nothing"
    # Of several debts the same share of each.
    parts = (
        amount_text(mul_div_up(debt.amount_raw, share, risk.debt_value), debt.token, is_rounded_up=True)
        for debt in account.subaccount.debts
    )
    return share, " and ".join(parts)


def _usd(value: Wad, usd_per_unit: Wad | None) -> str:
    return "" if usd_per_unit is None else f" (${mul_div_up(value, usd_per_unit, WAD * WAD):,})"


def health_text(health: Wad) -> str:
    """`1.0412`, rounded down: a health just below a limit must not print as the limit."""
    if health >= INFINITE_HEALTH:
        return "∞"
    return f"{health // WAD}.{health % WAD // (WAD // BPS):04}"
