"""One look at the world: the configuration, a node, the wallet's portfolio and the policy that holds for it.

Every verb starts here, and so does the daemon: what it takes to read a snapshot, and nothing that sends.
"""

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from keeper.chain.connect import connect
from keeper.chain.pool import Observer, ignore
from keeper.chain.reader import Reader, Reading
from keeper.chain.rpc import Rpc
from keeper.config import Config
from keeper.config_sections import (
    AaveV3Section,
    AccountPolicy,
    EulerV2Section,
    MorphoBlueSection,
    ProtocolSection,
    VenusPoolSection,
    WalletSection,
)
from keeper.core.policy import AccountSettings, DonorsOrder, Policy, PolicySettings, PriceLimits, resolve
from keeper.core.snapshot import Block, Snapshot
from keeper.core.units import BPS, WAD, Address
from keeper.errors import ConfigError, ProtocolError
from keeper.protocols.guard_setup import guard_address
from keeper.protocols.oracles import FeedSettings
from keeper.protocols.portfolio import (
    AaveSettings,
    EulerSettings,
    MorphoSettings,
    Portfolio,
    PortfolioSettings,
    ProtocolSettings,
    VenusSettings,
    WalletSettings,
    discover,
)
from keeper.protocols.second_prices import POOL_WINDOW_SECONDS, SecondSettings
from keeper.protocols.sequencer import Sequencer


@dataclass(frozen=True, slots=True)
class Session:
    """Everything that looking takes."""

    config: Config
    rpc: Rpc
    reader: Reader
    portfolio: Portfolio
    policy: Policy

    async def look(self, block: Block | None = None) -> Snapshot:
        """The snapshot at a block, or at the newest one."""
        return (await self.see(block))[0]

    async def see(self, block: Block | None = None) -> tuple[Snapshot, Reading]:
        """The same with what was read; several endpoints may not agree on it."""
        block = block or await self.rpc.head()
        reading = await self.reader.read(self.portfolio, block)
        return self.portfolio.decode(block, reading.answer), reading

    async def found_out_anew(self) -> "Session":
        """The same with what is read rarely read again, at the newest block. Raises what `open_session` raises."""
        portfolio, policy = await _found_out(self.config, self.reader, await self.rpc.head())
        return replace(self, portfolio=portfolio, policy=policy)


@asynccontextmanager
async def open_session(config: Config, observe: Observer = ignore) -> AsyncGenerator[Session]:
    """Connects, checks the chain, and finds out what is read rarely; `observe` is told of every request.

    Raises ConfigError, also for a contract that is not what the file says, or ChainError, each naming what has to be
    corrected.
    """
    async with connect(config, observe) as rpc:
        reader = Reader(rpc)
        head = await rpc.head()
        try:
            portfolio, policy = await _found_out(config, reader, head)
        except ProtocolError as problem:
            text = str(problem).rstrip(". ")
            raise ConfigError(f"{text[:1].upper()}{text[1:]}.") from None
        yield Session(config, rpc, reader, portfolio, policy)


async def _found_out(config: Config, reader: Reader, head: Block) -> tuple[Portfolio, Policy]:
    portfolio = await reader.discover(discover(portfolio_settings(config)), head)
    return portfolio, resolve(policy_settings(config), portfolio.pairs())


# What the file says, in the words of the core -------------------------------------------------------------------------


def portfolio_settings(config: Config) -> PortfolioSettings:
    """What is to be read. The guard is where `keeper setup` puts it unless the file says otherwise."""
    return PortfolioSettings(
        chain_id=config.chain.chain_id,
        owner=config.guard.owner,
        guard=config.guard.address or guard_address(config.guard.owner),
        keeper=None if config.signer is None else keystore_address(config.signer.keystore),
        protocols=tuple(_protocol_settings(section) for section in config.protocols),
        feeds=tuple(FeedSettings(feed.address, feed.name, feed.heartbeat) for feed in config.prices.feeds),
        heartbeat_slack_seconds=config.prices.heartbeat_slack,
        usd_feeds=config.prices.usd,
        native_usd_feed=config.prices.native,
        native_coin=config.chain.coin,
        seconds=tuple(
            SecondSettings(one.token, one.feed, one.uniswap_v3, one.window or POOL_WINDOW_SECONDS)
            for one in config.prices.second
        ),
        sequencer=_sequencer(config),
    )


def _sequencer(config: Config) -> Sequencer | None:
    feed = config.prices.sequencer_feed
    return None if feed is None else Sequencer(feed, config.prices.sequencer_grace)


def _protocol_settings(section: ProtocolSection) -> ProtocolSettings:
    match section:
        case MorphoBlueSection():
            return MorphoSettings(section.address, section.markets)
        case AaveV3Section():
            return AaveSettings(section.pool, section.accounts, section.assets)
        case EulerV2Section():
            return EulerSettings(section.evc, section.vaults)
        case VenusPoolSection():
            return VenusSettings(section.comptroller, section.accounts, section.markets)
        case WalletSection():
            return WalletSettings(section.tokens)


def keystore_address(path: Path) -> Address:
    """The address that a keystore says it is for, without its password. Raises ConfigError when there is none."""
    try:
        document = json.loads(path.read_text())
        address = str(document["address"]).lower().removeprefix("0x")
    except OSError as error:
        raise ConfigError(f"The keystore {path} cannot be read: {error.strerror}; correct [signer] keystore.") from None
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{path} is not a keystore that names its address; correct [signer] keystore.") from None
    if len(address) != 40 or any(digit not in "0123456789abcdef" for digit in address):
        raise ConfigError(f"The keystore {path} names no valid address; correct [signer] keystore.")
    return Address(f"0x{address}")


def policy_settings(config: Config) -> PolicySettings:
    section = config.policy
    return PolicySettings(
        everywhere=_account_settings(section),
        overrides={key: _account_settings(override) for key, override in section.overrides.items()},
        last_stand=section.last_stand == "equalise",
        inclusion_seconds=config.chain.inclusion_seconds,
        rate_margin=section.rate_margin * WAD // BPS,
        amount_margin_bps=section.amount_margin,
        cooldown_seconds=section.cooldown,
        min_benefit_multiple=section.min_benefit_multiple,
        donors_order=DonorsOrder(section.donors_order),
        volatility_min_bps=section.volatility_min,
        prices=PriceLimits(config.prices.disagreement_max, config.prices.jump_max, config.prices.jump_window),
    )


def _account_settings(section: AccountPolicy) -> AccountSettings:
    return AccountSettings(
        hard_floor=section.hard_floor,
        survive=section.survive,
        critical=section.critical,
        trigger=section.trigger,
        rescue_ceiling=section.rescue_ceiling,
        target=section.target,
        floor=section.floor,
        max_after=section.max_after,
        shock_bps=section.shock,
        is_correlated=section.correlated,
        priority=section.priority,
        never_donate=section.never_donate,
        accept_unchecked_age=None if section.oracle_age is None else section.oracle_age == "unchecked",
    )
