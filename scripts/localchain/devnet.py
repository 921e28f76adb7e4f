"""Starts a whole local chain and writes what it runs into a folder, so that commands in another process find it.

The deployed state is kept in an ignored cache, named by everything that it was made from; a start loads it. It is made
anew after some hours, because interest runs on while it lies there.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.localchain import aave, abi, anvil, deploy, keeper_files
from scripts.localchain.anvil import ROOT, Anvil
from scripts.localchain.chain import Chain
from scripts.localchain.deploy import Deployment
from scripts.localchain.node import GWEI, Node

STATE_CACHE = ROOT / ".cache" / "devnet"
STATE_AGE_SECONDS_MAX = 6 * 3600
BASE_FEE_WEI = GWEI
CONTRACTS = (
    "Multicall3",
    "Morpho",
    "IrmMock",
    "TestToken",
    "TestFeed",
    "TwoFeedOracle",
    "MarginGuard",
    *aave.CONTRACTS,
)


class NotRunningError(Exception):
    """There is no local chain where one was expected."""


@dataclass(frozen=True, slots=True)
class Devnet:
    """A chain, the process that runs it, and its folder."""

    chain: Chain
    process: Anvil
    folder: Path

    @property
    def url(self) -> str:
        return self.process.url

    @property
    def node(self) -> Node:
        return self.chain.node

    @property
    def deployment(self) -> Deployment:
        return self.chain.deployment

    @property
    def config(self) -> Path:
        """keeper.toml of the protected wallet."""
        return self.folder / "keeper.toml"


@contextmanager
def running(folder: Path, *, port: int = 0, block_seconds: float = 0) -> Generator[Devnet]:
    """A devnet that ends with the `with`; arguments as for `start`."""
    devnet = start(folder, port=port, block_seconds=block_seconds)
    try:
        yield devnet
    finally:
        stop(devnet)


def start(folder: Path, *, port: int = 0, block_seconds: float = 0, is_clock_outside: bool = False) -> Devnet:
    """Starts anvil with the deployed world and writes keeper.toml, keystore and password into `folder`.

    A block each `block_seconds`, or one for each transaction when that is 0; with `is_clock_outside` none but those
    that the caller mines, who promises one each `block_seconds`.

    Raises AnvilError, ArtefactMissingError or NodeError, and leaves nothing running then.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    process = anvil.start(folder / "anvil.log", port=port)
    node = Node(process.url)
    try:
        deployment = _load_or_deploy(node)
        # Hundreds of small blocks have driven the base fee to nothing; gas should cost something again.
        node.set_next_base_fee(BASE_FEE_WEI)
        node.mine()
        if is_clock_outside:
            node.set_automine(False)
        elif block_seconds:
            node.set_interval_mining(max(1, round(block_seconds)))
        keeper_files.write(folder, process.port, deployment, block_seconds)
        _write_record(folder, process, deployment)
    except BaseException:
        node.close()
        process.stop()
        raise
    return Devnet(Chain(node, deployment), process, folder)


def stop(devnet: Devnet) -> None:
    """Ends the chain and forgets where it ran."""
    devnet.node.close()
    devnet.process.stop()
    forget(devnet.folder)


# The cached state -----------------------------------------------------------------------------------------------------


def _load_or_deploy(node: Node) -> Deployment:
    place = STATE_CACHE / _state_key()
    state, record = place / "state", place / "deployment.json"
    if record.exists() and time.time() - record.stat().st_mtime < STATE_AGE_SECONDS_MAX:
        node.load_state(state.read_bytes())
        deployment = Deployment.from_json(json.loads(record.read_text()))
        deploy.refresh_prices(node, deployment)
        return deployment
    deployment = deploy.deploy(node)
    _forget_old_states()
    place.mkdir(parents=True, exist_ok=True)
    # The record last: whoever sees it finds the state that belongs to it.
    _write_whole(state, node.dump_state())
    _write_whole(record, json.dumps(deployment.to_json()).encode())
    return deployment


def _forget_old_states() -> None:
    """Nothing loads them any more."""
    for record in STATE_CACHE.glob("*/deployment.json"):
        if time.time() - record.stat().st_mtime >= STATE_AGE_SECONDS_MAX:
            shutil.rmtree(record.parent, ignore_errors=True)


def _state_key() -> str:
    """A hash of the contracts and of the code that deploys them."""
    here = Path(__file__).parent
    code = (here / f"{name}.py" for name in ("deploy", "aave", "transact", "world"))
    sources = [*code, *(abi.artefact_path(name) for name in CONTRACTS)]
    digest = hashlib.sha256()
    for source in sources:
        if not source.exists():
            raise abi.ArtefactMissingError(f"{source.stem} is not compiled; run scripts/setup")
        digest.update(source.read_bytes())
    return digest.hexdigest()[:16]


def _write_whole(path: Path, content: bytes) -> None:
    half = path.with_name(f"{path.name}.{os.getpid()}")
    half.write_bytes(content)
    half.replace(path)


# The record of a running chain ----------------------------------------------------------------------------------------


def _record_path(folder: Path) -> Path:
    return folder / "devnet.json"


def _write_record(folder: Path, process: Anvil, deployment: Deployment) -> None:
    record = {"pid": process.pid, "url": process.url, "deployment": deployment.to_json()}
    _write_whole(_record_path(folder), json.dumps(record, indent=2).encode())


def forget(folder: Path) -> None:
    _record_path(folder).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Record:
    """What another process started."""

    pid: int
    url: str
    deployment: Deployment

    def attach(self) -> Chain:
        return Chain(Node(self.url), self.deployment)


def find(folder: Path) -> Record:
    """The chain that runs in this folder; raises NotRunningError when none answers."""
    try:
        data = json.loads(_record_path(folder).read_text())
        record = Record(data["pid"], data["url"], Deployment.from_json(data["deployment"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        raise NotRunningError(f"no local chain runs in {folder}; start one with scripts/devnet up --detach") from None
    if not anvil.answers(record.url):
        raise NotRunningError(
            f"the local chain of {folder} no longer answers at {record.url}; start one with scripts/devnet up --detach"
        )
    return record
