"""An endpoint with a mood misbehaves in that way and in no other, and keeps the rules of a public node."""

import json
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from eth_account import Account

from scripts.storms.endpoint import (
    CALM,
    DOWN,
    LAGGING,
    LIAR,
    LIMITED,
    MISSHAPEN,
    STALLED,
    Endpoint,
    KillPoint,
    Mood,
)
from scripts.storms.wire import served

pytestmark = pytest.mark.loopback

KEY = "0x" + "11" * 32
WORDS = [7, 10**15, 10**18, 10**30, 2 * 10**30]
CALL_RESULT = "0x" + "".join(f"{word:064x}" for word in WORDS)
BLOCKS = {f"0x{number:064x}": {"number": hex(number), "hash": f"0x{number:064x}"} for number in range(101)}


def answers() -> dict[str, Any]:
    def block(params: list[Any]) -> Any:
        number = {"latest": 100, "finalized": 90}.get(params[0]) or int(params[0], 16)
        return BLOCKS[f"0x{number:064x}"]

    def by_hash(params: list[Any]) -> Any:
        return BLOCKS.get(params[0])

    return {
        "eth_blockNumber": "0x64",
        "eth_getBlockByNumber": block,
        "eth_getBlockByHash": by_hash,
        "eth_call": CALL_RESULT,
        "eth_getBalance": "0x10",
        "eth_getTransactionReceipt": {"status": "0x1"},
        "eth_sendRawTransaction": "0x01",
    }


@asynccontextmanager
async def endpoint(mood: Mood) -> AsyncGenerator[tuple[Endpoint, aiohttp.ClientSession]]:
    made = Endpoint(answers=answers(), mood=mood, chance=random.Random(1))
    async with served(made), aiohttp.ClientSession() as session:
        yield made, session


async def ask(made: Endpoint, session: aiohttp.ClientSession, method: str, *params: Any) -> Any:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": [*params]}
    async with session.post(made.url, data=json.dumps(request)) as response:
        answer = json.loads(await response.text())
        return answer.get("result", answer.get("error"))


def words(call_result: str) -> list[int]:
    raw = bytes.fromhex(call_result[2:])
    return [int.from_bytes(raw[at : at + 32]) for at in range(0, len(raw), 32)]


def signed(nonce: int, max_fee_wei: int, tip_wei: int, gas: int = 1_000_000) -> str:
    transaction = {
        "type": 2, "chainId": 1, "nonce": nonce, "to": "0x" + "22" * 20, "value": 0, "data": "0x", "gas": gas,
        "maxFeePerGas": max_fee_wei, "maxPriorityFeePerGas": tip_wei,
    }  # fmt: skip
    return Account.sign_transaction(transaction, KEY).raw_transaction.to_0x_hex()


async def test_a_calm_endpoint_passes_everything_on() -> None:
    async with endpoint(CALM) as (made, session):
        assert await ask(made, session, "eth_call", {}, {"blockHash": f"0x{100:064x}"}) == CALL_RESULT
        assert await ask(made, session, "eth_getBalance") == "0x10"
        assert made.faults_met == 0


async def test_a_liar_doubles_what_looks_like_an_amount_and_keeps_receipts_back() -> None:
    async with endpoint(LIAR) as (made, session):
        told = await ask(made, session, "eth_call", {}, {"blockHash": f"0x{100:064x}"})
        assert words(told) == [7, 2 * 10**15, 2 * 10**18, 2 * 10**30, 2 * 10**30]
        assert await ask(made, session, "eth_getBalance") == "0x20"
        assert await ask(made, session, "eth_getTransactionReceipt") is None


async def test_what_a_misshapen_answer_lacks_is_its_last_word() -> None:
    async with endpoint(MISSHAPEN) as (made, session):
        told = await ask(made, session, "eth_call", {}, {"blockHash": f"0x{100:064x}"})
        assert words(told) == WORDS[:-1]


