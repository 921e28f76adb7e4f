"""Real Uniswap v3 pools without liquidity on the local chain: their price stands where it is put, and they remember it.

The 1.0.1 code that the npm package ships, as it is deployed everywhere.
"""

from dataclasses import dataclass

from keeper.protocols.uniswap_v3 import sqrt_ratio_at_tick
from scripts.localchain.abi import decode_words, encode_call
from scripts.localchain.node import Node
from scripts.localchain.transact import create, send_as
from scripts.localchain.world import DEPLOYER

FEE = 500
"""Hundredths of a basis point; it decides the spacing of ticks and nothing here."""


@dataclass(frozen=True, slots=True)
class Pool:
    address: str
    mover: str


def deploy(node: Node, one: str, other: str, tick: int, *, remembers: int = 8) -> Pool:
    """A pool of two tokens at a tick, which keeps so many observations; raises NodeError where the chain refuses."""
    factory = create(node, "UniswapV3Factory")
    send_as(node, DEPLOYER, factory, "createPool(address,address,uint24)", one, other, FEE)
    (pool,) = decode_words(
        ["address"], node.call(factory, encode_call("getPool(address,address,uint24)", one, other, FEE))
    )
    send_as(node, DEPLOYER, pool, "initialize(uint160)", sqrt_ratio_at_tick(tick))
    send_as(node, DEPLOYER, pool, "increaseObservationCardinalityNext(uint16)", remembers)
    return Pool(pool, create(node, "PoolMover"))


def move(node: Node, pool: Pool, sqrt_price: int) -> None:
    """Puts the price somewhere else, Q96."""
    is_down = sqrt_price < slot0(node, pool)[0]
    send_as(node, DEPLOYER, pool.mover, "move(address,bool,uint160)", pool.address, is_down, sqrt_price)


def slot0(node: Node, pool: Pool) -> tuple[int, int]:
    """Its sqrt price, Q96, and its tick."""
    price, tick, *_ = decode_words(
        ["uint160", "int24", "uint16", "uint16", "uint16", "uint8", "bool"],
        node.call(pool.address, encode_call("slot0()")),
    )
    return price, tick
