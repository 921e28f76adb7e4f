"""What a chain's own coin is called, and how amounts of it are shown."""

import pytest

from keeper.core.coins import coin_text, native_coin


@pytest.mark.parametrize(
    ("wei", "text"),
    [
        (0, "0 ETH"),
        (1, "less than 0.000001 ETH"),
        (5 * 10**11 - 1, "less than 0.000001 ETH"),
        (10**12, "0.000001 ETH"),
        (5 * 10**16, "0.05 ETH"),
        (10**18, "1 ETH"),
        (120 * 10**18 + 10**17, "120.1 ETH"),
    ],
)
def test_the_native_coin_is_shown_as_any_amount(wei: int, text: str) -> None:
    assert coin_text(wei, "ETH") == text


@pytest.mark.parametrize(
    ("chain_id", "coin"),
    [(1, "ETH"), (137, "POL"), (56, "BNB"), (43114, "AVAX"), (100, "xDAI"), (146, "S"), (8453, "ETH")],
)
def test_gas_is_paid_in_the_chain_s_own_coin(chain_id: int, coin: str) -> None:
    assert native_coin(chain_id) == coin


def test_of_a_chain_that_is_not_known_no_coin_is_made_up() -> None:
    assert coin_text(5 * 10**16, native_coin(999_999)) == "0.05 native coin"
