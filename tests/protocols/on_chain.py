"""The adapters on a local chain: the demo wallet's portfolio, and its snapshot at a block."""

from typing import TypeVar

from keeper.core.snapshot import Block, Snapshot
from keeper.core.units import Address
from keeper.protocols.base import Discovery, Log
from keeper.protocols.multicall import MULTICALL3, decode_aggregate3, encode_aggregate3
from keeper.protocols.oracles import FeedSettings
from keeper.protocols.portfolio import MorphoSettings, Portfolio, PortfolioSettings, WalletSettings, discover
from scripts.localchain import world
from scripts.localchain.devnet import Devnet
from scripts.localchain.node import Node, Receipt

T = TypeVar("T")

HEARTBEAT_SECONDS = 86_400
SLACK_SECONDS = 300


def as_address(text: str) -> Address:
    return Address(text.lower())


def settings_of(devnet: Devnet) -> PortfolioSettings:
    deployment = devnet.deployment
    return PortfolioSettings(
        chain_id=31_337,
        owner=as_address(world.OWNER.address),
        guard=as_address(deployment.guard),
        keeper=as_address(world.KEEPER.address),
        protocols=(
            MorphoSettings(as_address(deployment.morpho), tuple(market.id for market in deployment.markets.values())),
            WalletSettings(tuple(as_address(deployment.tokens[symbol]) for symbol in world.WALLET_RAW)),
        ),
        feeds=tuple(FeedSettings(as_address(feed), name, HEARTBEAT_SECONDS) for name, feed in deployment.feeds.items()),
        heartbeat_slack_seconds=SLACK_SECONDS,
        usd_feeds={
            spec.token: as_address(deployment.feeds[spec.name]) for spec in world.FEEDS if spec.name.endswith("/USD")
        },
        native_usd_feed=as_address(deployment.feeds["ETH/USD"]),
    )


def portfolio_of(devnet: Devnet) -> Portfolio:
    return run_discovery(devnet.node, discover(settings_of(devnet)))


def run_discovery(node: Node, discovery: Discovery[T]) -> T:
    try:
        calls = next(discovery)
        while True:
            answer = node.call(MULTICALL3, encode_aggregate3(calls))
            calls = discovery.send(decode_aggregate3(answer, len(calls)))
    except StopIteration as end:
        return end.value


def read_block(node: Node, number: int | str = "latest") -> Block:
    header = node.block(number)
    return Block(
        int(header["number"], 16),
        header["hash"],
        header["parentHash"],
        int(header["timestamp"], 16),
        int(header["baseFeePerGas"], 16),
        int(header["gasLimit"], 16),
    )


def read_snapshot(node: Node, portfolio: Portfolio) -> Snapshot:
    block = read_block(node)
    return portfolio.decode(block, node.call(MULTICALL3, portfolio.calldata, block.number))


def logs_of(receipt: Receipt) -> list[Log]:
    return [
        Log(
            as_address(log["address"]),
            tuple(bytes.fromhex(topic[2:]) for topic in log["topics"]),
            bytes.fromhex(log["data"][2:]),
        )
        for log in receipt.logs
    ]
