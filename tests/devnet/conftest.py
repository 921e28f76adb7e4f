"""The local chain for tests: one anvil for the session, and whatever a test did to it is undone afterwards."""

from collections.abc import Generator
from pathlib import Path

import pytest

from scripts.localchain import keeper_files
from scripts.localchain.devnet import BASE_FEE_WEI, Devnet, running


@pytest.fixture(scope="session")
def devnet_of_session(tmp_path_factory: pytest.TempPathFactory) -> Generator[Devnet]:
    with running(tmp_path_factory.mktemp("devnet")) as devnet:
        yield devnet


@pytest.fixture
def devnet(devnet_of_session: Devnet) -> Generator[Devnet]:
    """The deployed world, untouched, one block per transaction; `devnet.chain` sets prices, mines, warps and sends."""
    node = devnet_of_session.node
    snapshot = node.snapshot()
    yield devnet_of_session
    # In this order: a miner that wakes to a full pool would mine it onto what was just restored.
    node.set_interval_mining(0)
    node.drop_pending()
    node.revert(snapshot)
    node.set_automine(True)
    # Not part of what a snapshot brings back.
    node.set_next_base_fee(BASE_FEE_WEI)
    keeper_files.forget_earlier_chain(devnet_of_session.folder)


@pytest.fixture
def fresh_devnet(tmp_path: Path) -> Generator[Devnet]:
    """A chain of the test's own, for what no snapshot can undo: a node that goes down, a chain that is swapped."""
    with running(tmp_path / "devnet") as devnet:
        yield devnet
