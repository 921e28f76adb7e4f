"""Opens both wallets' positions and puts one of them into a guard's care, as its owner would: with `keeper setup`."""

import subprocess
import sys
from pathlib import Path

from scripts.localchain import aave, deploy, keeper_files, world
from scripts.localchain.anvil import ROOT
from scripts.localchain.daemon import DaemonError
from scripts.localchain.deploy import MARKET_PARAMS
from scripts.localchain.devnet import Devnet
from scripts.localchain.transact import mint, send_as
from scripts.localchain.world import DEPLOYER, KEEPER, NOWHERE
from scripts.portfolio.world import (
    CAPS_RAW,
    IDLE_RAW,
    MORPHO_COLLATERAL_RAW,
    MORPHO_DEBT_RAW,
    MORPHO_MARKET,
    OTHER_BORROWS,
    OTHER_SUPPLIES,
    OWN_BORROWS,
    OWN_SUPPLIES,
    OWNER,
    SECOND,
    WALLETS,
    Wallet,
)

SETUP_SECONDS_MAX = 120


def open_positions(devnet: Devnet, block_seconds: float) -> str:
    """Both wallets, and the guard of the first; returns the guard's address.

    Raises NodeError where the chain refuses, and DaemonError when `keeper setup` does not do what it should.
    """
    for wallet in WALLETS:
        _open(devnet, wallet)
    guard = deploy.deploy_guard(devnet.node, OWNER.address)
    _write_config(devnet, guard, block_seconds)
    # The second address is a holder of its own: it joins, and allows nothing to be taken from it.
    send_as(devnet.node, SECOND, guard, "join()")
    send_as(devnet.node, OWNER, guard, "setKeeper(address)", KEEPER.address)
    caps = [(devnet.deployment.tokens[symbol], raw, world.CAP_WINDOW_SECONDS) for symbol, raw in CAPS_RAW.items()]
    send_as(devnet.node, OWNER, guard, "setCaps((address,uint128,uint32)[])", caps)
    for symbol, raw in IDLE_RAW.items():
        send_as(devnet.node, OWNER, devnet.deployment.tokens[symbol], "approve(address,uint256)", guard, raw)
    _keeper(devnet.config, "setup", "--send", "--impersonate")
    return guard


def _open(devnet: Devnet, wallet: Wallet) -> None:
    node, deployment, owner = devnet.node, devnet.deployment, wallet.owner
    market = deployment.markets[MORPHO_MARKET]
    mint(node, owner, market.collateral, MORPHO_COLLATERAL_RAW, deployment.morpho)
    send_as(
        node, owner, deployment.morpho, f"supplyCollateral({MARKET_PARAMS},uint256,address,bytes)",
        market.params, MORPHO_COLLATERAL_RAW, owner.address, b"",
    )  # fmt: skip
    send_as(
        node, owner, deployment.morpho, f"borrow({MARKET_PARAMS},uint256,uint256,address,address)",
        market.params, MORPHO_DEBT_RAW, 0, owner.address, NOWHERE,
    )  # fmt: skip
    aave.open_account(node, deployment.aave, owner, OWN_SUPPLIES, OWN_BORROWS)
    aave.open_account(node, deployment.aave, wallet.second, OTHER_SUPPLIES, OTHER_BORROWS)
    for symbol, raw in IDLE_RAW.items():
        send_as(node, DEPLOYER, deployment.tokens[symbol], "mint(address,uint256)", owner.address, raw)
    for person in (owner, wallet.second):
        node.set_balance(person.address, world.GAS_MONEY_WEI)


def _write_config(devnet: Devnet, guard: str, block_seconds: float) -> None:
    deployment = devnet.deployment
    moving = [deployment.tokens[symbol] for symbol in ("WETH", "WBTC", "DAI")]
    protocols = [
        *("[[protocols]]", 'kind = "morpho_blue"', f'address = "{deployment.morpho}"'),
        f'markets = ["{deployment.markets[MORPHO_MARKET].id}"]  # {MORPHO_MARKET}',
        "",
        *("[[protocols]]", 'kind = "aave_v3"', f'pool = "{deployment.aave.pool}"'),
        f'accounts = ["{OWNER.address}", "{SECOND.address}"]',
        "assets = [" + ", ".join(f'"{token}"' for token in moving) + "]",
        "",
        *("[[protocols]]", 'kind = "wallet"'),
        "tokens = [" + ", ".join(f'"{deployment.tokens[symbol]}"' for symbol in IDLE_RAW) + "]",
    ]
    text = keeper_files.render(devnet.process.port, deployment, block_seconds, OWNER.address, guard, protocols)
    keeper_files.write_private(devnet.config, text)


def _keeper(config: Path, *arguments: str) -> None:
    command = [str(Path(sys.executable).with_name("keeper")), *arguments, "--config", str(config)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=SETUP_SECONDS_MAX)
    if done.returncode != 0:
        raise DaemonError(f"keeper {' '.join(arguments)} ended with exit code {done.returncode}: {done.stderr.strip()}")
