"""TickMath and OracleLibrary to the unit; the real pool is asked in tests/devnet/test_second_prices.py."""

import pytest
from eth_abi.abi import encode
from hypothesis import given, settings
from hypothesis import strategies as st

from keeper.core.snapshot import Unknown
from keeper.protocols.base import CallResult
from keeper.protocols.uniswap_v3 import (
    TICK_MAX,
    decode_mean_tick,
    mean_tick,
    observe_call,
    price_at_tick,
    quote_at_tick,
    sqrt_ratio_at_tick,
)
from tests.protocols.fakes import address

POOL = address(0x9001)


@pytest.mark.parametrize(
    ("tick", "ratio"),
    [
        # The bounds that TickMath names, and the values that v3-core's own tests hold it to.
        (-887_272, 4_295_128_739),
        (-887_271, 4_295_343_490),
        (-500_000, 1_101_692_437_043_807_371),
        (-250_000, 295_440_463_448_801_648_376_846),
        (-50, 79_030_349_367_926_598_376_800_521_322),
        (-1, 79_224_201_403_219_477_170_569_942_574),
        (0, 2**96),
        (1, 79_232_123_823_359_799_118_286_999_568),
        (50, 79_426_470_787_362_580_746_886_972_461),
        (250, 80_224_679_980_005_306_637_834_519_095),
        (500, 81_233_731_461_783_161_732_293_370_115),
        (250_000, 21_246_587_762_933_397_357_449_903_968_194_344),
        (887_271, 1_461_373_636_630_004_318_706_518_188_784_493_106_690_254_656_249),
        (887_272, 1_461_446_703_485_210_103_287_273_052_203_988_822_378_723_970_342),
    ],
)
def test_the_ratio_at_a_tick_is_the_pools_own(tick: int, ratio: int) -> None:
    assert sqrt_ratio_at_tick(tick) == ratio


@pytest.mark.parametrize("tick", [-TICK_MAX - 1, TICK_MAX + 1])
def test_what_is_no_tick_has_no_ratio(tick: int) -> None:
    with pytest.raises(ValueError, match="is no tick of a pool"):
        sqrt_ratio_at_tick(tick)


@settings(deadline=None)
@given(st.integers(-TICK_MAX, TICK_MAX - 1))
def test_a_higher_tick_is_a_higher_ratio(tick: int) -> None:
    assert sqrt_ratio_at_tick(tick) < sqrt_ratio_at_tick(tick + 1)


@pytest.mark.parametrize(
    ("cumulatives", "mean"),
    [((0, 600), 2), ((0, 599), 1), ((0, -599), -2), ((0, -600), -2), ((0, -601), -3), ((-900, -300), 2), ((7, 7), 0)],
)
def test_a_mean_tick_is_rounded_down_also_below_zero(cumulatives: tuple[int, int], mean: int) -> None:
    assert mean_tick(cumulatives, 300) == mean


@pytest.mark.parametrize(
    ("is_token0", "raw"),
    # WETH is token1 of USDC/WETH on Ethereum, where the tick 196256 is 3000.1 USDC; as token0 the tick is turned.
    [(False, 3_000_104_290), (True, 3_000_104_290)],
)
def test_a_quote_is_rounded_down_in_the_raw_units_of_the_other_token(is_token0: bool, raw: int) -> None:
    tick = -196_256 if is_token0 else 196_256
    assert quote_at_tick(tick, 10**18, is_base_token0=is_token0) == raw


def test_a_quote_above_the_square_of_128_bits_takes_the_other_path_of_the_library() -> None:
    assert sqrt_ratio_at_tick(500_000) >= 2**128
    # 1.0001^500000 is 5171760815372400971558.16…
    assert quote_at_tick(500_000, 1, is_base_token0=True) == 5_171_760_815_372_400_971_558
    assert quote_at_tick(500_000, 10**30, is_base_token0=False) == 193_357_743


@pytest.mark.parametrize(
    ("tick", "base", "quote", "is_token0", "price"),
    [
        (0, 18, 18, True, 10**18),
        (0, 18, 6, True, 10**30),
        (0, 6, 18, True, 10**6),
        (196_256, 18, 6, False, 3_000_104_290_406_328_548_377),
        (-196_256, 18, 6, True, 3_000_104_290_406_328_548_377),
        (TICK_MAX, 0, 18, False, 0),  # so cheap that a WAD cannot tell
    ],
)
def test_a_price_is_of_whole_tokens_whatever_their_order_and_decimals(
    tick: int, base: int, quote: int, is_token0: bool, price: int
) -> None:
    assert price_at_tick(tick, base, quote, is_base_token0=is_token0) == price


def observed(*cumulatives: int) -> CallResult:
    return CallResult(True, encode(["int56[]", "uint160[]"], [list(cumulatives), [0] * len(cumulatives)]))


def test_the_window_is_asked_of_the_pool() -> None:
    call = observe_call(POOL, 300)
    assert call.to == POOL
    assert call.data == bytes.fromhex("883bdbfd") + encode(["uint32[]"], [[300, 0]])


def test_the_mean_tick_of_a_pool_is_read() -> None:
    assert decode_mean_tick(POOL, observed(1_000, 1_000 + 300 * -196_256 - 1), 300) == -196_257


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (
            CallResult(False, bytes.fromhex("08c379a0") + encode(["string"], ["OLD"])),
            "Uniswap v3 pool 0x0000…9001 does not say its last 300 s: OLD, so it remembers less; its increase",
        ),
        (CallResult(False, b""), "Uniswap v3 pool 0x0000…9001 does not say its last 300 s: reverted without a reason"),
        (
            CallResult(True, b""),
            "Uniswap v3 pool 0x0000…9001 does not answer like one: observe answered 0 bytes that are not its type: ",
        ),
        (observed(1), "Uniswap v3 pool 0x0000…9001 does not answer like one: not enough values to unpack"),
        (observed(0, 300 * 887_273), "Uniswap v3 pool 0x0000…9001 answers the tick 887273, which no pool has"),
    ],
)
def test_a_pool_that_does_not_answer_is_unknown_with_its_reason(result: CallResult, reason: str) -> None:
    found = decode_mean_tick(POOL, result, 300)
    assert isinstance(found, Unknown)
    assert found.reason.startswith(reason)
