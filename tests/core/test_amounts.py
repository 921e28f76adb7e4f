"""How amounts are shown to people."""

import pytest

from keeper.core.amounts import amount_text, exact_text
from keeper.core.snapshot import Token
from tests.builders import USDC, WBTC, WETH


@pytest.mark.parametrize(
    ("wei", "text"),
    [
        (0, "0 WETH"),
        (1, "less than 0.000001 WETH"),
        (499_999_999_999, "less than 0.000001 WETH"),
        (800_362_000_000, "0.000001 WETH"),
        (1_234_567 * 10**10, "0.012346 WETH"),
        (10**18, "1 WETH"),
        (120 * 10**18 + 10**17, "120.1 WETH"),
        (3_288_864 * 10**12, "3.28886 WETH"),
        (12_345_678_500 * 10**14, "1,234,568 WETH"),
    ],
)
def test_an_amount_has_six_digits_at_most_six_of_them_decimals(wei: int, text: str) -> None:
    assert amount_text(wei, WETH) == text


@pytest.mark.parametrize(
    ("raw", "token", "text"),
    [
        (10_575_040_500, USDC, "10,575.1 USDC"),
        (10_575_000_000, USDC, "10,575 USDC"),
        (800_362_000_000, WETH, "0.000001 WETH"),
        (1, WETH, "0.000001 WETH"),
        (90_466_401, WBTC, "0.904665 WBTC"),
        (0, USDC, "0 USDC"),
    ],
)
def test_what_has_to_be_enough_is_rounded_up(raw: int, token: Token, text: str) -> None:
    assert amount_text(raw, token, is_rounded_up=True) == text


def test_what_is_signed_is_told_to_the_last_digit() -> None:
    assert exact_text(1_234_000_000_000_000_000_001, WETH) == "1,234.000000000000000001 WETH"
    assert exact_text(50 * 10**18, WETH) == "50 WETH"
