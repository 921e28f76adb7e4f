"""When a price is not believed: a second source says another one, or it jumped and nobody confirms that.

A protocol liquidates at its own oracle's price, whatever anybody else says, so a dispute never makes an account look
safer. Each price of it is taken for the worst that is said: the lowest of what it holds, the highest of what it owes.
Whoever is in need by that is helped, but by donors without debt alone. A second source that does not answer neither
agrees nor disagrees: were silence a veto, whoever can silence a pool could switch off the keeper. Nor does it take back
what it said: a dispute ends when the two agree, not when one of them falls silent.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from keeper.core.imagined import ImaginedMargin
from keeper.core.plan import Dispute, History, PriceOf
from keeper.core.policy import PriceLimits, Thresholds
from keeper.core.snapshot import NOTHING, Disputed, SecondPrice, Snapshot, Subaccount, SubaccountId, Token, Unknown
from keeper.core.units import BPS, WAD, Address, Wad, mul_div_down, mul_div_up

SIGNIFICANT = 6
"""So many digits of a price are told, however small it is."""


def disputes_in(snapshot: Snapshot, limits: PriceLimits, history: History) -> dict[SubaccountId, Dispute]:
    """The accounts with debt that rest on a disputed price, in the snapshot's order."""
    found: dict[SubaccountId, Dispute] = {}
    if not snapshot.second_prices and limits.jump_max_bps is None:
        return found
    for subaccount in snapshot.subaccounts:
        if subaccount.has_debt and not isinstance(subaccount.reading, Unknown):
            dispute = _dispute(subaccount, snapshot, limits, history)
            if dispute is not None:
                found[subaccount.id] = dispute
    return found


def prices_of(subaccount: Subaccount) -> dict[Token, Wad]:
    """What an account's protocol takes its tokens for, in its unit of account, which itself is left out."""
    unit = subaccount.unit
    priced = {debt.token: debt.price for debt in subaccount.debts}
    priced |= {line.token: line.price for line in subaccount.collateral if line.amount_raw}
    return {token: price for token, price in priced.items() if price and token != unit}


def worth_noting(snapshot: Snapshot) -> dict[PriceOf, Wad]:
    """What later cycles need to see a jump."""
    return {
        (subaccount.id, token.address): price
        for subaccount in snapshot.subaccounts
        if subaccount.has_debt and not isinstance(subaccount.reading, Unknown)
        for token, price in prices_of(subaccount).items()
    }


def last_said(snapshot: Snapshot, disputes: Mapping[SubaccountId, Dispute], history: History) -> dict[PriceOf, Wad]:
    """What second sources said last of the prices that they dispute, which holds until they agree: for the history of
    the next cycle. Of an account that cannot be read now it is what it was."""
    found = {(id, token): price for id, dispute in disputes.items() for token, price in dispute.said.items()}
    unknown = {each.id for each in snapshot.subaccounts if isinstance(each.reading, Unknown)}
    return found | {key: price for key, price in history.last_said.items() if key[0] in unknown}


def silent_seconds(snapshot: Snapshot) -> Iterator[tuple[SecondPrice, str]]:
    """The second sources that say nothing about some account's price now, and why."""
    for second in snapshot.second_prices:
        if second.price is None:
            yield second, second.problem
            continue
        for subaccount in snapshot.subaccounts:
            is_asked = subaccount.has_debt and second.token in prices_of(subaccount)
            if is_asked and opinion(second, subaccount, snapshot) is None:
                yield second, f"a price in USD is missing to compare it with what {subaccount.label} is priced by"
                break


def opinion(second: SecondPrice, subaccount: Subaccount, snapshot: Snapshot) -> Wad | None:
    """A second source's price in an account's unit of account, rounded down; None when it cannot be told."""
    unit = subaccount.unit
    if second.price is None or unit is None or second.quote == unit.address:
        return second.price
    quoted = WAD if second.quote is None else _usd(second.quote, snapshot)
    of_unit = _usd(unit.address, snapshot)
    return None if quoted is None or not of_unit else second.price * quoted // of_unit


def _usd(token: Address, snapshot: Snapshot) -> Wad | None:
    """USD per whole token, by its own second source where that is not another token's price."""
    second = next((one for one in snapshot.second_prices if one.token.address == token), None)
    if second is not None and second.price is not None:
        if second.quote is None:
            return second.price
        quoted = snapshot.usd_per_unit.get(second.quote)
        if quoted is not None:
            return second.price * quoted // WAD
    return snapshot.usd_per_unit.get(token)


