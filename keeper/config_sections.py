"""The sections of keeper.toml: every key with its type, its default and what it is for.

The commented file that `keeper init` writes and the table in the README come from here, so they cannot disagree.
"""

import itertools
from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from keeper.config_values import (
    Bps,
    ChainAddress,
    ConfigPath,
    Health,
    HttpEndpoint,
    HttpEndpoints,
    Listen,
    ListenAddress,
    MarketId,
    Milliseconds,
    Seconds,
    SecretReference,
    WebSocketEndpoints,
    Wei,
    config_folder,
    render_health,
)
from keeper.core.coins import native_coin
from keeper.core.fees import Budget
from keeper.core.units import BPS, WAD, Address


class Section(BaseModel):
    """One table of the file: frozen, and without a place for a key that it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ChainSection(Section):
    """[chain]: where the chain is read and how it behaves."""

    rpc_url: HttpEndpoints = Field(
        description="the node's HTTP endpoint, or a list of several, the preferred one first; "
        "a reference if the URL holds a key"
    )
    ws_url: WebSocketEndpoints = Field(
        default=(), description="a node's WebSocket endpoint, or a list of several, for new heads without polling"
    )
    quorum: int = Field(
        default=1,
        gt=0,
        le=16,
        description="how many endpoints must agree on what is decided on; 1 believes each",
    )
    private_rpc_url: HttpEndpoint | None = Field(
        default=None, description="a private relay, which is given transactions before anybody else is"
    )
    chain_id: int = Field(gt=0, description="the chain; a node that answers for another one is refused")
    native: str | None = Field(
        default=None, min_length=1, description="what the chain's own coin is called, where the keeper does not know it"
    )
    block_time: Milliseconds = Field(default=12_000, gt=0, description="usual time between two blocks")
    request_timeout: Milliseconds = Field(default=5_000, gt=0, description="how long one request may take")
    requests_per_second: int = Field(default=25, gt=0, le=10_000, description="the most requests sent to one endpoint")
    head_age_max: Seconds = Field(
        default=60, gt=0, description="without a new block for this long the view is stale: an alarm, and not ready"
    )
    inclusion_blocks: int = Field(
        default=2, gt=0, le=100, description="blocks until a transaction sent now is expected to take effect"
    )
    finality_blocks: int = Field(
        default=8,
        gt=0,
        le=10_000,
        description="blocks on top after which a mined transaction is final, if the chain does not say what is",
    )

    @model_validator(mode="after")
    def _quorum_can_be_met(self) -> Self:
        if self.quorum > len(self.rpc_url):
            raise ValueError(
                f"quorum = {self.quorum} endpoints can never agree, because rpc_url names {len(self.rpc_url)}; "
                "name more endpoints, or lower quorum"
            )
        return self

    @property
    def coin(self) -> str:
        """What the chain's own coin is called."""
        return self.native or native_coin(self.chain_id)

    @property
    def inclusion_seconds(self) -> int:
        """When a transaction sent now is expected to take effect, rounded up."""
        return -(-self.inclusion_blocks * self.block_time // 1000)


class SignerSection(Section):
    """[signer]: the hot key. Without this section every run is a dry run."""

    keystore: ConfigPath = Field(description="the hot key's encrypted keystore file")
    password: SecretReference = Field(description="the keystore's password, by reference")


class GuardSection(Section):
    """[guard]: the owner and the owner's guard contract."""

    owner: ChainAddress = Field(description="the wallet whose positions are kept; the guard moves nothing for others")
    address: ChainAddress | None = Field(
        default=None, description="the owner's MarginGuard; left out, where `keeper setup` deploys it for this owner"
    )


class MorphoBlueSection(Section):
    """[[protocols]] kind = "morpho_blue": isolated markets, one subaccount each."""

    kind: Literal["morpho_blue"] = Field(description='"morpho_blue"')
    address: ChainAddress = Field(description="the Morpho contract")
    markets: tuple[MarketId, ...] = Field(
        min_length=1, description="ids of the markets in which the owner has a position"
    )


class AaveV3Section(Section):
    """[[protocols]] kind = "aave_v3": one pool of Aave, one subaccount for each account."""

    kind: Literal["aave_v3"] = Field(description='"aave_v3"')
    pool: ChainAddress = Field(description="the pool (version 3.0 or 3.6; another one is refused)")
    accounts: tuple[ChainAddress, ...] = Field(
        default=(),
        description="the accounts that are kept, the owner's own unless said; another one has to `join` the guard",
    )
    assets: tuple[ChainAddress, ...] = Field(
        min_length=1, description="the tokens (not their aTokens) that may move between accounts"
    )


class EulerV2Section(Section):
    """[[protocols]] kind = "euler_v2": the owner's sub-accounts in one EVC, one subaccount each."""

    kind: Literal["euler_v2"] = Field(description='"euler_v2"')
    evc: ChainAddress = Field(
        description="the Ethereum Vault Connector; all 256 sub-accounts of the owner are looked at"
    )
    vaults: tuple[ChainAddress, ...] = Field(
        min_length=1, description="the vaults whose shares may move; those that a sub-account uses are found besides"
    )


class VenusPoolSection(Section):
    """[[protocols]] kind = "venus_pool": one isolated pool of Venus, one subaccount for each account."""

    kind: Literal["venus_pool"] = Field(description='"venus_pool"')
    comptroller: ChainAddress = Field(description="the pool's comptroller; each pool has a section of its own")
    accounts: tuple[ChainAddress, ...] = Field(
        default=(),
        description="the accounts that are kept, the owner's own unless said; another one has to `join` the guard",
    )
    markets: tuple[ChainAddress, ...] = Field(
        min_length=1, description="the markets (vTokens) that may move between accounts, be received and be repaid"
    )


class WalletSection(Section):
    """[[protocols]] kind = "wallet": the owner's own tokens, given within their allowance to the guard."""

    kind: Literal["wallet"] = Field(description='"wallet"')
    tokens: tuple[ChainAddress, ...] = Field(min_length=1, description="the tokens that may be given")


ProtocolSection = Annotated[
    MorphoBlueSection | AaveV3Section | EulerV2Section | VenusPoolSection | WalletSection,
    Field(discriminator="kind"),
]


class FeedSection(Section):
    """[[prices.feeds]]: one Chainlink-type aggregator, and how old its answer may be."""

    address: ChainAddress = Field(description="the aggregator")
    name: str = Field(min_length=1, description='what people call it, such as "ETH/USD"')
    heartbeat: Seconds = Field(gt=0, description="the longest time between two answers that its operator promises")


class SecondSection(Section):
    """[[prices.second]]: who else says what a token costs, a feed or a pool."""

    token: str = Field(min_length=1, description="the token, by symbol or address")
    feed: ChainAddress | None = Field(default=None, description="another aggregator of it in USD")
    uniswap_v3: ChainAddress | None = Field(
        default=None, description="or a Uniswap v3 pool of it, whose mean price over `window` is taken"
    )
    window: Seconds | None = Field(
        default=None,
        gt=0,
        le=86_400,
        description="of the pool, five minutes unless said: a longer one is harder to move and slower to follow",
    )

    @model_validator(mode="after")
    def _has_one_source(self) -> "SecondSection":
        if (self.feed is None) == (self.uniswap_v3 is None):
            raise ValueError(f"the second source of {self.token} must be either a feed or a uniswap_v3 pool")
        if self.feed is not None and self.window is not None:
            raise ValueError(f"the second source of {self.token} is a feed, and window is for pools")
        return self


class PricesSection(Section):
    """[prices]: the numeraire, and how fresh a price must be."""

    native: ChainAddress | None = Field(
        default=None, description="aggregator of the native coin in USD; without it gas costs are not weighed"
    )
    usd: Mapping[str, ChainAddress] = Field(
        default_factory=dict[str, Address], description="aggregator in USD for each token, by symbol or address"
    )
    heartbeat_slack: Seconds = Field(
        default=300, ge=0, description="how much later than its heartbeat an answer may be before it counts as stale"
    )
    feeds: tuple[FeedSection, ...] = Field(default=(), description="the aggregators whose age is judged")
    second: tuple[SecondSection, ...] = Field(default=(), description="second sources of tokens' prices")
    disagreement_max: Bps = Field(
        default=1_000,
        gt=0,
        lt=10_000,
        description="how far an oracle and a second source may be apart, of the higher, before the price is disputed",
    )
    jump_max: Bps | None = Field(
        default=None,
        gt=0,
        lt=10_000,
        description="how far a price may move within `jump_window` and be believed where no second source confirms it",
    )
    jump_window: Seconds = Field(
        default=120, gt=0, le=3_600, description="how long a price that jumped is held against those before"
    )
    sequencer_feed: ChainAddress | None = Field(
        default=None, description="on a rollup, the feed that says whether its sequencer is up"
    )
    sequencer_grace: Seconds = Field(
        default=3_600, ge=0, description="how long after an outage of the sequencer only those without debt give"
    )

    @model_validator(mode="after")
    def _each_token_has_one_second_source(self) -> "PricesSection":
        names = [one.token.lower() for one in self.second]
        twice = next((one.token for one in self.second if names.count(one.token.lower()) > 1), None)
        if twice is not None:
            raise ValueError(f"[[prices.second]] names {twice} twice; a price has one second source")
        return self


class AccountPolicy(Section):
    """Thresholds and limits that hold for one subaccount; what is left out gets its price pair's default."""

    hard_floor: Health | None = Field(
        default=None, description="no donor with debt ever ends below it; enforced on-chain"
    )
    survive: Health | None = Field(
        default=None, description="a rescue that would end below it is not made; enforced on-chain"
    )
    critical: Health | None = Field(default=None, description="below it a rescue is urgent and the last stand allowed")
    trigger: Health | None = Field(default=None, description="below it a rescue is due")
    rescue_ceiling: Health | None = Field(
        default=None, description="at or above it the guard refuses to put anything in; enforced on-chain"
    )
    target: Health | None = Field(default=None, description="where a rescue brings it")
    floor: Health | None = Field(default=None, description="a donor normally never ends below it")
    max_after: Health | None = Field(
        default=None, description="the guard refuses a rescue that would end above it; enforced on-chain"
    )
    shock: Bps | None = Field(
        default=None, gt=0, lt=10_000, description="the fall of its collateral's price that it is tested against"
    )
    correlated: bool | None = Field(
        default=None, description="whether collateral and debt move together (as wstETH and WETH; told by their LLTV)"
    )
    priority: int | None = Field(
        default=None, ge=0, le=100, description="higher is saved first when not all can be (0 unless said)"
    )
    never_donate: bool | None = Field(
        default=None, description="whether nothing may be taken from it (false unless said)"
    )
    oracle_age: Literal["checked", "unchecked"] | None = Field(
        default=None, description='"unchecked" accepts prices whose age cannot be read ("checked" unless said)'
    )

    @model_validator(mode="after")
    def _thresholds_are_in_order(self) -> "AccountPolicy":
        problem = order_problem(self)
        if problem:
            raise ValueError(problem)
        return self


class PolicySection(AccountPolicy):
    """[policy]: when to act, how far to go, what a donor keeps."""

    last_stand: Literal["equalise", "off"] = Field(
        default="equalise",
        description="whether donors may, as a last resort, go below their floor and share a cushion with the recipient",
    )
    donors_order: Literal["debt-free first", "least gas"] = Field(
        default="debt-free first",
        description='whether accounts with debt give only what others cannot, or whoever makes it "least gas"',
    )
    cooldown: Seconds = Field(
        default=300,
        ge=0,
        description="no routine rescue of an account so soon after its last, unless it fell since",
    )
    rate_margin: Bps = Field(
        default=1_000, ge=0, description="interest a year added to the last rate seen, until a transaction takes effect"
    )
    amount_margin: Bps = Field(
        default=1, gt=0, le=1_000, description="kept back from every exact maximum, which is refused one block later"
    )
    min_benefit_multiple: int = Field(
        default=3, ge=0, description="a routine rescue is made when it is expected to save this many times its gas"
    )
    volatility_min: Bps = Field(
        default=300, ge=0, description="a day's deviation of a price that is assumed even when less was measured"
    )
    overrides: Mapping[str, AccountPolicy] = Field(
        default_factory=dict[str, AccountPolicy],
        description="the same thresholds and limits for one subaccount, by its id or an unambiguous beginning of it",
    )


class FeesSection(Section):
    """[fees]: what a transaction may cost."""

    max_fee: Wei = Field(default=3_000 * 10**9, gt=0, description="the most ever paid per unit of gas, tip included")
    tip: Wei = Field(default=10**9, ge=0, description="the priority fee offered first")
    bump_after: Seconds = Field(
        default=24, gt=0, description="a transaction not mined by then is sent again with fees raised by an eighth"
    )
    fee_share_of_value: Bps = Field(
        default=2_000, gt=0, le=10_000, description="the most that a rescue may cost, of the loss that it avoids"
    )
    daily_budget: Wei = Field(default=10**18, gt=0, description="the most spent on gas in any 24 hours")
    emergency_reserve: Bps = Field(
        default=5_000, ge=0, le=10_000, description="the part of the daily budget that only urgent rescues may spend"
    )

    private_blocks: int = Field(
        default=3, ge=0, le=100, description="blocks for which routine rescues are for the private relay alone"
    )
    private_blocks_critical: int = Field(
        default=0, ge=0, le=100, description="the same for urgent rescues, which should not wait"
    )

    def budget(self, coin: str) -> Budget:
        return Budget(self.daily_budget, -(-self.daily_budget * self.emergency_reserve // BPS), coin)


class JournalSection(Section):
    """[journal]: what was seen, decided and sent."""

    path: ConfigPath = Field(
        default_factory=lambda: config_folder.get() / "keeper.sqlite", description="the journal's SQLite file"
    )
    keep_cycles: Seconds = Field(default=7 * 86_400, gt=0, description="how long the raw reads of cycles are kept")
    keep_prices: Seconds = Field(
        default=90 * 86_400, gt=0, description="how long prices are kept; volatility needs a day"
    )
    keep_decisions: Seconds = Field(
        default=365 * 86_400, gt=0, description="how long verdicts, plans, transactions and outcomes are kept"
    )


class TelemetrySection(Section):
    """[telemetry]: how the daemon is watched and reached."""

    listen: ListenAddress = Field(
        default=Listen("127.0.0.1", 9464), description="where /healthz, /readyz and /metrics are served"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="the least that is logged"
    )
    socket: ConfigPath = Field(
        default_factory=lambda: config_folder.get() / "keeper.sock", description="where the commands reach the daemon"
    )


class AlertsSection(Section):
    """[alerts]: who is told."""

    webhook: HttpEndpoint | None = Field(
        default=None, description="where alarms are posted as JSON; a reference if the URL holds a key"
    )
    heartbeat: Seconds = Field(default=3_600, gt=0, description="how often a sign of life is posted")
    dedupe: Seconds = Field(
        default=900, ge=0, description="how long the same alarm about the same subject is not repeated"
    )


# Order of the thresholds ----------------------------------------------------------------------------------------------

_ORDER = ("hard_floor", "survive", "critical", "trigger", "rescue_ceiling", "target", "floor", "max_after")
_STRICTLY_BELOW_NEXT = {"critical", "target"}


def order_problem(policy: AccountPolicy) -> str | None:
    """Which two of the given thresholds contradict 1 < hard_floor <= survive <= critical < trigger <= rescue_ceiling <=
    target < floor <= max_after, as the end of a sentence."""
    given = [
        (index, name, getattr(policy, name)) for index, name in enumerate(_ORDER) if getattr(policy, name) is not None
    ]
    if given and given[0][2] <= WAD:
        return f"{given[0][1]} = {render_health(given[0][2])} must be above 1, the liquidation line"
    for (low_index, low, low_value), (high_index, high, high_value) in itertools.pairwise(given):
        is_strict = bool(_STRICTLY_BELOW_NEXT.intersection(_ORDER[low_index:high_index]))
        if high_value < low_value or (is_strict and high_value == low_value):
            relation = "above" if is_strict else "at or above"
            return f"{high} = {render_health(high_value)} must be {relation} {low} = {render_health(low_value)}"
    return None
