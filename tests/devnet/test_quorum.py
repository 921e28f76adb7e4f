"""Three endpoints of which two have to agree, on the wire: what each is asked for, and what happens when one lies."""

import re
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from keeper.config import load_config
from keeper.errors import EndpointsDisagree
from keeper.opening import Running, open_keeper
from keeper.telling import CycleReport
from scripts.localchain.devnet import Devnet
from scripts.storms.wire import Fault, Wire, wire
from tests.commands.shell import keeper, keeper_process

pytestmark = pytest.mark.devnet

READ, TRY_OUT, SEND, RECEIPT = "eth_call", "eth_simulateV1", "eth_sendRawTransaction", "eth_getTransactionReceipt"


@asynccontextmanager
async def watched(devnet: Devnet) -> AsyncGenerator[tuple[Running, list[Wire]]]:
    """The daemon's keeper with a quorum of two, started, behind three wires to the one node."""
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(wire(devnet.url)) for _ in range(3)]
        urls = ", ".join(f'"{each.url}"' for each in wires)
        lines = devnet.config.read_text().splitlines()
        path = devnet.folder / "quorum.toml"
        path.write_text("\n".join(_changed(line, urls) for line in lines))
        running = await stack.enter_async_context(open_keeper(load_config(path), is_dry_run=False))
        yield running, wires


def _changed(line: str, urls: str) -> str:
    return f"rpc_url = [{urls}]\nquorum = 2" if line.startswith("rpc_url") else line


async def cycle(running: Running, wires: Sequence[Wire]) -> CycleReport:
    """One at the newest head; what is asked for from then on is counted."""
    head = await running.session.rpc.head()
    for each in wires:
        each.requests.clear()
    return await running.cycle(head)


def is_in_need(devnet: Devnet) -> None:
    """The accounts at 1.22 and 1.21 come below their trigger of 1.15, above `critical`."""
    devnet.chain.set_price("WETH", "-7%")


def moved(answer: str) -> str:
    """The answer with every feed's and oracle's number changed a little: whole, plausible, and a lie."""
    return answer[:-64] + f"{int(answer[-64:], 16) + 1:064x}"


class Lying:
    """What a node answers, but for one digit."""

    def __init__(self, devnet: Devnet) -> None:
        self._devnet = devnet

    def __call__(self, params: Sequence[Any]) -> str:
        return moved(str(self._devnet.node.request(READ, *params)))


def quarantined(running: Running, node: Wire) -> float | None:
    return running.metrics.registry.get_sample_value("keeper_endpoint_quarantined", {"endpoint": node.url.rstrip("/")})


async def test_each_endpoint_is_asked_once_for_each_thing(devnet: Devnet) -> None:
    async with watched(devnet) as (running, wires):
        devnet.node.mine()
        await cycle(running, wires)
        for each in wires:
            await each.asked(READ, 1)
            assert each.methods == [READ]
        is_in_need(devnet)
        report = await cycle(running, wires)
        assert report.is_sent
        for each in wires:
            await each.asked(SEND, 1)
            assert each.methods == [READ, TRY_OUT, SEND]


async def test_an_endpoint_that_lies_is_outvoted_and_the_rescue_goes_out(devnet: Devnet) -> None:
    async with watched(devnet) as (running, wires):
        wires[0].answers[READ] = Lying(devnet)
        wires[0].answers[TRY_OUT] = [{"calls": [{"status": "0x0", "returnData": "0x", "gasUsed": "0x0", "logs": []}]}]
        is_in_need(devnet)
        report = await cycle(running, wires)
        assert report.is_sent
        assert [quarantined(running, each) for each in wires] == [1.0, 0.0, 0.0]


async def test_two_of_three_that_are_down_leave_those_without_debt_to_give(devnet: Devnet) -> None:
    async with watched(devnet) as (running, wires):
        for each in wires[1:]:
            each.inject("*", *[Fault.BAD_GATEWAY] * 100)
        is_in_need(devnet)
        report = await cycle(running, wires)
        donors = {transfer.donor for rescue in report.plan.rescues for transfer in rescue.transfers}
        assert report.is_sent
        assert [report.snapshot.subaccount(donor).has_debt for donor in donors] == [False]
        alarms = running.metrics.registry.get_sample_value("keeper_alarms_total", {"name": "quorum_lost"})
        assert alarms == 1


async def test_while_two_contradict_each_other_nothing_is_sent(devnet: Devnet) -> None:
    async with watched(devnet) as (running, wires):
        wires[0].answers[READ] = Lying(devnet)
        wires[0].answers[TRY_OUT] = [{"calls": [{"status": "0x0", "returnData": "0x", "gasUsed": "0x0", "logs": []}]}]
        wires[2].inject("*", *[Fault.BAD_GATEWAY] * 100)
        is_in_need(devnet)
        with pytest.raises(EndpointsDisagree, match="contradict each other about what the batch would do"):
            await cycle(running, wires)
        assert [each.count(SEND) for each in wires] == [0, 0, 0]
        assert running.metrics.registry.get_sample_value("keeper_alarms_total", {"name": "quorum_lost"}) == 1


def down(devnet: Devnet, quorum: int) -> Path:
    """The configuration with an endpoint that does not answer before the one that does."""
    devnet.node.set_next_timestamp(max(int(time.time()), devnet.node.timestamp() + 1))
    devnet.node.mine()
    path = devnet.folder / "down.toml"
    text = devnet.config.read_text().replace(
        f'rpc_url = "{devnet.url}"', f'rpc_url = ["http://127.0.0.1:1", "{devnet.url}"]\nquorum = {quorum}'
    )
    path.write_text(text)
    return path


LOST = (
    r"Only http://[^\n]* and 2 endpoints have to agree: http://127\.0\.0\.1:1 cannot be reached: [^\n]*\. "
    r"Until they do, only debt-free donors give\.$"
)


@pytest.mark.parametrize(
    "verb", ["status", "plan", "explain wallet", "what-if --grid WETH=0%..-1%:1%", "run --once --dry-run"]
)
def test_a_quorum_that_is_lost_is_told_by_every_verb_that_looks(devnet: Devnet, verb: str) -> None:
    path = down(devnet, quorum=2)
    is_in_need(devnet)
    said = keeper_process(verb, config=path)
    assert re.search(rf"^QUORUM LOST: {LOST}", said.out, re.MULTILINE), said.out + said.err
    document = keeper_process(f"{verb} --json", config=path).document
    assert "cannot be reached" in document["quorum_problem"]
    assert document["mode"] == "active"
    agreed = keeper_process(verb, config=devnet.config)
    assert "QUORUM" not in agreed.out
    assert keeper_process(f"{verb} --json", config=devnet.config).document["quorum_problem"] is None


def test_the_log_names_the_endpoint_that_does_not_answer(devnet: Devnet) -> None:
    said = keeper_process("run --once --dry-run", config=down(devnet, quorum=2)).err
    assert "http://127.0.0.1:1 cannot be reached" in said
    assert "(hidden)" not in said


@pytest.mark.parametrize(("quorum", "grade", "code"), [(1, "warning", 0), (2, "failure", 1)])
def test_check_names_the_endpoint_that_does_not_answer(devnet: Devnet, quorum: int, grade: str, code: int) -> None:
    path = down(devnet, quorum)
    ran = keeper("check --json", config=path)
    found = {each["subject"]: each for each in ran.document["findings"]}
    assert found["http://127.0.0.1:1"]["grade"] == grade
    assert found["http://127.0.0.1:1"]["says"].startswith("http://127.0.0.1:1 cannot be reached: ")
    assert found[devnet.url]["grade"] == "fine"
    assert ran.code == code
