"""A wallet with as many Morpho positions as a measurement wants, on a local chain: WETH backs them, USDC is owed."""

import json
import tomllib
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from eth_hash.auto import keccak

from keeper.config import Config, load_config
from scripts.localchain import world
from scripts.localchain.abi import encode_arguments, encode_call
from scripts.localchain.anvil import CHAIN_ID
from scripts.localchain.deploy import ENROLMENT, GUARD_MORPHO, MARKET_PARAMS, Market
from scripts.localchain.devnet import BASE_FEE_WEI, Devnet
from scripts.localchain.node import GWEI, NodeError
from scripts.localchain.transact import create
from scripts.localchain.world import DEPLOYER, OWNER, WAD, ZERO, Person

ORACLES = 8
COLLATERAL_RAW = 10 * WAD
LIQUIDITY_RAW = 100_000 * 10**6
GAS = 1_000_000
ENROLLED_AT_ONCE = 20
AGE_SECONDS = 600
"""Every market has interest to accrue, as in life."""
NO_DEBT = 0
"""In the place of a health: a position that owes nothing."""
LOW = world.wad("1.06")
"""Below `critical`: no economics hold a rescue up."""


def healths_of_many(count: int) -> list[int]:
    """The first is low; the others, from 1.45 to 2.5, can all give although they owe: the planner has the choice."""
    return [LOW if number == 0 else (1_450 + number * 389 % 1_050) * 10**15 for number in range(count)]


