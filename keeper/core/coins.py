"""What a chain's own coin is called, in which gas is paid, and amounts of it for people."""

from collections.abc import Mapping

from keeper.core.amounts import figure

NATIVE_COINS: Mapping[int, str] = {
    1: "ETH",
    10: "ETH",
    56: "BNB",
    100: "xDAI",
    130: "ETH",
    137: "POL",
    146: "S",
    204: "BNB",
    324: "ETH",
    480: "ETH",
    1088: "METIS",
    8453: "ETH",
    31337: "ETH",
    42161: "ETH",
    43114: "AVAX",
    59144: "ETH",
    534352: "ETH",
}
"""By chain id: Ethereum, Optimism, BNB Chain, Gnosis, Unichain, Polygon, Sonic, opBNB, ZKsync Era, World Chain, Metis,
Base, local chains, Arbitrum, Avalanche, Linea and Scroll. Of another chain [chain] native says it."""
UNNAMED_COIN = "native coin"


def native_coin(chain_id: int) -> str:
    return NATIVE_COINS.get(chain_id, UNNAMED_COIN)


def coin_text(wei: int, coin: str) -> str:
    """`0.05 ETH`."""
    return f"{figure(wei, 18)} {coin}"
