"""What stands on the local chain: tokens, feeds, markets, people and the positions of a demo wallet.

The wallet is leveraged unevenly, as wallets are: two ETH accounts near their line, an account in the same token that
has plenty to spare although it owes, one without debt, and some tokens that lie idle.
"""

from dataclasses import dataclass
from decimal import Decimal

WAD = 10**18
MULTICALL3 = "0xcA11bde05977b3631167028862bE2a173976CA11"
CREATE2_DEPLOYER = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
ZERO = "0x" + "00" * 20
NOWHERE = "0x" + "00" * 18 + "dEaD"
"""Where tokens go that were spent."""


@dataclass(frozen=True, slots=True)
class Person:
    name: str
    address: str
    key: str
    """Anvil's well-known test keys: public, and worth nothing on any real chain."""


DEPLOYER = Person(
    "deployer",
    "0xf39Fd6e51aad88F6F4ce6aB8827279cffFb92266",
    "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80",
)
"""Owns the feeds and lends to the markets."""
OWNER = Person(
    "owner",
    "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    "0x59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d",
)
"""The protected wallet."""
UNPROTECTED = Person(
    "unprotected",
    "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    "0x5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a",
)
"""The same positions and nobody who looks after them."""
KEEPER = Person(
    "keeper",
    "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
    "0x7c852118294e51e653712a81e05800f419141751be58f605c371e15141b007a6",
)
LIQUIDATOR = Person(
    "liquidator",
    "0x15d34AAf54267DB7D7c367839AAf71A00a2C6A65",
    "0x47e179ec197488593b187f80a00eb0da91f1b9d0b13f8733639f19c30a34926a",
)
STRANGER = Person(
    "stranger",
    "0x9965507D1a55bcC2695C58ba16FB37d819B0A4dc",
    "0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba",
)
GAS_MONEY_WEI = 2 * WAD
"""Of the wallets and the keeper; anvil would give them ten thousand ETH."""
PEOPLE = (DEPLOYER, OWNER, UNPROTECTED, KEEPER, LIQUIDATOR, STRANGER)


@dataclass(frozen=True, slots=True)
class TokenSpec:
    symbol: str
    name: str
    decimals: int


TOKENS = (
    TokenSpec("WETH", "Wrapped Ether", 18),
    TokenSpec("USDC", "USD Coin", 6),
    TokenSpec("DAI", "Dai Stablecoin", 18),
    TokenSpec("WBTC", "Wrapped BTC", 8),
    TokenSpec("wstETH", "Wrapped liquid staked Ether", 18),
)


@dataclass(frozen=True, slots=True)
class FeedSpec:
    name: str
    token: str
    """The token that a person means by this price: `scripts/devnet price WETH`."""
    decimals: int
    answer: int


FEEDS = (
    FeedSpec("ETH/USD", "WETH", 8, 2_500 * 10**8),
    FeedSpec("BTC/USD", "WBTC", 8, 60_000 * 10**8),
    FeedSpec("USDC/USD", "USDC", 8, 10**8),
    FeedSpec("DAI/USD", "DAI", 8, 10**8),
    FeedSpec("wstETH/ETH", "wstETH", 18, 12 * 10**17),
)


@dataclass(frozen=True, slots=True)
class MarketSpec:
    name: str
    collateral: str
    loan: str
    lltv: int
    """WAD."""
    base_feeds: tuple[str, ...]
    """At most two feeds whose product prices the collateral."""
    quote_feeds: tuple[str, ...]
    """At most two feeds whose product prices the loan."""
    liquidity_raw: int
    """Lent to the market, so that borrowing costs a few percent a year and nothing is short."""


MARKETS = (
    MarketSpec("WETH/USDC 86%", "WETH", "USDC", 86 * 10**16, ("ETH/USD",), ("USDC/USD",), 3_000_000 * 10**6),
    MarketSpec("WETH/DAI 77%", "WETH", "DAI", 77 * 10**16, ("ETH/USD",), ("DAI/USD",), 2_000_000 * 10**18),
    MarketSpec("WBTC/USDC 86%", "WBTC", "USDC", 86 * 10**16, ("BTC/USD",), ("USDC/USD",), 3_000_000 * 10**6),
    MarketSpec("WETH/USDC 77%", "WETH", "USDC", 77 * 10**16, ("ETH/USD",), ("USDC/USD",), 3_000_000 * 10**6),
    MarketSpec("wstETH/WETH 94.5%", "wstETH", "WETH", 945 * 10**15, ("wstETH/ETH",), (), 1_000 * 10**18),
    MarketSpec("WETH/DAI 86%", "WETH", "DAI", 86 * 10**16, ("ETH/USD",), ("DAI/USD",), 2_000_000 * 10**18),
)


@dataclass(frozen=True, slots=True)
class PositionSpec:
    market: str
    collateral_raw: int
    debt_raw: int