@pytest.mark.parametrize(("number", "is_known"), [(96, True), (97, True), (98, False), (100, False)])
async def test_a_lagging_endpoint_knows_nothing_newer_than_its_head(number: int, is_known: bool) -> None:
    async with endpoint(LAGGING) as (made, session):
        assert (await ask(made, session, "eth_getBlockByNumber", "latest", False))["number"] == hex(97)
        told = await ask(made, session, "eth_call", {}, {"blockHash": f"0x{number:064x}"})
        assert (told == CALL_RESULT) is is_known
        assert is_known or told["message"] == "header not found"


async def test_an_endpoint_whose_finality_stalls_goes_on_naming_the_same_block() -> None:
    async with endpoint(CALM) as (made, session):
        assert (await ask(made, session, "eth_getBlockByNumber", "finalized", False))["number"] == hex(90)
        made.mood = STALLED
        made.answers["eth_getBlockByNumber"] = BLOCKS[f"0x{95:064x}"]
        assert (await ask(made, session, "eth_getBlockByNumber", "finalized", False))["number"] == hex(90)
        assert (await ask(made, session, "eth_getBlockByNumber", "latest", False))["number"] == hex(95)


@pytest.mark.parametrize(
    ("max_fee_wei", "tip_wei", "is_taken"),
    [(100, 10, True), (110, 11, True), (109, 11, False), (110, 10, False), (200, 10, False), (200, 20, True)],
)
async def test_a_replacement_needs_a_tenth_more_of_both_fees(max_fee_wei: int, tip_wei: int, is_taken: bool) -> None:
    async with endpoint(CALM) as (made, session):
        assert await ask(made, session, "eth_sendRawTransaction", signed(0, 100, 10)) == "0x01"
        told = await ask(made, session, "eth_sendRawTransaction", signed(0, max_fee_wei, tip_wei))
        assert (told == "0x01") is is_taken
        assert is_taken or told["message"] == "replacement transaction underpriced"


@pytest.mark.parametrize(("gas", "is_taken"), [(2**24, True), (2**24 + 1, False)])
async def test_no_transaction_has_more_gas_than_the_chain_allows(gas: int, is_taken: bool) -> None:
    async with endpoint(CALM) as (made, session):
        assert (await ask(made, session, "eth_sendRawTransaction", signed(0, 100, 10, gas)) == "0x01") is is_taken


async def test_a_forgetful_endpoint_says_that_it_took_what_it_passes_on_to_nobody() -> None:
    async with endpoint(Mood("forgets all", drops_percent=100)) as (made, session):
        raw = signed(0, 100, 10)
        assert await ask(made, session, "eth_sendRawTransaction", raw) != "0x01"
        assert made.faults_met == 1


@pytest.mark.parametrize("mood", [DOWN, LIMITED])
async def test_an_endpoint_that_fails_answers_nothing_of_use(mood: Mood) -> None:
    async with endpoint(mood) as (made, session):
        failed = 0
        for _ in range(20):
            try:
                failed += await ask(made, session, "eth_blockNumber") != "0x64"
            except (aiohttp.ClientError, ValueError):
                failed += 1
        assert failed == made.faults_met
        assert failed == 20 if mood is DOWN else 5 < failed < 20


async def test_the_same_seed_meets_the_same_requests_with_the_same_faults() -> None:
    met: list[list[int]] = []
    for _ in range(2):
        async with endpoint(LIMITED) as (made, session):
            seen: list[int] = []
            for _ in range(10):
                with suppress(ValueError):
                    await ask(made, session, "eth_blockNumber")
                seen.append(made.faults_met)
            met.append(seen)
    assert met[0] == met[1]


@pytest.mark.parametrize(
    ("point", "method"),
    [(KillPoint.READING, "eth_call"), (KillPoint.SENDING, "eth_sendRawTransaction")],
)
async def test_a_process_is_killed_over_what_it_asks_for(
    point: KillPoint, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed: list[int] = []

    def kill(pid: int, _signal: int) -> None:
        killed.append(pid)

    monkeypatch.setattr("os.kill", kill)
    async with endpoint(CALM) as (made, session):
        made.killer.pid, made.killer.point = 4711, point
        await ask(made, session, "eth_blockNumber")
        assert killed == []
        with pytest.raises(ValueError, match="Expecting value"):
            await ask(made, session, method, signed(0, 100, 10))
        assert killed == [4711]
        assert (made.killer.point, made.killer.has_killed) == (None, True)
