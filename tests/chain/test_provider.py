"""The provider against a node that misbehaves, one way at a time."""

import asyncio
import logging
import sys
import traceback
from collections.abc import AsyncIterator

import pytest
from web3.types import RPCEndpoint

from keeper.chain.provider import HttpProvider, retry_after_seconds
from keeper.errors import BadAnswer, ChainError, NodeRefused, NodeUnreachable, RateLimited
from scripts.storms.wire import Fault, Refusal, Wire, wire

pytestmark = pytest.mark.loopback

KEY = "s3cr3t-k3y-0123456789abcdef"
GAS_PRICE = RPCEndpoint("eth_gasPrice")


@pytest.fixture
async def node() -> AsyncIterator[Wire]:
    async with wire(answers={"eth_gasPrice": "0x7", "eth_chainId": "0x1"}, path=f"/v3/{KEY}?apikey={KEY}x") as server:
        yield server


@pytest.fixture
async def provider(node: Wire) -> AsyncIterator[HttpProvider]:
    http = HttpProvider(node.url)
    yield http
    await http.disconnect()


async def test_requests_share_one_kept_alive_connection(node: Wire, provider: HttpProvider) -> None:
    for _ in range(5):
        assert (await provider.make_request(GAS_PRICE, [])).get("result") == "0x7"
    assert [request.connection for request in node.requests] == [0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("fault", "expected", "sentence"),
    [
        (Fault.RESET, NodeUnreachable, "closed the connection without an answer to eth_gasPrice"),
        (Fault.CUT, BadAnswer, "cut its answer to eth_gasPrice short"),
        (Fault.TRUNCATED, BadAnswer, "with no complete JSON object"),
        (Fault.WRONG_ID, BadAnswer, "with the id of another request"),
        (Fault.HTML, BadAnswer, "with a web page"),
        (Fault.EMPTY, BadAnswer, "with nothing"),
        (Fault.NO_RESULT, BadAnswer, "with neither a result nor an error"),
        (Fault.TOO_MANY, RateLimited, "limits the rate of requests"),
        (Fault.LIMIT_EXCEEDED, RateLimited, "limits the rate of requests"),
        (Fault.BAD_GATEWAY, NodeUnreachable, "has no node behind it"),
        (Fault.UNAUTHORISED, NodeRefused, "refuses access"),
    ],
)
async def test_a_bad_answer_is_a_named_fault(
    node: Wire, provider: HttpProvider, fault: Fault, expected: type[ChainError], sentence: str
) -> None:
    node.inject("eth_gasPrice", fault)
    with pytest.raises(expected, match=sentence):
        await provider.make_request(GAS_PRICE, [])
    assert (await provider.make_request(GAS_PRICE, [])).get("result") == "0x7", "the next request is not affected"


async def test_a_rate_limit_says_how_long_to_wait(node: Wire, provider: HttpProvider) -> None:
    node.inject("eth_gasPrice", Fault.TOO_MANY)
    with pytest.raises(RateLimited) as caught:
        await provider.make_request(GAS_PRICE, [])
    assert caught.value.retry_after_seconds == 3.0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("²", None),
        ("٣", None),
        ("", None),
        ("soon", None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999", None),
    ],
)
def test_whatever_a_node_says_about_how_long_to_wait_is_no_fault(header: str, seconds: float | None) -> None:
    assert retry_after_seconds(header) == seconds


async def test_an_answer_of_nothing_but_brackets_is_a_bad_answer(node: Wire, provider: HttpProvider) -> None:
    """The process died of it: a library raises the recursion limit far beyond what the stack holds."""
    sys.setrecursionlimit(100_000)
    node.inject("eth_gasPrice", Fault.BRACKETS)
    with pytest.raises(BadAnswer, match="with no complete JSON object"):
        await provider.make_request(GAS_PRICE, [])
    assert sys.getrecursionlimit() == 1000


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-32005, "query returned more than 10000 results"),  # Infura
        (-32005, "Transaction gas limit exceeds block gas limit"),  # besu
        (-32005, "Transaction gas limit cap exceeded"),  # besu, EIP-7825
        (-32005, "Requested range exceeds maximum RPC range limit"),  # besu
        (-32005, "Number of requests exceeds max batch size"),  # besu
        (-32000, "exceeds block gas limit"),  # geth
    ],
)
async def test_a_limit_of_something_else_is_not_one_of_the_rate(
    node: Wire, provider: HttpProvider, code: int, words: str
) -> None:
    node.inject("eth_gasPrice", Refusal(code, words))
    answer = await provider.make_request(GAS_PRICE, [])
    assert answer.get("error", {}) == {"code": code, "message": words}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (-32005, "limit exceeded"),  # EIP-1474
        (-32005, "daily request count exceeded, request rate limited"),  # Infura
        (-32005, "project ID request rate exceeded"),  # Infura
        (-32007, "15/second request limit reached - reduce calls per second or upgrade your account"),  # QuickNode
        (-32000, "Your app has exceeded its compute units per second capacity."),  # Alchemy
        (-32000, "Monthly capacity limit exceeded."),  # Alchemy
        (429, "none of these words"),
    ],
)
async def test_a_limit_of_the_rate_is_known_by_its_words_and_else_by_its_code(
    node: Wire, provider: HttpProvider, code: int, words: str
) -> None:
    node.inject("eth_gasPrice", Refusal(code, words))
    with pytest.raises(RateLimited):
        await provider.make_request(GAS_PRICE, [])


