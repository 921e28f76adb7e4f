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
    limits = Limits(
        requests_per_second=config.chain.requests_per_second,
        timeout_seconds=config.chain.request_timeout / 1000,
    )
    async with open_pool(config.chain.rpc_url.reveal(), config.chain.chain_id, limits, observe) as pool:
        yield Rpc(pool)
