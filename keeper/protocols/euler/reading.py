"""What is read of Euler v2 every cycle, and what the answers say, before anybody judges them.

The calls are one fixed list, and the answers are taken in its order. What failed stands as `Unknown` in its place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keeper.core.snapshot import Unknown
from keeper.core.units import Address, mul_div_up
from keeper.protocols.abi import explain_revert, interface, short
from keeper.protocols.base import Call, CallResult
from keeper.protocols.euler.math import AMOUNT_MAX, INTEREST_RATE_MAX, PROBE, RAY, Exchange, Ltv, Price, Sides
from keeper.protocols.euler.topology import Position, Route, Topology, Vault, addresses_in, decode_ltv, word

ARRIVAL_SECONDS_MAX = 300
"""For so long interest is kept free under a supply cap."""

NO_LIABILITY = bytes.fromhex("43855d0f")
"""`E_NoLiability()`: the account has no controller, so it owes nothing. No other refusal says that."""


@dataclass(frozen=True, slots=True)
class VaultState:
    exchange: Exchange | Unknown
    hook_target: Address
    hooked_operations: int | Unknown
    rate: int | Unknown
    """Interest per second, RAY."""
    cash: int | Unknown
    """What is not lent out, in the asset's raw units."""
    room: int | Unknown | None
    """What its supply cap still lets in, in the asset's raw units; None: it has none. What it lends is capped too, but
    nothing here borrows."""


@dataclass(frozen=True, slots=True)
class Liquidity:
    """What one lending vault says of one account."""

    sides: Sides | Unknown
    """`accountLiquidity`, for liquidation and for operations."""
    has_no_liability: bool
    debt_raw: int | Unknown


@dataclass(frozen=True, slots=True)
class AccountState:
    """What was read of one position; all by vault address."""

    position: Position
    collaterals: tuple[Address, ...] | Unknown
    """Enabled, in the order in which a status check adds them up."""
    controllers: tuple[Address, ...] | Unknown
    checked_at: int | None
    """Time of its latest status check."""
    shares: Mapping[Address, int | Unknown]
    allowances: Mapping[Address, int | Unknown]
    """Shares that the guard may take; empty without a guard."""
    answers: Mapping[Address, Sequence[CallResult]]
    """Of each lending vault: `accountLiquidity` twice and `debtOf`; few of them are ever looked at."""

    def liquidity(self, lender: Vault) -> Liquidity:
        return _liquidity(lender, self.position, self.answers[lender.address])


@dataclass(frozen=True, slots=True)
class State:
    is_locked_down: bool | None
    has_permits_disabled: bool | None
    vaults: Mapping[Address, VaultState]
    ltvs: Mapping[tuple[Address, Address], Ltv | Unknown]
    """By lending vault and collateral vault."""
    prices: Mapping[tuple[Address, Address], Price | Unknown]
    """By lending vault and the vault whose shares are priced; the lending vault itself for its asset."""
    accounts: tuple[AccountState, ...]


# Asking ---------------------------------------------------------------------------------------------------------------

_PER_VAULT = ("totalAssets", "totalSupply", "hookConfig", "interestRate", "cash", "caps")


def read_calls(topology: Topology, evc: Address, owner: Address, guard: Address | None) -> list[Call]:
    """For the owner two calls, for each vault six, each pair of lender and collateral its LTV, each route its quotes.

    Then for each account three, its balance (and the guard's allowance) in each vault, and for each lender three.
    """
    of_vault, of_evc, lenders = interface("EulerVault"), interface("EVC"), topology.lenders
    prefix = bytes.fromhex(owner[2:40])
    calls = [Call(evc, of_evc[name].encode(prefix)) for name in ("isLockdownMode", "isPermitDisabledMode")]
    per_vault = [of_vault[name].encode() for name in _PER_VAULT]
    calls += [Call(vault.address, data) for vault in topology.vaults for data in per_vault]
    calls += [Call(lender, of_vault["LTVFull"].encode(vault)) for lender, vault in _pairs(topology)]
    calls += [call for route in topology.routes for call in _quote_calls(route)]
    for one in (position.account for position in topology.positions):
        calls += [Call(evc, of_evc[name].encode(one)) for name in ("getCollaterals", "getControllers")]
        calls.append(Call(evc, of_evc["getLastAccountStatusCheckTimestamp"].encode(one)))
        for vault in topology.vaults:
            calls.append(Call(vault.address, of_vault["balanceOf"].encode(one)))
            if guard is not None:
                calls.append(Call(vault.address, of_vault["allowance"].encode(one, guard)))
        for lender in lenders:
            calls += [Call(lender, of_vault["accountLiquidity"].encode(one, kind)) for kind in (True, False)]
            calls.append(Call(lender, of_vault["debtOf"].encode(one)))
    return calls


