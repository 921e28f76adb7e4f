"""keeper.toml, the hot key's keystore and its password for the protected wallet of a local chain."""

import json
import os
import secrets
import socket
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from scripts.localchain import world
from scripts.localchain.anvil import CHAIN_ID
from scripts.localchain.deploy import Deployment
from scripts.localchain.world import KEEPER, OWNER

SCRYPT_COST = 1024
"""Low, because the key is public anyway and tests decrypt it often."""
OF_AN_EARLIER_CHAIN = ("keeper.sqlite*", "keeper.sock*", "keeper.pause", "keeper.seen*")


def write(folder: Path, port: int, deployment: Deployment, block_seconds: float) -> None:
    """Writes the three files, readable by their owner alone; forgets what a keeper remembered of an earlier chain."""
    # Half a second of imports that only a start needs.
    from eth_keyfile.keyfile import create_keyfile_json

    forget_earlier_chain(folder)
    password = secrets.token_hex(16)
    keystore = create_keyfile_json(bytes.fromhex(KEEPER.key[2:]), password.encode(), iterations=SCRYPT_COST)
    write_private(folder / "password", password + "\n")
    write_private(folder / "keystore.json", json.dumps(keystore) + "\n")
    text = render(
        port,
        deployment,
        block_seconds,
        OWNER.address,
        deployment.guard,
        protected_wallet(deployment),
        correlated_limits(deployment),
    )
    write_private(folder / "keeper.toml", text)


def forget_earlier_chain(folder: Path) -> None:
    """Removes a keeper's journal, socket and pause: what they say of a chain is wrong about the next one."""
    for pattern in OF_AN_EARLIER_CHAIN:
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)


def write_private(path: Path, text: str) -> None:
    """Readable by its owner alone, from the first byte on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)


def protected_wallet(deployment: Deployment) -> list[str]:
    """The [[protocols]] of the local chain's protected wallet."""
    markets = [deployment.markets[position.market] for position in world.POSITIONS]
    return [
        "[[protocols]]",
        'kind = "morpho_blue"',
        f'address = "{deployment.morpho}"',
        "markets = [",
        *(f'    "{market.id}",  # {market.name}' for market in markets),
        "]",
        "",
        "[[protocols]]",
        'kind = "wallet"',
        "tokens = [",
        *(f'    "{deployment.tokens[symbol]}",  # {symbol}' for symbol in world.WALLET_RAW),
        "]",
    ]


def correlated_limits(deployment: Deployment) -> list[str]:
    """The override for its correlated pair."""
    correlated = deployment.markets[world.CORRELATED_MARKET]
    return ["", f'[policy.overrides."morpho:{correlated.id}"]  # {correlated.name}', *_limits(world.CORRELATED)]


def render(
    port: int,
    deployment: Deployment,
    block_seconds: float,
    owner: str,
    guard: str,
    protocols: Iterable[str],
    overrides: Iterable[str] = (),
) -> str:
    """The text of keeper.toml."""
    usd = {spec.token: deployment.feeds[spec.name] for spec in world.FEEDS if spec.name.endswith("/USD")}
    lines = [
        "# The protected wallet of this local chain; written when the chain starts.",
        "[chain]",
        f'rpc_url = "http://127.0.0.1:{port}"',
        f'ws_url = "ws://127.0.0.1:{port}"',
        f"chain_id = {CHAIN_ID}",
        f'block_time = "{round(1_000 * (block_seconds or 1))}ms"',
        "requests_per_second = 200",
        "inclusion_blocks = 1",
        "",
        "[signer]",
        'keystore = "keystore.json"',
        'password = "file:password"',
        "",
        "[guard]",
        f'owner = "{owner}"',
        f'address = "{guard}"',
        "",
        *protocols,
        "",
        "[prices]",
        f'native = "{deployment.feeds["ETH/USD"]}"',
        "usd = { " + ", ".join(f'{symbol} = "{feed}"' for symbol, feed in usd.items()) + " }",
        *(
            line
            for name, feed in deployment.feeds.items()
            for line in ("", "[[prices.feeds]]", f'address = "{feed}"', f'name = "{name}"', 'heartbeat = "1d"')
        ),
        "",
        "[policy]",
        *_limits(world.VOLATILE),
        *overrides,
        "",
        "[fees]",
        f'bump_after = "{max(2, round(3 * (block_seconds or 1)))}s"',
        "",
        "[telemetry]",
        f'listen = "127.0.0.1:{_free_port()}"',
    ]
    return "\n".join(lines) + "\n"


def _limits(limits: world.Limits) -> Iterable[str]:
    for name, value in asdict(limits).items():
        yield f'{name} = "{value}"' if value.endswith("%") else f"{name} = {value}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
