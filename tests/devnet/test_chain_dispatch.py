"""From a head to an included rescue on a real node and the real guard: requests, crashes, stuck transactions."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from keeper.chain.signer import decode_signed
from keeper.config import Config, load_config
from keeper.core.intent import Abandoned, Included, State
from keeper.errors import NodeUnreachable
from keeper.journal import open_reader
from keeper.opening import Running, open_keeper
from keeper.protocols.abi import interface
from keeper.telling import CycleReport
from scripts.localchain.devnet import Devnet
from scripts.localchain.world import KEEPER
from scripts.storms.wire import Fault, Refusal, Wire, wire

pytestmark = pytest.mark.devnet

GWEI = 10**9
SEND = "eth_sendRawTransaction"
RUN_ONCE = [sys.executable, "-c", "from keeper.cli import main; main()", "run", "--once", "--config"]
RUN = [sys.executable, "-c", "from keeper.cli import main; main()", "run", "--config"]


@asynccontextmanager
async def a_keeper(devnet: Devnet) -> AsyncGenerator[tuple[Running, Wire]]:
    """The keeper of the protected wallet, in this process, with a recording node in between."""
    async with wire(devnet.url) as node, open_keeper(through(devnet, node.url), is_dry_run=False) as running:
        yield running, node


def through(devnet: Devnet, url: str) -> Config:
    os.environ["KEEPER__CHAIN__RPC_URL"] = url
    try:
        return load_config(devnet.config)
    finally:
        del os.environ["KEEPER__CHAIN__RPC_URL"]


async def cycle(running: Running) -> CycleReport:
    return await running.cycle(await running.session.rpc.head())


def sequence(devnet: Devnet) -> int:
    """How many batches ever took effect, by the guard itself."""
    return int.from_bytes(devnet.node.call(devnet.deployment.guard, interface("MarginGuard")["lastSequence"].encode()))


def keeper_nonce(devnet: Devnet) -> int:
    return int(devnet.node.request("eth_getTransactionCount", KEEPER.address, "latest"), 16)


# Requests -------------------------------------------------------------------------------------------------------------


async def test_requests_between_a_head_and_its_send(devnet: Devnet) -> None:
    async with a_keeper(devnet) as (running, node):
        rpc = running.session.rpc

        async def of_a_cycle() -> list[str]:
            head = await rpc.head()
            node.requests.clear()
            await running.cycle(head)
            return node.methods

        assert await of_a_cycle() == ["eth_call"]
        devnet.node.set_automine(False)
        devnet.chain.set_price("WETH", "-12%")
        assert await of_a_cycle() == ["eth_call", "eth_simulateV1", SEND]
        assert await of_a_cycle() == ["eth_call", "eth_getTransactionReceipt"]
        devnet.node.mine()
        assert await of_a_cycle() == ["eth_call", "eth_getTransactionReceipt"]
        devnet.node.mine()
        assert await of_a_cycle() == ["eth_call"]
        assert sequence(devnet) == 1


async def test_fees_are_asked_for_once_in_ten_blocks(devnet: Devnet) -> None:
    async with a_keeper(devnet) as (running, node):
        for _ in range(20):
            devnet.node.mine()
            await running.fees.refresh(await running.session.rpc.head())
        assert node.count("eth_feeHistory") == 3, "at the start, and twice in twenty blocks"


async def test_a_dry_run_simulates_and_sends_nothing(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "-12%")
    async with (
        wire(devnet.url) as node,
        open_keeper(through(devnet, node.url), is_dry_run=True) as running,
    ):
        report = await cycle(running)
        assert report.batch is not None
        assert node.count("eth_simulateV1") == 1
        assert node.count(SEND) == node.count("eth_getTransactionCount") == 0


async def test_a_node_without_eth_simulate_v1_is_asked_by_eth_call(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "-12%")
    async with a_keeper(devnet) as (running, node):
        node.inject("eth_simulateV1", Refusal(-32601, "the method eth_simulateV1 does not exist"))
        report = await cycle(running)
        assert report.is_sent
        assert sequence(devnet) == 1


# Faults ---------------------------------------------------------------------------------------------------------------


async def test_a_node_that_goes_down_costs_the_cycle_and_nothing_else(devnet: Devnet) -> None:
    async with a_keeper(devnet) as (running, node):
        head = await running.session.rpc.head()
        node.inject("eth_call", Fault.RESET, Fault.RESET)
        with pytest.raises(NodeUnreachable):
            await running.cycle(head)
        assert (await running.cycle(head)).outcome == ""


async def test_a_send_whose_answer_is_lost_takes_effect_once(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "-12%")
    async with a_keeper(devnet) as (running, node):
        node.inject(SEND, Fault.LOST, Fault.LOST)
        await cycle(running)
        devnet.node.mine()
        await cycle(running)
        intents = running.journal.intents_from_nonce(0)
    assert [(intent.state, type(intent.outcome)) for intent in intents] == [(State.MINED, Included)]
    assert (sequence(devnet), keeper_nonce(devnet)) == (1, 1)


# Killed ---------------------------------------------------------------------------------------------------------------


async def killed_while_sending(devnet: Devnet, fault: Fault) -> bytes:
    """Runs one cycle in a process of its own and kills it when its transaction is at the node; returns the bytes."""
    async with wire(devnet.url) as node:
        node.inject(SEND, fault)
        process = await asyncio.create_subprocess_exec(
            *RUN_ONCE, str(devnet.config), env=os.environ | {"KEEPER__CHAIN__RPC_URL": node.url}
        )
        try:
            async with asyncio.timeout(240):
                await node.asked(SEND, 1)
        finally:
            process.send_signal(signal.SIGKILL)
            await process.wait()
        return bytes.fromhex(node.requests[-1].params[0][2:])


async def test_killed_before_the_node_had_it_the_same_bytes_take_effect_once(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "-12%")
    raw = await killed_while_sending(devnet, Fault.HANG)
    assert keeper_nonce(devnet) == 0
    reader = open_reader(load_config(devnet.config).journal.path)
    (intent,) = reader.open_intents()
    reader.close()
    assert (intent.state, [attempt.raw for attempt in intent.attempts]) == (State.SIGNED, [raw])
    async with a_keeper(devnet) as (running, node):
        assert [bytes.fromhex(request.params[0][2:]) for request in node.requests if request.method == SEND] == [raw]
        await cycle(running)
        settled = running.journal.intent(intent.plan_id)
    assert settled is not None
    assert isinstance(settled.outcome, Included)
    assert (sequence(devnet), keeper_nonce(devnet)) == (1, 1)


async def test_killed_after_the_node_had_it_nothing_is_sent_again(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "-12%")
    await killed_while_sending(devnet, Fault.SWALLOWED)
    async with a_keeper(devnet) as (running, node):
        await cycle(running)
        assert node.count(SEND) == 0
        (intent,) = running.journal.intents_from_nonce(0)
    assert isinstance(intent.outcome, Included)
    assert (sequence(devnet), keeper_nonce(devnet)) == (1, 1)


async def test_killed_and_not_needed_any_more_it_is_given_up_and_later_outbid(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "-12%")
    raw = await killed_while_sending(devnet, Fault.HANG)
    devnet.chain.set_price("WETH", "+20%")
    async with a_keeper(devnet) as (running, node):
        assert node.count(SEND) == 0
        (given_up,) = running.journal.intents_from_nonce(0)
        assert given_up.outcome == Abandoned("it would not succeed any more")
        devnet.chain.set_price("WETH", "-20%")
        await cycle(running)
        sent = [
            decode_signed(bytes.fromhex(request.params[0][2:])) for request in node.requests if request.method == SEND
        ]
        await cycle(running)
    first = decode_signed(raw)
    assert [transaction.nonce for transaction in sent] == [first.nonce] == [0]
    assert 8 * sent[0].fees.max_fee_wei >= 9 * first.fees.max_fee_wei
    assert 8 * sent[0].fees.tip_wei >= 9 * first.fees.tip_wei
    assert (sequence(devnet), keeper_nonce(devnet)) == (1, 1)
    # The bytes of before the crash cannot take effect any more, whoever sends them.
    assert "nonce too low" in json.dumps(refusal_of(devnet, raw))


def refusal_of(devnet: Devnet, raw: bytes) -> str:
    try:
        return devnet.node.request(SEND, f"0x{raw.hex()}")
    except Exception as error:  # noqa: BLE001
        return str(error)


# Stuck ----------------------------------------------------------------------------------------------------------------


async def test_a_transaction_that_became_too_cheap_is_replaced_and_included(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "-12%")
    devnet.node.set_automine(False)
    async with a_keeper(devnet) as (running, node):
        await cycle(running)
        devnet.node.set_next_base_fee(5 * GWEI)
        devnet.node.mine(1, interval_seconds=4)
        assert keeper_nonce(devnet) == 0, "too cheap for this block"
        await cycle(running)
        sent = [
            decode_signed(bytes.fromhex(request.params[0][2:])) for request in node.requests if request.method == SEND
        ]
        devnet.node.mine()
        await cycle(running)
        (intent,) = running.journal.intents_from_nonce(0)
    cheap, dear = sent[0], sent[-1]
    assert replace(cheap, fees=dear.fees) == dear, "the same batch with the same nonce"
    assert dear.fees.max_fee_wei > 5 * GWEI
    assert 8 * dear.fees.tip_wei >= 9 * cheap.fees.tip_wei
    assert isinstance(intent.outcome, Included)
    assert intent.outcome.receipt.hash == intent.attempts[-1].hash
    assert len(intent.attempts) == 2
    assert (sequence(devnet), keeper_nonce(devnet)) == (1, 1)


async def test_a_rescue_whose_block_was_reorganised_away_is_made_once_more(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "-12%")
    async with a_keeper(devnet) as (running, _):
        await cycle(running)
        await cycle(running)
        assert sequence(devnet) == 1
        devnet.node.set_automine(False)
        devnet.node.request("anvil_reorg", 1, [])
        assert sequence(devnet) == 0
        head = await running.session.rpc.head()
        await running.cycle(head, blocks_may_be_gone=True)
        devnet.node.mine()
        await cycle(running)
        intents = running.journal.intents_from_nonce(0)
    assert [type(intent.outcome) for intent in intents] == [Included]
    assert (sequence(devnet), keeper_nonce(devnet)) == (1, 1)


# Secrets --------------------------------------------------------------------------------------------------------------


async def test_no_key_of_a_url_is_in_the_daemon_s_output(devnet: Devnet, tmp_path: Path) -> None:
    key = "s3cr3t-k3y-0123456789abcdef"
    async with wire(devnet.url, path=f"/v3/{key}") as node:
        for fault in (Fault.HTML, Fault.RESET, Fault.BAD_GATEWAY, Fault.CUT, Fault.TOO_MANY):
            node.inject("eth_getTransactionReceipt", fault)
        process = await asyncio.create_subprocess_exec(
            *RUN,
            str(devnet.config),
            env=os.environ
            | {
                "KEEPER__CHAIN__RPC_URL": node.url,
                # Answers with 404 instead of a WebSocket.
                "KEEPER__CHAIN__WS_URL": node.url.replace("http", "ws"),
                "KEEPER__TELEMETRY__LOG_LEVEL": "debug",
                "KEEPER__JOURNAL__PATH": str(tmp_path / "keeper.sqlite"),
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(240):
            await node.asked("eth_feeHistory", 1)
            await node.asked("eth_getBlockByNumber", 3)
            for fault in (Fault.HTML, Fault.RESET, Fault.RESET, Fault.BAD_GATEWAY, Fault.CUT, Fault.UNAUTHORISED):
                node.inject("eth_call", fault)
                asked = node.count("eth_call")
                devnet.node.mine()
                await node.asked("eth_call", asked + 1)
            process.send_signal(signal.SIGTERM)
            output, _ = await process.communicate()
    text = output.decode()
    assert process.returncode == 0, text
    assert "socket_lost" in text
    assert "web page" in text
    assert key not in text