def _pairs(topology: Topology) -> list[tuple[Address, Address]]:
    return [(lender, vault) for lender in topology.lenders for vault in topology.by_address if vault != lender]


def _quote_calls(route: Route) -> list[Call]:
    """Mid of each adapter; bid and ask too where there is one, for CrossAdapter makes no difference between them."""
    of_oracle = interface("EulerOracle")
    calls = [Call(leg.oracle, of_oracle["getQuote"].encode(PROBE, leg.base, leg.quote)) for leg in route.legs]
    if len(route.legs) == 1:
        (leg,) = route.legs
        calls.append(Call(leg.oracle, of_oracle["getQuotes"].encode(PROBE, leg.base, leg.quote)))
    return calls


# Understanding --------------------------------------------------------------------------------------------------------


class _Answers:
    """The results, taken from the front."""

    __slots__ = ("_results", "_taken")

    def __init__(self, results: Sequence[CallResult]) -> None:
        self._results = results
        self._taken = 0

    def take(self, count: int) -> Sequence[CallResult]:
        self._taken += count
        return self._results[self._taken - count : self._taken]

    def one(self) -> CallResult:
        return self.take(1)[0]


def decode(topology: Topology, results: Sequence[CallResult], guard: Address | None) -> State:
    """The answers to `read_calls`, in their order."""
    answers = _Answers(results)
    lockdown, permits = (word(result) for result in answers.take(2))
    vaults = {vault.address: _vault_state(vault, answers.take(len(_PER_VAULT))) for vault in topology.vaults}
    names = {vault.address: vault.share.symbol for vault in topology.vaults}
    ltvs = {
        (lender, vault): decode_ltv(result)
        or Unknown(f"the LTV of {names[vault]} in {names[lender]} cannot be read: {problem(result, 'an LTV')}")
        for lender, vault in _pairs(topology)
        for result in [answers.one()]
    }
    prices = {(route.lender, route.vault): _price(route, names, answers) for route in topology.routes}
    accounts = tuple(_account(topology, position, answers, guard) for position in topology.positions)
    return State(
        None if lockdown is None else bool(lockdown),
        None if permits is None else bool(permits),
        vaults,
        ltvs,
        prices,
        accounts,
    )


def problem(result: CallResult, wanted: str) -> str:
    """Why an answer is of no use, in the words of Euler's own errors."""
    if result.success:
        return result.problem(wanted)
    return explain_revert(result.data, [interface("EulerVault")])


def _number(result: CallResult, what: str, most: int = AMOUNT_MAX) -> int | Unknown:
    """A number that the contract could answer, or why it cannot be known."""
    number = word(result)
    if number is None:
        return Unknown(f"{what} cannot be read: {problem(result, 'a number')}")
    return Unknown(f"{what} is answered as {number}, which is nonsense") if number > most else number


def _vault_state(vault: Vault, results: Sequence[CallResult]) -> VaultState:
    name = vault.share.symbol
    assets = _number(results[0], f"what {name} holds")
    shares = _number(results[1], f"how many shares {name} has")
    exchange = assets if isinstance(assets, Unknown) else shares
    if isinstance(assets, int) and isinstance(shares, int):
        exchange = Exchange(assets, shares)
    assert not isinstance(exchange, int)  # one of the two was no number, else both are in the exchange
    hooks = results[2]
    is_hook = hooks.success and len(hooks.data) == 64
    rate = _number(results[3], f"the interest rate of {name}", INTEREST_RATE_MAX)
    cash = _number(results[4], f"the cash of {name}")
    return VaultState(
        exchange,
        Address("0x" + hooks.data[12:32].hex()) if is_hook else Address(""),
        int.from_bytes(hooks.data[32:64])
        if is_hook
        else Unknown(f"which operations {name} allows cannot be read: {problem(hooks, 'an answer')}"),
        rate,
        cash,
        _room(_supply_cap(results[5], name), exchange, rate, cash),
    )


