"""The wallet of one simulation: positions that a seed chose, and the files that a keeper of it starts from."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

from eth_account import Account
from eth_keyfile.keyfile import create_keyfile_json

from keeper.core.units import WAD
from scripts.simulation.contracts import ETH_FEED, GUARD, MORPHO, OWNER, USDC_FEED, a_market
from scripts.simulation.endpoint import CHAIN_ID
from scripts.simulation.guard import Enrolled, Limits
from scripts.simulation.ledger import SHARES, USDC, WETH, Cap, Market, Position, Round, State, Totals
from scripts.simulation.timeline import GENESIS

HOT_KEY = "0x" + "07".rjust(64, "0")
KEEPER = Account.from_key(HOT_KEY).address.lower()
PASSWORD = "a password"
LLTVS = (86, 77, 62, 38)
BLOCK_SECONDS = 12
HEARTBEAT_SECONDS, HEARTBEAT_SLACK_SECONDS = 300, 60

# The defaults of a volatile pair, which the guard enforces as well.
LIMITS = Limits(120 * WAD // 100, 104 * WAD // 100, 140 * WAD // 100, 102 * WAD // 100)
CRITICAL, TRIGGER, TARGET, FLOOR = (percent * WAD // 100 for percent in (108, 115, 125, 130))


@dataclass(frozen=True, slots=True)
class Wallet:
    """What there is at the beginning."""

    guard: Enrolled
    state: State


def a_wallet(random: Random) -> Wallet:
    """Two to four positions with different debts, and idle tokens beside them."""
    count = random.randint(2, 4)
    markets = tuple(a_market(lltv * WAD // 100, random.randrange(1, 4) * 10**9) for lltv in LLTVS[:count])
    price = random.randrange(1_500, 4_500)
    positions: dict[str, Position] = {}
    totals: dict[str, Totals] = {}
    for place, market in enumerate(markets):
        collateral = random.randrange(80, 400) * WAD
        health = random.uniform(1.18, 1.35) if place == 0 else random.uniform(1.26, 2.6)
        debt = 0 if place == 3 else int(collateral * price // WAD * market.lltv // WAD / health) * 10**6
        totals[market.id] = Totals(10**14 + debt, (10**14 + debt) * SHARES, GENESIS - 600)
        positions[market.id] = Position(collateral, debt * SHARES)
    idle = random.choice((0, random.randrange(20, 300))) * WAD
    stable = random.choice((0, random.randrange(10_000, 400_000))) * 10**6
    cap = random.choice((200, 10_000)) * WAD
    state = State(
        now=GENESIS,
        positions=positions,
        totals=totals,
        balances={WETH: idle, USDC: stable},
        allowances={WETH: idle * random.randint(5, 10) // 10, USDC: stable},
        caps={WETH: Cap(cap, 86_400), USDC: Cap(10**12, 86_400)},
        eth=Round(price * 10**8, GENESIS),
        usdc=Round(10**8, GENESIS),
        last_sequence=random.randrange(50),
        nonce=random.randrange(100),
        gas_money=5 * 10**18,
    )
    return Wallet(Enrolled(GUARD, KEEPER, markets, LIMITS), state)


def write_files(folder: Path, markets: tuple[Market, ...], urls: list[str], quorum: int, daily_budget_wei: int) -> None:
    """keeper.toml, the hot key's keystore and its password."""
    folder.mkdir(parents=True)
    (folder / "password").write_text(PASSWORD)
    (folder / "keystore.json").write_text(_keystore())
    (folder / "keeper.toml").write_text(_settings(markets, urls, quorum, daily_budget_wei))


@cache
def _keystore() -> str:
    """With the cheapest lock that there is: the key is no secret."""
    key = bytes.fromhex(HOT_KEY[2:])
    return json.dumps(create_keyfile_json(key, PASSWORD.encode(), kdf="pbkdf2", iterations=1))


def _settings(markets: tuple[Market, ...], urls: list[str], quorum: int, daily_budget_wei: int) -> str:
    return "\n".join(
        (
            "[chain]",
            f"rpc_url = {json.dumps(urls)}",
            f"quorum = {quorum}",
            f"chain_id = {CHAIN_ID}",
            f'block_time = "{BLOCK_SECONDS}s"',
            "",
            "[fees]",
            f'daily_budget = "{daily_budget_wei} wei"',
            "",
            "[signer]",
            'keystore = "keystore.json"',
            'password = "file:password"',
            "",
            "[guard]",
            f'owner = "{OWNER}"',
            "",
            "[[protocols]]",
            'kind = "morpho_blue"',
            f'address = "{MORPHO}"',
            f"markets = {json.dumps([market.id for market in markets])}",
            "",
            "[[protocols]]",
            'kind = "wallet"',
            f'tokens = ["{WETH}", "{USDC}"]',
            "",
            "[prices]",
            f'native = "{ETH_FEED}"',
            f'heartbeat_slack = "{HEARTBEAT_SLACK_SECONDS}s"',
            f'usd = {{ WETH = "{ETH_FEED}", USDC = "{USDC_FEED}" }}',
            "",
            "[[prices.feeds]]",
            f'address = "{ETH_FEED}"',
            'name = "ETH/USD"',
            f'heartbeat = "{HEARTBEAT_SECONDS}s"',
            "",
            "[[prices.feeds]]",
            f'address = "{USDC_FEED}"',
            'name = "USDC/USD"',
            f'heartbeat = "{HEARTBEAT_SECONDS}s"',
            "",
        )
    )
