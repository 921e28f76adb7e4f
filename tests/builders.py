"""Values for tests that show only what matters: every argument left out is something unremarkable.

Quantities are written as people write them, in strings: `a_subaccount("a", weth="10", health="1.04")`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from keeper.core.imagined import after_transfers
from keeper.core.plan import Plan
from keeper.core.policy import AccountSettings, DonorsOrder, Pair, Policy, PolicySettings, resolve
from keeper.core.risk import Risk
from keeper.core.snapshot import (
    NOTHING,
    NOW,
    Block,
    CollateralLine,
    Debt,
    Fresh,
    GuardAccount,
    GuardProtocol,
    GuardState,
    Horizon,
    Reading,
    Snapshot,
    Subaccount,
    SubaccountId,
    Token,
)
from keeper.core.units import BPS, WAD, YEAR_SECONDS, Address, Wad

OWNER = Address("0x" + "0e" * 20)
GUARD = Address("0x" + "9a" * 20)
KEEPER = Address("0x" + "ee" * 20)
MORPHO = Address("0x" + "b1" * 20)

WETH = Token(Address("0x" + "01" * 20), "WETH", 18)
WBTC = Token(Address("0x" + "02" * 20), "WBTC", 8)
USDC = Token(Address("0x" + "03" * 20), "USDC", 6)
DAI = Token(Address("0x" + "04" * 20), "DAI", 18)
WSTETH = Token(Address("0x" + "05" * 20), "wstETH", 18)

USD = {
    WETH.address: 2000 * WAD,
    WBTC.address: 60_000 * WAD,
    USDC.address: WAD,
    DAI.address: WAD,
    WSTETH.address: 2400 * WAD,
}
NOON = 1_800_000_000
UNLIMITED_RAW = 2**128 - 1
HARMLESS_LIMIT = 10**18 + 1
"""A guard limit so low that no threshold of a test meets it."""


def wad(text: str) -> Wad:
    return int(Decimal(text) * WAD)


def raw(token: Token, text: str) -> int:
    return int(Decimal(text) * 10**token.decimals)


@dataclass(frozen=True, slots=True)
class Holding:
    """One collateral of a `LinearMargin`."""

    amount_raw: int
    price: int
    """Raw units of debt for 10^36 raw units of it, as Morpho's oracles answer."""
    lltv: Wad
    initial_lltv: Wad


@dataclass(frozen=True, slots=True)
class LinearMargin:
    """Exact margin with the rounding of Morpho._isHealthy (morpho-blue 1.0.0), for any number of collaterals."""

    holdings: Mapping[Address, Holding]
    debt_raw: int
    debt_token: Address = USDC.address
    debt_decimals: int = 6
    rate: Wad = 0
    """Interest per year."""

    def risk(
        self,
        deltas: Mapping[Address, int] = NOTHING,
        horizon: Horizon = NOW,
        falls_bps: Mapping[Address, int] = NOTHING,
        repaid: Mapping[Address, int] = NOTHING,
    ) -> Risk:
        if any(token not in self.holdings for token in deltas):
            raise ValueError("a delta of a token that it does not hold")
        if any(token != self.debt_token for token in repaid):
            raise ValueError("a repayment of a token that it does not owe")
        maintenance = initial = 0
        for token, holding in self.holdings.items():
            amount = holding.amount_raw + deltas.get(token, 0)
            if amount < 0:
                raise ValueError(f"{-amount} more of {token} than there is")
            price = holding.price * (BPS - falls_bps.get(token, 0)) // BPS
            value = amount * price // 10**36
            maintenance += value * holding.lltv // WAD
            initial += value * holding.initial_lltv // WAD
        growth = (self.rate + horizon.rate_margin) * horizon.seconds
        debt = self.debt_raw - -self.debt_raw * growth // (WAD * YEAR_SECONDS)
        debt -= repaid.get(self.debt_token, 0)
        if debt < 0:
            raise ValueError(f"{-debt} more repaid than is owed")
        scale = 10 ** (18 - self.debt_decimals)
        return Risk(maintenance * scale, debt * scale, initial * scale, debt * scale)


