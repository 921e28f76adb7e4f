"""A decision that was recorded can be made again offline, from the journal alone, to the same plan."""

import json

import pytest

from keeper.config import load_config
from keeper.core.planner import make_plan
from keeper.documents import plan_document
from keeper.journal_reader import open_reader
from keeper.opening import open_keeper
from keeper.pausing import Mode, PauseFile
from keeper.protocols.portfolio import Portfolio
from keeper.records import history_from_json, policy_from_json
from scripts.localchain.devnet import Devnet

pytestmark = pytest.mark.devnet


@pytest.mark.parametrize("mode", [Mode.ACTIVE, Mode.PROTECT_ONLY])
async def test_a_plan_follows_again_from_what_the_journal_kept(devnet: Devnet, mode: Mode) -> None:
    config = load_config(devnet.config)
    PauseFile(config.journal.path).write(mode)
    devnet.chain.set_price("WETH", "-12%")
    async with open_keeper(config, is_dry_run=False) as running:
        report = await running.cycle(await running.session.rpc.head())
    assert report.is_sent
    assert report.batch is not None

    reader = open_reader(config.journal.path)
    try:
        cycle = reader.cycle_of(report.batch.plan_id)
    finally:
        reader.close()
    assert cycle.plan is not None
    snapshot = Portfolio.from_json(cycle.topology).decode(cycle.block, cycle.reads)
    policy, history = policy_from_json(cycle.plan.policy), history_from_json(cycle.plan.history)
    assert snapshot == report.snapshot
    assert policy == report.policy
    assert history.protect_only is (mode is Mode.PROTECT_ONLY)
    again = make_plan(snapshot, policy, history)
    assert again == report.plan
    assert len(again.rescues) == 2
    assert json.loads(cycle.plan.plan) == plan_document(again, snapshot)