def _dispute(subaccount: Subaccount, snapshot: Snapshot, limits: PriceLimits, history: History) -> Dispute | None:
    seconds = {one.token.address: one for one in snapshot.second_prices}
    unit = "USD" if subaccount.unit is None else subaccount.unit.symbol
    reasons: list[str] = []
    falls_bps: dict[Address, int] = {}
    said: dict[Address, Wad] = {}
    for token, price in prices_of(subaccount).items():
        second = seconds.get(token.address)
        other = None if second is None else opinion(second, subaccount, snapshot)
        before = None if second is None else history.last_said.get((subaccount.id, token.address))
        jumped_from = [
            seen
            for seen in _lately((subaccount.id, token.address), snapshot, limits, history)
            if _is_apart(price, seen, limits.jump_max_bps or BPS)
        ]
        if second is not None and other is not None:
            if not _is_apart(price, other, limits.disagreement_max_bps):
                continue  # a jump that somebody else saw as well is a move
            says = f"is {_text(price)} {unit} by its oracle and {_text(other)} by {second.source}"
            others = [other, *jumped_from]
            said[token.address] = other
        elif second is not None and before is not None:
            says = f"is {_text(price)} {unit} by its oracle and was {_text(before)} by {second.source}"
            says, others = f"{says}, which has not answered since", [before, *jumped_from]
            said[token.address] = before
        elif jumped_from:
            says = f"went from {_text(jumped_from[0])} to {_text(price)} {unit} within {limits.jump_seconds} s"
            says, others = f"{says}, and no second source confirms it", jumped_from
        else:
            continue
        reasons.append(f"{token.symbol} {says}")
        # To a whole basis point, rounded against the account.
        if token.address in subaccount.net_held:
            fall = BPS - min(price, *others) * BPS // price
        else:
            fall = BPS - mul_div_up(max(price, *others), BPS, price)
        if fall:
            falls_bps[token.address] = fall
    return Dispute(subaccount.id, tuple(reasons), falls_bps, said) if reasons else None


def _lately(price: PriceOf, snapshot: Snapshot, limits: PriceLimits, history: History) -> list[Wad]:
    """What it was at some time in the last `jump_seconds`, oldest first."""
    seen = history.prices.get(price, ())
    if limits.jump_max_bps is None or not seen:
        return []
    since = snapshot.block.timestamp - limits.jump_seconds
    # Each held until the next was seen; the last is known only until it was seen last, which is where it stands.
    ends = [*(one.at for one in seen[1:]), seen[-1].at]
    return [one.price for one, end in zip(seen, ends, strict=True) if end >= since]


def _is_apart(one: Wad, other: Wad, most_bps: int) -> bool:
    high, low = max(one, other), min(one, other)
    return (high - low) * BPS > high * most_bps


def _text(price: Wad) -> str:
    """`1,725.5`, `0.0000123456`: six significant digits, rounded down, whole numbers whole."""
    # Of a WAD, whose last 18 digits are decimals.
    dropped = min(max(len(str(price)) - SIGNIFICANT, 0), 18)
    whole, decimals = divmod(price // 10**dropped * 10**dropped, WAD)
    return f"{whole:,}.{decimals:018}".rstrip("0").rstrip(".")


# What follows from it -------------------------------------------------------------------------------------------------


def distrust(snapshot: Snapshot, disputes: Mapping[SubaccountId, Dispute]) -> Iterator[str]:
    """Why less is done than could be, as sentences."""
    if snapshot.sequencer_problem is not None:
        yield f"{snapshot.sequencer_problem}: nothing leaves an account with debt"
    accounts: dict[str, list[str]] = {}
    for id, dispute in disputes.items():
        accounts.setdefault(str(dispute), []).append(snapshot.subaccount(id).label)
    for reason, labels in accounts.items():
        yield f"disputed: {reason}; {', '.join(labels)}: gives nothing, and gets only from those without debt"
    for second, problem in silent_seconds(snapshot):
        yield f"nobody checks the price of {second.token.symbol}: {second.source}: {problem}"


def doubts(snapshot: Snapshot, disputes: Mapping[SubaccountId, Dispute]) -> dict[SubaccountId, str]:
    """Why what is read of accounts with debt is not to be relied on, by account."""
    found = {id: f"disputed: {dispute}" for id, dispute in disputes.items()}
    if snapshot.sequencer_problem is None:
        return found
    return {each.id: snapshot.sequencer_problem for each in snapshot.subaccounts if each.has_debt} | found


def worst_of(subaccount: Subaccount, dispute: Dispute) -> Subaccount:
    """The account as it stands if all that harms it is true."""
    margin = ImaginedMargin(subaccount.margin, dispute.falls_bps, NOTHING) if dispute.falls_bps else subaccount.margin
    return replace(subaccount, margin=margin, reading=Disputed(str(dispute)))


def as_judged(subaccount: Subaccount, limits: Thresholds, dispute: Dispute | None) -> tuple[Subaccount, Thresholds]:
    """The account and its thresholds as they are planned with: the worst of what is said, as far as the guard goes.

    The guard measures by the protocol's own price and refuses a rescue that ends above `max_after` by that. Where it
    would not even let the account reach its trigger by the worse price, its own oracle's is what can be acted on.
    """
    if dispute is None:
        return subaccount, limits
    worst = worst_of(subaccount, dispute)
    own, judged = (one.margin.risk().health_factor for one in (subaccount, worst))
    most, least = mul_div_down(limits.max_after, judged, max(own, 1)), max(limits.trigger, limits.survive)
    if most <= least:
        return replace(worst, margin=subaccount.margin), limits
    # Halfway, as in `enforced`, so that prices may move both ways until inclusion.
    return worst, limits if limits.target < most else replace(limits, target=(least + most) // 2)
