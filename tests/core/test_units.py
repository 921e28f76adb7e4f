"""How integers are shown to people."""

import pytest

from keeper.core.units import ether_text


@pytest.mark.parametrize(
    ("wei", "text"),
    [
        (0, "0 ETH"),
        (1, "less than 0.000001 ETH"),
        (10**12 - 1, "less than 0.000001 ETH"),
        (10**12, "0.000001 ETH"),
        (5 * 10**16, "0.05 ETH"),
        (10**18, "1 ETH"),
        (120 * 10**18 + 10**17, "120.1 ETH"),
    ],
)
def test_the_native_coin_is_shown_to_six_decimals_rounded_down(wei: int, text: str) -> None:
    assert ether_text(wei) == text
