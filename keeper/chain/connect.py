"""From the configuration to its nodes."""

import contextlib
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager

from keeper.chain.node import Node
from keeper.chain.pace import Limits
from keeper.chain.pool import EndpointPool, Observer, ignore, open_pool
from keeper.chain.provider import HttpProvider
from keeper.chain.quorum import QuorumRpc
from keeper.chain.rpc import Rpc
from keeper.config import Config
from keeper.config_values import normal_url, redact_url
from keeper.errors import ConfigError


@asynccontextmanager
async def connect(config: Config, observe: Observer = ignore) -> AsyncGenerator[Rpc]:
    """The chain of `[chain]`, for as long as the block runs; `observe` is told of every request.

    Opens nothing before the first request. Raises ConfigError when the secret behind a URL is missing, or two of them
    are the same: one endpoint would count as two that agree.
    """
    urls = [endpoint.reveal() for endpoint in config.chain.rpc_url]
    if len(set(map(normal_url, urls))) < len(urls):
        raise ConfigError("[chain] rpc_url names the same endpoint twice; remove one of the two.")
    nodes = [Node(provider, config.chain.chain_id, _limits(config)) for provider in _providers(urls)]
    block_seconds = config.chain.block_time / 1000
    async with EndpointPool(nodes, observe) as pool:
        if config.chain.quorum == 1:
            yield Rpc(pool, block_seconds=block_seconds)
            return
        rpc = QuorumRpc(pool, config.chain.quorum, block_seconds=block_seconds)
        async with contextlib.aclosing(rpc):
            yield rpc


@asynccontextmanager
async def connect_relay(config: Config) -> AsyncGenerator[Rpc | None]:
    """The private relay of `[chain]`, None without one. Raises ConfigError when the secret behind it is missing."""
    url = config.chain.private_rpc_url
    if url is None:
        yield None
        return
    async with open_pool(url.reveal(), config.chain.chain_id, _limits(config)) as pool:
        yield Rpc(pool, block_seconds=config.chain.block_time / 1000)


def _limits(config: Config) -> Limits:
    return Limits(
        requests_per_second=config.chain.requests_per_second,
        timeout_seconds=config.chain.request_timeout / 1000,
    )


def _providers(urls: Sequence[str]) -> Iterator[HttpProvider]:
    """One for each URL, numbered where their labels would be the same."""
    labels = [redact_url(url) for url in urls]
    for place, (url, label) in enumerate(zip(urls, labels, strict=True)):
        before = labels[:place].count(label)
        yield HttpProvider(url, number=before + 1 if labels.count(label) > 1 else None)