async def test_a_connection_that_the_node_closed_while_idle_costs_nothing(node: Wire, provider: HttpProvider) -> None:
    await provider.make_request(GAS_PRICE, [])
    node.inject("eth_gasPrice", Fault.RESET)
    assert (await provider.make_request(GAS_PRICE, [])).get("result") == "0x7"
    assert [request.connection for request in node.requests] == [0, 0, 1]


async def test_a_node_that_closes_every_connection_is_asked_twice_at_most(node: Wire, provider: HttpProvider) -> None:
    await provider.make_request(GAS_PRICE, [])
    node.inject("eth_gasPrice", Fault.RESET, Fault.RESET, Fault.RESET)
    with pytest.raises(NodeUnreachable):
        await provider.make_request(GAS_PRICE, [])
    assert node.count("eth_gasPrice") == 3


async def test_no_node_is_a_sentence() -> None:
    provider = HttpProvider(f"http://127.0.0.1:9/{KEY}")
    with pytest.raises(NodeUnreachable, match=r"^http://127\.0\.0\.1:9/… cannot be reached: .+\.$"):
        await provider.make_request(GAS_PRICE, [])
    await provider.disconnect()


async def test_cancelled_requests_leave_nothing_behind(node: Wire, provider: HttpProvider) -> None:
    """web3's own provider hangs for good after this: it never releases a lock of a cancelled call."""
    for round in range(1, 21):
        node.inject("eth_gasPrice", *[Fault.HANG] * 14)
        requests = [asyncio.create_task(provider.make_request(GAS_PRICE, [])) for _ in range(20)]
        await node.asked("eth_gasPrice", 20 * round)
        for request in requests:
            request.cancel()
        await asyncio.gather(*requests, return_exceptions=True)
    async with asyncio.timeout(2):
        assert (await provider.make_request(GAS_PRICE, [])).get("result") == "0x7"


@pytest.mark.parametrize("fault", [fault for fault in Fault if fault not in (Fault.HANG, Fault.SWALLOWED)])
async def test_the_key_is_in_no_exception_and_no_log(
    node: Wire, provider: HttpProvider, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    node.inject("eth_gasPrice", fault, fault)
    with pytest.raises(ChainError) as caught:
        await provider.make_request(GAS_PRICE, [])
    error = caught.value
    texts = [str(error), repr(error), repr(error.__context__), *traceback.format_exception(error)]
    assert not any(KEY in text for text in [*texts, caplog.text, repr(provider), repr(vars(provider))])


def test_a_key_is_recognised_as_it_was_before_it_was_encoded() -> None:
    redact = HttpProvider("https://node.example.org/a%2Bb%2Fc-0123?key=x%20y%20z%20123").redact
    assert redact("the key a+b/c-0123 or x y z 123") == "the key … or …"


async def test_a_key_that_the_node_echoes_is_taken_out(provider: HttpProvider) -> None:
    echoed = f"project {KEY} has no archive access\n\x1b[31m" + "x" * 1000
    shown = provider.redact(echoed)
    assert shown.startswith("project … has no archive access [31mxxx")
    assert len(shown) == 241


@pytest.mark.parametrize(
    ("url", "label"),
    [
        ("https://mainnet.example.org/v3/0123456789abcdef", "https://mainnet.example.org/…"),
        ("https://user:pa55word@node.example.org:8545", "https://node.example.org:8545/…"),
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("wss://node.example.org/?token=abcdefghij", "wss://node.example.org/…"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, label: str) -> None:
    assert HttpProvider(url).label == label
    assert HttpProvider(url).redact(f"Cannot connect to {url}") == "Cannot connect to …"