POSITIONS = (
    PositionSpec("WETH/USDC 86%", 20 * 10**18, 35_250 * 10**6),  # health 1.22
    PositionSpec("WETH/DAI 77%", 16 * 10**18, 23_700 * 10**18),  # 1.30
    PositionSpec("WBTC/USDC 86%", 10**8, 42_640 * 10**6),  # 1.21
    PositionSpec("WETH/USDC 77%", 50 * 10**18, 36_000 * 10**6),  # 2.67: can give although it owes
    PositionSpec("wstETH/WETH 94.5%", 10 * 10**18, 9_000 * 10**15),  # 1.26, and ETH's price is on both sides
    PositionSpec("WETH/DAI 86%", 3 * 10**18, 0),
)


@dataclass(frozen=True, slots=True)
class ReserveSpec:
    """An asset of the Aave market, with parameters near those of mainnet; basis points as Aave counts them."""

    symbol: str
    feeds: tuple[str, ...]
    """What prices it in USD: one feed, or a ratio and the feed of what it is a ratio to."""
    ltv_bps: int
    threshold_bps: int
    bonus_bps: int
    """Liquidation bonus, with the debt itself: 10_500 is 5 %."""
    rate_bps: int
    """A year's interest where `OPTIMAL_USE_BPS` of the reserve is borrowed; in proportion below."""
    supply_cap: int
    """In whole tokens."""
    liquidity_raw: int
    """Supplied by the deployer, who borrows 60 % of it, so that interest runs on both sides."""


OPTIMAL_USE_BPS = 9_000
RATE_ABOVE_OPTIMAL_BPS = 8_000
BORROWED_PERCENT = 60
RESERVES = (
    ReserveSpec("WETH", ("ETH/USD",), 8_050, 8_300, 10_500, 270, 100_000, 2_000 * 10**18),
    ReserveSpec("USDC", ("USDC/USD",), 7_500, 7_800, 10_450, 550, 50_000_000, 5_000_000 * 10**6),
    ReserveSpec("DAI", ("DAI/USD",), 6_300, 7_700, 10_500, 550, 30_000_000, 3_000_000 * 10**18),
    ReserveSpec("WBTC", ("BTC/USD",), 7_300, 7_800, 10_600, 300, 3_000, 100 * 10**8),
    ReserveSpec("wstETH", ("wstETH/ETH", "ETH/USD"), 7_850, 8_100, 10_600, 200, 50_000, 1_500 * 10**18),
)


@dataclass(frozen=True, slots=True)
class EModeSpec:
    """An efficiency mode, where assets that move together back each other's debt more highly."""

    id: int
    label: str
    ltv_bps: int
    threshold_bps: int
    bonus_bps: int
    symbols: tuple[str, ...]


ETH_CORRELATED = EModeSpec(1, "ETH correlated", 9_300, 9_500, 10_100, ("wstETH", "WETH"))

WALLET_RAW = {"WETH": 2 * 10**18, "WBTC": 3 * 10**7}
"""Idle in the wallet, and allowed to the guard to the unit."""

CAPS_RAW = {"WETH": 60 * 10**18, "WBTC": 10**8, "wstETH": 10 * 10**18}
"""What may move in any day, by token."""
CAP_WINDOW_SECONDS = 86_400


@dataclass(frozen=True, slots=True)
class Limits:
    """What the owner wants of one account: healths as the owner writes them into keeper.toml, and a price fall."""

    hard_floor: str
    survive: str
    critical: str
    trigger: str
    rescue_ceiling: str
    target: str
    floor: str
    max_after: str
    shock: str


# The keeper's own defaults for a volatile pair, and for a correlated one rounded; written out, so that what the guard
# enforces, what keeper.toml says and what the demo measures against are the same numbers.
VOLATILE = Limits("1.02", "1.04", "1.08", "1.15", "1.20", "1.25", "1.30", "1.40", "10%")
CORRELATED = Limits("1.005", "1.01", "1.015", "1.02", "1.03", "1.035", "1.04", "1.06", "2%")
CORRELATED_MARKET = "wstETH/WETH 94.5%"


def limits(market_name: str) -> Limits:
    return CORRELATED if market_name == CORRELATED_MARKET else VOLATILE


def guard_policy(limits: Limits) -> tuple[int, int, int, int]:
    """`Policy` of the guard, whose `minAfter` is `survive`."""
    written = (limits.rescue_ceiling, limits.survive, limits.max_after, limits.hard_floor)
    ceiling, min_after, max_after, hard_floor = map(wad, written)
    return ceiling, min_after, max_after, hard_floor


def wad(health: str) -> int:
    """`1.15` as WAD, exactly."""
    return int(Decimal(health).scaleb(18))


def market(name: str) -> MarketSpec:
    return next(spec for spec in MARKETS if spec.name == name)


def token(symbol: str) -> TokenSpec:
    return next(spec for spec in TOKENS if spec.symbol == symbol)


def feed_for(symbol: str) -> FeedSpec:
    """By feed name or by the token that it prices, in any case; raises KeyError with what there is."""
    for spec in FEEDS:
        if symbol.lower() in (spec.name.lower(), spec.token.lower()):
            return spec
    raise KeyError(f"there is no price for {symbol}; there are {', '.join(spec.token for spec in FEEDS)}")
