"""What one cycle reads of an Aave pool: the calls for each reserve, and what their answers say.

A reserve that does not answer is named; it is the problem of the accounts that use it and of no other.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from keeper.core.snapshot import Unknown
from keeper.core.units import mul_div_up
from keeper.protocols.aave.topology import Pool, Reserve, reserve_words
from keeper.protocols.aave.versions import RAY, VERSIONS, Ray
from keeper.protocols.aave.words import ReserveFlags
from keeper.protocols.abi import interface, short, word_address
from keeper.protocols.base import Call, CallResult

CALLS_PER_RESERVE = 7
FOUND_OUT_ANEW = "the daemon finds out anew within a minute or two"


def outdated(changed: str) -> Unknown:
    """What cannot be judged until the pool is discovered again."""
    return Unknown(f"{changed}; {FOUND_OUT_ANEW}", is_outdated=True)


@dataclass(frozen=True, slots=True)
class ReserveState:
    """One reserve at the pinned block."""

    reserve: Reserve
    flags: ReserveFlags
    income_index: Ray
    debt_index: Ray
    borrow_rate: Ray
    price: int
    """Base units per whole token; 0 when it cannot be read, and `price_problem` says why."""
    price_problem: str | None
    is_source_known: bool
    """Whether the oracle still asks the source that was found."""
    liquidity_raw: int
    """What can be paid out to whoever withdraws."""
    suppliable_raw: int | None
    """What its supply cap, freeze or pause lets in from outside; None: as much as may be."""

    @property
    def unit_raw(self) -> int:
        return 10**self.reserve.token.decimals

    @property
    def withdrawable_raw(self) -> int:
        # ValidationLogic.validateWithdraw
        return self.liquidity_raw if self.flags.is_active and not self.flags.is_paused else 0


def reserve_calls(pool: Pool, reserve: Reserve) -> list[Call]:
    """What `decode_reserve` takes the results of."""
    of_pool, of_oracle, asset = interface("AavePool"), interface("AaveOracle"), reserve.token.address
    names = ("getReserveData", "getReserveNormalizedIncome", "getReserveNormalizedVariableDebt")
    # v3.0 keeps no account of its liquidity: what there is, is what the aToken has.
    liquidity = (
        Call(pool.address, of_pool["getVirtualUnderlyingBalance"].encode(asset))
        if VERSIONS[pool.revision].has_virtual_balance
        else Call(asset, interface("ERC20")["balanceOf"].encode(reserve.a_token))
    )
    return [
        *(Call(pool.address, of_pool[name].encode(asset)) for name in names),
        Call(pool.oracle, of_oracle["getAssetPrice"].encode(asset)),
        Call(pool.oracle, of_oracle["getSourceOfAsset"].encode(asset)),
        liquidity,
        Call(reserve.a_token, interface("AaveToken")["scaledTotalSupply"].encode()),
    ]


def decode_reserve(pool: Pool, reserve: Reserve, results: Sequence[CallResult]) -> ReserveState | Unknown:
    of_data, of_income, of_debt, of_price, of_source, of_liquidity, of_supply = results
    symbol = reserve.token.symbol
    words = reserve_words(of_data)
    income, debt_index, liquidity, supply = (number(one) for one in (of_income, of_debt, of_liquidity, of_supply))
    if words is None or not income or not debt_index:
        problem = next((one for one in (of_data, of_income, of_debt) if not one.success), of_data)
        return Unknown(f"the Aave pool does not answer for {symbol}: {problem.problem('a reserve')}")
    if (int.from_bytes(words[7]), word_address(words[8]), word_address(words[10])) != (
        reserve.id,
        reserve.a_token,
        reserve.debt_token,
    ):
        return outdated(f"the Aave pool listed {symbol} anew since the keeper started")
    flags = ReserveFlags(int.from_bytes(words[0]))
    price = number(of_price) or 0
    problem = None
    if not price:
        answer = "answers a price of zero" if of_price.success and len(of_price.data) == 32 else None
        answer = answer or f"does not answer: {of_price.problem('a price')}"
        problem = f"the oracle {short(pool.oracle)} {answer} for {symbol}"
    return ReserveState(
        reserve,
        flags,
        income,
        debt_index,
        int.from_bytes(words[4]),
        price,
        problem,
        number(of_source) == int(reserve.source, 16),
        liquidity or 0,
        _suppliable_raw(flags, supply, int.from_bytes(words[12]), income),
    )


def _suppliable_raw(flags: ReserveFlags, scaled_supply: int | None, accrued_scaled: int, index: Ray) -> int | None:
    # ValidationLogic.validateSupply
    if not flags.is_active or flags.is_frozen or flags.is_paused or scaled_supply is None:
        return 0
    if not flags.supply_cap:
        return None
    # One unit is kept back for the rounding, which differs between the versions.
    supplied = mul_div_up(scaled_supply + accrued_scaled, index, RAY)
    return max(flags.supply_cap * 10**flags.decimals - supplied - 1, 0)


def number(result: CallResult) -> int | None:
    """The number in a one-word answer; None when it failed or is something else."""
    return int.from_bytes(result.data) if result.success and len(result.data) == 32 else None