def _supply_cap(result: CallResult, name: str) -> int | Unknown | None:
    """AmountCapLib.resolve: ten bits of mantissa in hundredths, six of exponent; all zero stands for none."""
    if not result.success or len(result.data) != 64:
        return Unknown(f"the supply cap of {name} cannot be read: {problem(result, 'two caps')}")
    cap = int.from_bytes(result.data[:32])
    if cap >= 1 << 16:
        return Unknown(f"the supply cap of {name} is answered as {cap}, which is nonsense")
    return 10 ** (cap & 63) * (cap >> 6) // 100 if cap else None


def _room(
    cap: int | Unknown | None, exchange: Exchange | Unknown, rate: int | Unknown, cash: int | Unknown
) -> int | Unknown | None:
    """RiskManager.checkVaultStatus: cash and borrows count, the borrows rounded down there and up here, and here the
    interest that falls due until something arrives as well."""
    if cap is None or isinstance(cap, Unknown):
        return cap
    for needed in (exchange, rate, cash):
        if isinstance(needed, Unknown):
            return needed
    assert isinstance(exchange, Exchange)  # nothing is unknown
    assert isinstance(rate, int)
    assert isinstance(cash, int)
    interest = mul_div_up(max(exchange.total_assets - cash, 0), rate * ARRIVAL_SECONDS_MAX, RAY)
    return max(cap - exchange.total_assets - interest, 0)


def _price(route: Route, names: Mapping[Address, str], answers: _Answers) -> Price | Unknown:
    mids = answers.take(len(route.legs))
    both = answers.one() if len(route.legs) == 1 else None
    what = f"the price of {names[route.vault]} in {names[route.lender]}"
    mid: list[int] = []
    for leg, result in zip(route.legs, mids, strict=True):
        number = word(result)
        if not number:
            reason = problem(result, "a quote") if number is None else "it quotes zero"
            return Unknown(f"{what} cannot be read from oracle {short(leg.oracle)}: {reason}")
        mid.append(number)
    if both is None:
        return Price(tuple(mid), tuple(mid), tuple(mid))
    if not both.success or len(both.data) != 64:
        return Unknown(f"bid and ask of {what} cannot be read: {problem(both, 'two quotes')}")
    bid, ask = int.from_bytes(both.data[:32]), int.from_bytes(both.data[32:])
    if not bid <= mid[0] <= ask:
        return Unknown(f"{what} is nonsense: bid {bid}, mid {mid[0]}, ask {ask}")
    return Price(tuple(mid), (bid,), (ask,))


def _account(topology: Topology, position: Position, answers: _Answers, guard: Address | None) -> AccountState:
    collaterals, controllers, checked = answers.take(3)
    shares: dict[Address, int | Unknown] = {}
    allowances: dict[Address, int | Unknown] = {}
    for vault in topology.vaults:
        name = vault.share.symbol
        shares[vault.address] = _number(answers.one(), f"the balance of {name}")
        if guard is not None:
            allowances[vault.address] = _number(answers.one(), f"the guard's allowance of {name}", 2**256)
    of_lenders = {lender: answers.take(3) for lender in topology.lenders}
    return AccountState(
        position,
        _list(collaterals, f"the collateral of {position.label}"),
        _list(controllers, f"the controller of {position.label}"),
        word(checked),
        shares,
        allowances,
        of_lenders,
    )


def _list(result: CallResult, what: str) -> tuple[Address, ...] | Unknown:
    found = addresses_in(result)
    return Unknown(f"{what} cannot be read: {problem(result, 'a list')}") if found is None else found


def _liquidity(lender: Vault, position: Position, results: Sequence[CallResult]) -> Liquidity:
    name = lender.share.symbol
    debt = _number(results[2], f"the debt of {position.label} to {name}")
    sides: list[int] = []
    for result in results[:2]:
        if not result.success or len(result.data) != 64:
            reason = problem(result, "two values")
            is_debt_free = not result.success and result.data == NO_LIABILITY
            return Liquidity(Unknown(f"{name} does not value {position.label}: {reason}"), is_debt_free, debt)
        sides += (int.from_bytes(result.data[:32]), int.from_bytes(result.data[32:]))
    return Liquidity(Sides(*sides), False, debt)