def a_subaccount(  # one argument for everything that a test may want to show
    key: str = "a",
    *,
    weth: str | None = None,
    collateral: Mapping[Token, str] | None = None,
    health: str | None = None,
    debt: str | None = None,
    debt_token: Token = USDC,
    prices: Mapping[Token, str] | None = None,
    lltv: str = "0.86",
    initial_lltv: str | None = None,
    rate: str = "0",
    movable: str | None = None,
    receivable: str | None = None,
    penalty_bps: int = 500,
    reading: Reading | None = None,
    is_enrolled: bool = True,
    cannot_give: str | None = None,
    cannot_receive: str | None = None,
    feeds: tuple[Address, ...] = (),
    protocol: str = "morpho",
) -> Subaccount:
    """A Morpho-like account with 10 WETH at 2000 and without debt, unless said otherwise.

    `health` sets a debt that gives at least this health now, as near as the debt's raw units allow.
    """
    amounts = collateral if collateral is not None else {WETH: weth or "10"}
    maintenance, initial = wad(lltv), wad(initial_lltv or lltv)
    holdings: dict[Address, Holding] = {}
    lines: list[CollateralLine] = []
    for token, amount in amounts.items():
        text = (prices or {}).get(token)
        in_debt = wad(text) if text is not None else USD[token.address] * WAD // USD[debt_token.address]
        price = in_debt * 10 ** (36 + debt_token.decimals - token.decimals) // WAD
        held = raw(token, amount)
        holdings[token.address] = Holding(held, price, maintenance, initial)
        lines.append(
            CollateralLine(
                token,
                held,
                held if movable is None else raw(token, movable),
                UNLIMITED_RAW if receivable is None else raw(token, receivable),
                in_debt * maintenance // 10**token.decimals,
                in_debt * initial // 10**token.decimals,
                in_debt,
                form=Address(protocol),
            )
        )
    margin = LinearMargin(
        holdings, 0 if debt is None else raw(debt_token, debt), debt_token.address, debt_token.decimals, wad(rate)
    )
    if health is not None:
        borrowable = replace(margin, debt_raw=0).risk().collateral_value // 10 ** (18 - debt_token.decimals)
        margin = replace(margin, debt_raw=borrowable * WAD // wad(health))
    return Subaccount(
        SubaccountId(protocol, key),
        f"{protocol} {key}".strip(),
        OWNER,
        0 if is_enrolled else None,
        debt_token,
        tuple(lines),
        (Debt(debt_token, margin.debt_raw, WAD),) if margin.debt_raw else (),
        margin,
        penalty_bps,
        reading or Fresh(),
        feeds,
        cannot_give,
        cannot_receive,
    )


def a_wallet(
    weth: str = "10", *, collateral: Mapping[Token, str] | None = None, is_enrolled: bool = True
) -> Subaccount:
    """The owner's own tokens."""
    return a_subaccount("", weth=weth, collateral=collateral, protocol="wallet", is_enrolled=is_enrolled)


def a_snapshot(
    *subaccounts: Subaccount,
    caps: Mapping[Token, str] | None = None,
    usd: Mapping[Address, Wad] | None = None,
    usd_per_native: Wad | None = 2000 * WAD,
    is_paused: bool = False,
    timestamp: int = NOON,
    base_fee_wei: int = 0,
    limits: Mapping[str, tuple[str, ...]] | None = None,
) -> Snapshot:
    """These subaccounts, enrolled in order, with a guard that limits nothing unless said.

    `caps`: by token, without it a million of each; `limits`: hard floor, least after, ceiling and, if
    said, most after, by key.
    """
    enrolled = [subaccount for subaccount in subaccounts if subaccount.guard_index is not None]
    index_of = {subaccount.id: index for index, subaccount in enumerate(enrolled)}
    tokens = {line.token for subaccount in subaccounts for line in subaccount.collateral}
    remaining = (
        {token.address: raw(token, "1000000") for token in tokens}
        if caps is None
        else {token.address: raw(token, amount) for token, amount in caps.items()}
    )
    accounts = tuple(
        _enrolment(subaccount, index, (limits or {}).get(subaccount.id.key))
        for index, subaccount in enumerate(enrolled)
    )
    return Snapshot(
        31337,
        Block(100, "0x" + "bb" * 32, "0x" + "aa" * 32, timestamp, base_fee_wei, 30_000_000),
        tuple(replace(subaccount, guard_index=index_of.get(subaccount.id)) for subaccount in subaccounts),
        GuardState(GUARD, OWNER, KEEPER, is_paused, 7, accounts, remaining),
        None,
        (),
        USD if usd is None else usd,
        usd_per_native,
    )


def _enrolment(subaccount: Subaccount, index: int, limits: tuple[str, ...] | None) -> GuardAccount:
    if subaccount.id.protocol == "wallet":
        hard_floor = min_after = ceiling = max_after = 0
    else:
        hard_floor, min_after, ceiling, max_after = HARMLESS_LIMIT, HARMLESS_LIMIT, 100 * WAD, 100 * WAD
        if limits is not None:
            hard_floor, min_after, ceiling, max_after = (wad(limit) for limit in (*limits, "100")[:4])
    return GuardAccount(
        index,
        GuardProtocol.WALLET if subaccount.id.protocol == "wallet" else GuardProtocol.MORPHO,
        OWNER,
        MORPHO,
        subaccount.id.key,
        tuple(dict.fromkeys(one.token.address for one in (*subaccount.collateral, *subaccount.debts))),
        ceiling,
        min_after,
        max_after,
        hard_floor,
        is_live=True,
    )


def a_policy(
    *subaccounts: Subaccount,
    overrides: Mapping[str, AccountSettings] | None = None,
    everywhere: AccountSettings | None = None,
    last_stand: bool = True,
    inclusion_seconds: int = 36,
    rate_margin: str = "0.1",
    amount_margin_bps: int = 1,
    cooldown_seconds: int = 300,
    min_benefit_multiple: int = 3,
    donors_order: DonorsOrder = DonorsOrder.DEBT_FREE_FIRST,
    lltv: str = "0.86",
) -> Policy:
    """Defaults of a volatile pair for each: 1.02 1.04 1.08 1.15 1.20 1.25 1.30 1.40 and a shock of 10 %."""
    pairs = [Pair(subaccount.id, wad(lltv)) for subaccount in subaccounts]
    settings = PolicySettings(
        everywhere or AccountSettings(),
        overrides or {},
        last_stand,
        inclusion_seconds,
        wad(rate_margin),
        amount_margin_bps,
        cooldown_seconds,
        min_benefit_multiple,
        donors_order,
    )
    return resolve(settings, pairs)


def after_plan(snapshot: Snapshot, plan: Plan) -> Snapshot:
    """The snapshot that the plan leads to, in the same block: tokens moved, caps used, nothing else changed."""
    return after_transfers(snapshot, (transfer for rescue in plan.rescues for transfer in rescue.transfers))
