"""The crash, block by block: prices first, then whoever liquidates, then the keeper's transaction.

The same clock and the same path of prices as in the plain demo.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from scripts.localchain import daemon, devnet
from scripts.localchain.abi import encode_arguments, encode_call
from scripts.localchain.daemon import Daemon, DaemonError
from scripts.localchain.demo import CALM_BLOCKS, PRICE_FEE_WEI, PRICE_GAS, STRIKE_FEE_WEI, say_what_to_look_at
from scripts.localchain.devnet import Devnet
from scripts.localchain.liquidator import Liquidator
from scripts.localchain.scenario import Tick, crash
from scripts.localchain.transact import create
from scripts.localchain.world import DEPLOYER, KEEPER, LIQUIDATOR
from scripts.portfolio.observe import Event, Seen, account_names, happened, look
from scripts.portfolio.opening import open_positions
from scripts.portfolio.report import Work, as_json, report, say_block
from scripts.portfolio.world import OTHER_BORROWS, OTHER_SUPPLIES, OWN_BORROWS, OWN_SUPPLIES, OWNER, WALLETS

FUNDS_RAW = 10**30
STRIKE_GAS = 5_000_000


@dataclass(slots=True)
class Run:
    """One crash, with everything that was seen."""

    devnet: Devnet
    guard: str
    console: Console
    block_seconds: float
    seen: list[Seen] = field(default_factory=list[Seen])
    events: list[Event] = field(default_factory=list[Event])
    _names: list[str] = field(init=False)
    _morpho: Liquidator = field(init=False)
    _aave: str = field(init=False)
    _next_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        node, deployment = self.devnet.node, self.devnet.deployment
        self._names = account_names(node, deployment, self.guard, OWNER.address)
        node.set_automine(True)
        self._morpho = Liquidator(node, LIQUIDATOR.address, deployment.morpho)
        self._aave = create(node, "AaveLiquidator", encode_arguments(["address"], deployment.aave.pool))
        for symbol in (*OWN_BORROWS, *OTHER_BORROWS):
            mint = encode_call("mint(address,uint256)", self._aave, FUNDS_RAW)
            node.transact(DEPLOYER.address, deployment.tokens[symbol], mint)
        node.set_automine(False)
        self.seen.append(look(node, deployment))

    def tick(self, tick: Tick | None) -> None:
        """Waits for the time of the next block, mines it and looks at it; None: prices stay."""
        now = time.monotonic()
        if self._next_at > now:
            time.sleep(self._next_at - now)
        self._next_at = max(self._next_at, now) + self.block_seconds
        node, deployment = self.devnet.node, self.devnet.deployment
        if tick is not None:
            node.set_next_base_fee(tick.base_fee_wei)
            for feed, answer in tick.answers.items():
                data = encode_call("setAnswer(int256)", answer)
                node.send(DEPLOYER.address, deployment.feeds[feed], data, gas=PRICE_GAS, fee_wei_max=PRICE_FEE_WEI)
        self._morpho.strike(STRIKE_FEE_WEI)
        strike = encode_call("strike((address,address,address)[])", self._targets())
        node.send(LIQUIDATOR.address, self._aave, strike, gas=STRIKE_GAS, fee_wei_max=STRIKE_FEE_WEI)
        node.mine()
        seen = look(node, deployment)
        events = happened(node, deployment, self.guard, seen, self._names)
        self.seen.append(seen)
        self.events += events
        say_block(self.console, self.seen[0], seen, events)

    def _targets(self) -> list[tuple[str, str, str]]:
        tokens = self.devnet.deployment.tokens
        return [
            (person.address, tokens[next(iter(supplies))], tokens[next(iter(borrows))])
            for wallet in WALLETS
            for person, supplies, borrows in (
                (wallet.owner, OWN_SUPPLIES, OWN_BORROWS),
                (wallet.second, OTHER_SUPPLIES, OTHER_BORROWS),
            )
        ]


def demo(seed: int, block_seconds: float, *, is_kept: bool, is_json: bool, console: Console, folder: Path) -> None:
    """The whole demo; raises what can go wrong, and leaves nothing running unless it is to be kept."""
    started = devnet.start(folder, block_seconds=block_seconds)
    keeper: Daemon | None = None
    try:
        guard = open_positions(started, block_seconds)
        run = Run(started, guard, console, block_seconds)
        keeper = daemon.start(started.config)
        keeper.wait_until_ready(meanwhile=lambda: run.tick(None))
        calm: list[Tick | None] = [None] * CALM_BLOCKS
        for tick in [*calm, *crash(seed), *calm]:
            keeper.check()
            run.tick(tick)
        if not is_kept and (code := keeper.stop()) != 0:
            words = daemon.last_lines(keeper.log)
            raise DaemonError(f"the keeper ended with exit code {code}; its last words:\n{words}")
        work = _work(started, run.seen)
        report(console, run.seen, run.events, work)
        if is_kept:
            started.node.set_interval_mining(max(1, round(block_seconds)))
            say_what_to_look_at(console, folder, keeper.pid)
        if is_json:
            result: dict[str, Any] = {"seed": seed, **as_json(run.seen, run.events, work)}
            print(json.dumps(result), flush=True)
    except BaseException:
        if keeper is not None:
            keeper.kill()
        devnet.stop(started)
        raise
    if is_kept:
        keeper.detach()
        started.process.detach()
        started.node.close()
    else:
        devnet.stop(started)


def _work(started: Devnet, seen: Sequence[Seen]) -> Work:
    """The keeper's transactions in these blocks, and what they cost."""
    transactions = reverted = gas = cost = 0
    for one in seen[1:]:
        for transaction in started.node.request("eth_getBlockByNumber", hex(one.block), True)["transactions"]:
            if transaction["from"] != KEEPER.address.lower():
                continue
            receipt = started.node.receipt(transaction["hash"])
            assert receipt is not None
            transactions += 1
            reverted += not receipt.success
            gas += receipt.gas_used
            cost += one.prices.usd("WETH", receipt.gas_used * receipt.gas_price_wei)
    return Work(transactions, reverted, gas, cost)
