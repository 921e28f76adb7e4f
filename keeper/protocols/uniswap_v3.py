"""Uniswap v3 pools as a second source of prices: the mean tick over a window, and what a token costs at a tick.

A pool adds up its tick, second by second, and remembers the sums. The mean of the ticks is the logarithm of the
geometric mean of the prices: what one block or one minute does to the price counts for its share of the window only.
Read at the pinned block with the pool's own arithmetic, to the unit (v3-core 1.0.1, v3-periphery 1.4.4).
"""

from collections.abc import Sequence

from keeper.core.snapshot import Unknown
from keeper.core.units import WAD, Address, Wad
from keeper.errors import ProtocolError
from keeper.protocols.abi import explain_revert, interface, short
from keeper.protocols.base import Call, CallResult

TICK_MAX = 887_272
"""TickMath.MAX_TICK; the least is as far below zero."""

Q96, Q128, Q192 = 2**96, 2**128, 2**192

# TickMath.getSqrtRatioAtTick: 1 / sqrt(1.0001)^(2^i) for bit i of the tick, Q128.
_FACTORS = (
    0xFFFCB933BD6FAD37AA2D162D1A594001,
    0xFFF97272373D413259A46990580E213A,
    0xFFF2E50F5F656932EF12357CF3C7FDCC,
    0xFFE5CACA7E10E4E61C3624EAA0941CD0,
    0xFFCB9843D60F6159C9DB58835C926644,
    0xFF973B41FA98C081472E6896DFB254C0,
    0xFF2EA16466C96A3843EC78B326B52861,
    0xFE5DEE046A99A2A811C461F1969C3053,
    0xFCBE86C7900A88AEDCFFC83B479AA3A4,
    0xF987A7253AC413176F2B074CF7815E54,
    0xF3392B0822B70005940C7A398E4B70F3,
    0xE7159475A2C29B7443B29C7FA6E889D9,
    0xD097F3BDFD2022B8845AD8F792AA5825,
    0xA9F746462D870FDF8A65DC1F90E061E5,
    0x70D869A156D2A1B890BB3DF62BAF32F7,
    0x31BE135F97D08FD981231505542FCFA6,
    0x9AA508B5B7A84E1C677DE54F3E99BC9,
    0x5D6AF8DEDB81196699C329225EE604,
    0x2216E584F5FA1EA926041BEDFE98,
    0x48A170391F7DC42444E8FA2,
)


def sqrt_ratio_at_tick(tick: int) -> int:
    """TickMath.getSqrtRatioAtTick: sqrt(1.0001^tick), Q96, rounded up. Raises ValueError for no tick of a pool."""
    if abs(tick) > TICK_MAX:
        raise ValueError(f"{tick} is no tick of a pool")
    ratio = Q128
    for bit, factor in enumerate(_FACTORS):
        if abs(tick) >> bit & 1:
            ratio = ratio * factor >> 128
    if tick > 0:
        ratio = (2**256 - 1) // ratio
    return -(-ratio // 2**32)


def quote_at_tick(tick: int, base_raw: int, *, is_base_token0: bool) -> int:
    """OracleLibrary.getQuoteAtTick: what so many raw units cost in raw units of the other token, rounded down."""
    sqrt_ratio = sqrt_ratio_at_tick(tick)
    if sqrt_ratio < Q128:
        ratio, one = sqrt_ratio * sqrt_ratio, Q192
    else:
        ratio, one = sqrt_ratio * sqrt_ratio // 2**64, Q128
    return ratio * base_raw // one if is_base_token0 else one * base_raw // ratio


def price_at_tick(tick: int, base_decimals: int, quote_decimals: int, *, is_base_token0: bool) -> Wad:
    """What a whole token costs in whole tokens of the other kind, WAD, rounded down."""
    # Of 10^18 tokens, so that a cheap token has a price with digits.
    return quote_at_tick(tick, 10**base_decimals * WAD, is_base_token0=is_base_token0) // 10**quote_decimals


# Reading --------------------------------------------------------------------------------------------------------------


def observe_call(pool: Address, seconds: int) -> Call:
    """The sums of the pool's ticks `seconds` ago and at the block that is read."""
    return Call(pool, interface("UniswapV3Pool")["observe"].encode([seconds, 0]))


def mean_tick(cumulatives: Sequence[int], seconds: int) -> int:
    """OracleLibrary.consult: rounded towards minus infinity."""
    before, now = cumulatives
    return (now - before) // seconds


def decode_mean_tick(pool: Address, result: CallResult, seconds: int) -> int | Unknown:
    """The mean tick, or why it cannot be read."""
    name = f"Uniswap v3 pool {short(pool)}"
    if not result.success:
        reason = explain_revert(result.data)
        # Oracle.observeSingle
        hint = ", so it remembers less; its increaseObservationCardinalityNext is open to anybody"
        return Unknown(f"{name} does not say its last {seconds} s: {reason}{hint if reason == 'OLD' else ''}")
    try:
        cumulatives, _ = interface("UniswapV3Pool")["observe"].decode(result.data)
        tick = mean_tick(cumulatives, seconds)
    except (ProtocolError, ValueError) as error:
        return Unknown(f"{name} does not answer like one: {error}")
    return tick if abs(tick) <= TICK_MAX else Unknown(f"{name} answers the tick {tick}, which no pool has")
