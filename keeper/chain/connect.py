"""From the configuration to a node."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from keeper.chain.pool import Limits, Observer, ignore, open_pool
from keeper.chain.rpc import Rpc
from keeper.config import Config


@asynccontextmanager
async def connect(config: Config, observe: Observer = ignore) -> AsyncGenerator[Rpc]:
    """The chain of `[chain]`, for as long as the block runs; `observe` is told of every request.

    Opens nothing before the first request. Raises ConfigError when the secret behind the URL is missing.
    """
    async with open_pool(config.chain.rpc_url.reveal(), config.chain.chain_id, _limits(config), observe) as pool:
        yield Rpc(pool)


@asynccontextmanager
async def connect_relay(config: Config, observe: Observer = ignore) -> AsyncGenerator[Rpc | None]:
    """The private relay of `[chain]`, None without one. Raises as `connect`."""
    url = config.chain.private_rpc_url
    if url is None:
        yield None
        return
    async with open_pool(url.reveal(), config.chain.chain_id, _limits(config), observe) as pool:
        yield Rpc(pool)


def _limits(config: Config) -> Limits:
    return Limits(
        requests_per_second=config.chain.requests_per_second,
        timeout_seconds=config.chain.request_timeout / 1000,
    )