@dataclass(slots=True)
class WideWallet:
    """The markets in which the owner has a position here, each enrolled in the guard, in order of opening.

    From the first `open` on the chain mines nothing by itself.
    """

    devnet: Devnet
    markets: list[Market] = field(default_factory=list[Market])
    _oracles: list[str] = field(default_factory=list[str])
    _waiting: list[str] = field(default_factory=list[str])

    def open(self, healths: Sequence[int]) -> None:
        """One more position of 10 WETH for each health (WAD), each in a market of its own. Raises NodeError."""
        devnet, first, count = self.devnet, len(self.markets), len(self.markets) + len(healths)
        numbers = range(first, count)
        morpho, limits = devnet.deployment.morpho, range(-(-first // ORACLES), -(-count // ORACLES))
        with self._large_blocks():
            while len(self._oracles) < min(ORACLES, count):
                self._oracles.append(self._oracle())
            self._all(lambda: [self._send(DEPLOYER, morpho, "enableLltv(uint256)", _lltv(n)) for n in limits])
            self.markets += [self._market(number) for number in numbers]
            self._all(lambda: self._fund(len(healths)))
            self._all(lambda: [self._open_market(self.markets[number]) for number in numbers])
            self._all(lambda: [self._lend(self.markets[number]) for number in numbers])
            self._all(lambda: [self._deposit(self.markets[number]) for number in numbers])
            self._all(
                lambda: [self._borrow(self.markets[n], health) for n, health in zip(numbers, healths, strict=True)]
            )
            self._all(lambda: self._enrol(first))
        devnet.node.warp(AGE_SECONDS)
        devnet.chain.refresh_prices()

    def config(self, name: str, url: str | None = None, tokens: Sequence[str] = ()) -> Config:
        """A configuration of these markets and no others, and these idle tokens, with a new journal of its own.

        `url`: the node, if it is to be reached by another way.
        """
        path = self.devnet.folder / f"{name}.toml"
        path.write_text("\n".join(self._toml(name, url or self.devnet.url, tokens)))
        config = load_config(path)
        remove_journal(config.journal.path)
        return config

    # Steps ------------------------------------------------------------------------------------------------------------

    def _oracle(self) -> str:
        feeds = self.devnet.deployment.feeds
        types = ["address", "address", "uint8", "address", "address", "uint8"]
        arguments = encode_arguments(types, feeds["ETH/USD"], ZERO, 18, feeds["USDC/USD"], ZERO, 6)
        return create(self.devnet.node, "TwoFeedOracle", arguments)

    def _market(self, number: int) -> Market:
        deployment = self.devnet.deployment
        loan, collateral, oracle = deployment.tokens["USDC"], deployment.tokens["WETH"], self._oracles[number % ORACLES]
        params = (loan, collateral, oracle, deployment.irm, _lltv(number // ORACLES))
        return Market(f"number {number}", "0x" + keccak(encode_arguments([MARKET_PARAMS], params)).hex(), *params)

    def _fund(self, count: int) -> None:
        deployment = self.devnet.deployment
        for person, symbol, amount in ((DEPLOYER, "USDC", LIQUIDITY_RAW), (OWNER, "WETH", COLLATERAL_RAW)):
            token = deployment.tokens[symbol]
            self._send(person, token, "mint(address,uint256)", person.address, count * amount)
            self._send(person, token, "approve(address,uint256)", deployment.morpho, count * amount)

    def _open_market(self, market: Market) -> None:
        self._morpho(DEPLOYER, f"createMarket({MARKET_PARAMS})", market.params)

    def _lend(self, market: Market) -> None:
        arguments = (market.params, LIQUIDITY_RAW, 0, DEPLOYER.address, b"")
        self._morpho(DEPLOYER, f"supply({MARKET_PARAMS},uint256,uint256,address,bytes)", *arguments)

    def _deposit(self, market: Market) -> None:
        arguments = (market.params, COLLATERAL_RAW, OWNER.address, b"")
        self._morpho(OWNER, f"supplyCollateral({MARKET_PARAMS},uint256,address,bytes)", *arguments)

    def _borrow(self, market: Market, health: int) -> None:
        if health == NO_DEBT:
            return
        # From 18 decimals of WETH and 8 of its price to 6 of USDC.
        worth_raw = COLLATERAL_RAW * self.devnet.chain.price("WETH") // 10**20
        arguments = (market.params, worth_raw * market.lltv // health, 0, OWNER.address, DEPLOYER.address)
        self._morpho(OWNER, f"borrow({MARKET_PARAMS},uint256,uint256,address,address)", *arguments)

    def _enrol(self, first: int) -> None:
        deployment, policy = self.devnet.deployment, world.guard_policy(world.VOLATILE)
        for start in range(first, len(self.markets), ENROLLED_AT_ONCE):
            enrolments: list[Any] = [
                (GUARD_MORPHO, OWNER.address, deployment.morpho, bytes.fromhex(market.id[2:]), [], policy)
                for market in self.markets[start : start + ENROLLED_AT_ONCE]
            ]
            self._send(OWNER, deployment.guard, f"enrol({ENROLMENT}[])", enrolments, gas=ENROLLED_AT_ONCE * GAS)

    def _toml(self, name: str, url: str, tokens: Sequence[str]) -> Iterator[str]:
        deployment = self.devnet.deployment
        # A measurement repeats its cycle faster than blocks come.
        yield f'[chain]\nrpc_url = "{url}"\nchain_id = {CHAIN_ID}\nblock_time = "1s"\ninclusion_blocks = 1'
        yield "requests_per_second = 10000"
        yield '[signer]\nkeystore = "keystore.json"\npassword = "file:password"'
        yield f'[guard]\nowner = "{OWNER.address}"\naddress = "{deployment.guard}"'
        yield f'[[protocols]]\nkind = "morpho_blue"\naddress = "{deployment.morpho}"'
        yield f"markets = {json.dumps([market.id for market in self.markets])}"
        if tokens:
            addresses = json.dumps([deployment.tokens[symbol] for symbol in tokens])
            yield f'[[protocols]]\nkind = "wallet"\ntokens = {addresses}'
        eth, usdc = deployment.feeds["ETH/USD"], deployment.feeds["USDC/USD"]
        yield f'[prices]\nnative = "{eth}"\nusd = {{ WETH = "{eth}", USDC = "{usdc}" }}'
        for feed, address in (("ETH/USD", eth), ("USDC/USD", usdc)):
            yield f'[[prices.feeds]]\naddress = "{address}"\nname = "{feed}"\nheartbeat = "1d"'
        yield "[policy]"
        for key, value in asdict(world.VOLATILE).items():
            yield f'{key} = "{value}"' if value.endswith("%") else f"{key} = {value}"
        listen = tomllib.loads(self.devnet.config.read_text())["telemetry"]["listen"]
        yield f'[journal]\npath = "{name}.sqlite"\n[telemetry]\nlisten = "{listen}"\nsocket = "{name}.sock"'

    # Many transactions in few blocks ----------------------------------------------------------------------------------

    @contextmanager
    def _large_blocks(self) -> Generator[None]:
        node = self.devnet.node
        node.set_automine(False)
        for person in (DEPLOYER, OWNER):
            node.set_balance(person.address, 10_000 * WAD)
        usual = node.block()["gasLimit"]
        node.request("evm_setBlockGasLimit", hex(10**9))
        try:
            yield
        finally:
            node.request("evm_setBlockGasLimit", usual)
            # Nearly empty, such blocks drive the base fee to nothing.
            node.set_next_base_fee(BASE_FEE_WEI)

    def _morpho(self, person: Person, signature: str, *arguments: Any) -> None:
        self._send(person, self.devnet.deployment.morpho, signature, *arguments)

    def _send(self, person: Person, to: str, signature: str, *arguments: Any, gas: int = GAS) -> None:
        data = encode_call(signature, *arguments)
        self._waiting.append(self.devnet.node.send(person.address, to, data, gas=gas, fee_wei_max=100 * GWEI))

    def _all(self, send: Callable[[], Any]) -> None:
        """Sends, mines, and sees that nothing reverted."""
        node = self.devnet.node
        send()
        while self._waiting:
            node.mine()
            receipts = [(hash, node.receipt(hash)) for hash in self._waiting]
            for hash, receipt in receipts:
                if receipt is not None and not receipt.success:
                    raise NodeError(f"a position could not be opened: {hash} reverted")
            self._waiting = [hash for hash, receipt in receipts if receipt is None]


def _lltv(number: int) -> int:
    """Distinct, and none that the local chain has already."""
    return (7_001 + 10 * number) * 10**14


def remove_journal(path: Path) -> None:
    """With what SQLite and the keeper keep beside it."""
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
