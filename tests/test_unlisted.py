"""What cannot be kept is named, and hides nothing else of what keeper.toml leaves out."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from keeper import unlisted
from keeper.chain.node import Node
from keeper.chain.pace import Limits
from keeper.chain.pool import EndpointPool
from keeper.chain.reader import Reader
from keeper.chain.rpc import Rpc
from keeper.config import load_config
from keeper.core.policy import resolve
from keeper.protocols.abi import interface
from keeper.protocols.base import Call, CallResult
from keeper.protocols.multicall import decode_calls, encode_results
from keeper.protocols.portfolio import discover
from keeper.session import Session, policy_settings, portfolio_settings
from keeper.unlisted import Unlisted, find_unlisted
from tests.fakes import FakeClock, FakeProvider
from tests.protocols.aave.fakes import OF_ORACLE, OF_POOL, ORACLE, POOL, V36, an_aave_chain
from tests.protocols.euler.fakes import E_USDC, E_WETH, EVC, OF_VAULT, SUB_0, an_euler_chain, set_token
from tests.protocols.fakes import BLOCK, ETH_FEED, MARKET, MORPHO, OWNER, WETH, FakeChain, address

NO_CODE = CallResult(True, b"")
MADE_AT = BLOCK.number - 1_000
EARN, UNI = address(0xEA), address(0xEB)
NOT_KEPT = "a position that cannot be kept: "
NOT_LOOKED_FOR = "new positions on Aave could not be looked for: "
ON_MORPHO, ON_AAVE, ON_EULER = f"morpho:{MARKET}", f"aave:{OWNER}", ("euler:0", "euler:3")


@pytest.fixture(autouse=True)
def whereabouts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unlisted, "MORPHO_USUAL", MORPHO)
    monkeypatch.setattr(unlisted, "AAVE_USUAL", {1: POOL})
    monkeypatch.setattr(unlisted, "EVC_USUAL", {1: EVC})


class Endpoint:
    """One node on which several fake chains are one, with the owner's positions; keeper.toml names WETH alone."""

    def __init__(self, folder: Path, *chains: FakeChain, tokens: Sequence[str] = (WETH,), more: str = "") -> None:
        self._chains = chains
        provider = FakeProvider("node", {"eth_call": self._call, "eth_getCode": self._code, "eth_getLogs": self._logs})
        self.rpc = Rpc(EndpointPool([Node(provider, 1, Limits(requests_per_second=10_000))]))
        path = folder / "keeper.toml"
        path.write_text(
            f'[chain]\nrpc_url = "http://127.0.0.1:8545"\nchain_id = 1\n\n[guard]\nowner = "{OWNER}"\n\n'
            f'[[protocols]]\nkind = "wallet"\ntokens = {json.dumps(tokens)}\n\n{more}'
        )
        self._config = load_config(path)

    def _results(self, calls: Sequence[Call]) -> list[CallResult]:
        of_chains = zip(*(chain.results(calls) for chain in self._chains), strict=True)
        return [next((result for result in results if result != NO_CODE), NO_CODE) for results in of_chains]

    def _call(self, params: Sequence[Any]) -> str:
        calls = decode_calls(bytes.fromhex(params[0]["data"][2:]))
        return f"0x{encode_results(self._results(calls)).hex()}"

    def _code(self, params: Sequence[Any]) -> str:
        return "0x01" if params[0] in (MORPHO, POOL, EVC) else "0x"

    def _logs(self, params: Sequence[Any]) -> list[Any]:
        """The supply of collateral that made the position on Morpho, and Euler's calls to contracts."""
        (query,) = params
        if int(query["fromBlock"], 16) > MADE_AT or int(query["toBlock"], 16) < MADE_AT:
            return []
        named = {MORPHO: [MARKET], EVC: [f"0x{contract[2:]:0>64}" for contract in (E_WETH, EARN)]}[query["address"]]
        return [
            {"address": query["address"], "topics": [query["topics"][0], one, one, one], "data": "0x"} for one in named
        ]

    async def look(self) -> Unlisted:
        reader = Reader(self.rpc, clock=FakeClock())
        portfolio = await reader.discover(discover(portfolio_settings(self._config)), BLOCK)
        policy = resolve(policy_settings(self._config), portfolio.pairs())
        return await find_unlisted(Session(self._config, self.rpc, reader, portfolio, policy), BLOCK)


def ids(found: Unlisted) -> list[str]:
    return [str(each.id) for each in found.positions]


def problems(found: Unlisted) -> list[str]:
    """Without how far the logs were looked through."""
    return [note for note in found.notes if "the next look goes on" not in note]


async def test_what_keeper_toml_leaves_out_is_found_on_every_protocol(tmp_path: Path) -> None:
    found = await Endpoint(tmp_path, an_aave_chain(), an_euler_chain()).look()
    assert ids(found) == [ON_MORPHO, ON_AAVE, *ON_EULER]
    assert problems(found) == []


async def test_an_aave_pool_of_another_revision_is_named_and_hides_no_other_position(tmp_path: Path) -> None:
    found = await Endpoint(tmp_path, an_aave_chain(revision=11), an_euler_chain()).look()
    assert ids(found) == [ON_MORPHO, *ON_EULER]
    (problem,) = problems(found)
    assert problem == (
        f"{NOT_KEPT}the Aave pool {POOL} is of revision 11 and the keeper knows 1 (Aave v3.0) and 10 (Aave v3.6), "
        "whose roundings differ; update the keeper, or remove this pool"
    )


def no_lists(chain: FakeChain) -> None:
    chain.revert(POOL, OF_POOL["getReservesList"])


def no_use(chain: FakeChain) -> None:
    chain.revert(POOL, OF_POOL["getUserConfiguration"], OWNER)


def no_provider(chain: FakeChain) -> None:
    chain.revert(POOL, OF_POOL["ADDRESSES_PROVIDER"])


def no_currency(chain: FakeChain) -> None:
    chain.revert(ORACLE, OF_ORACLE["BASE_CURRENCY"])


@pytest.mark.parametrize(
    ("breaks", "problem"),
    [
        (no_lists, f"{NOT_LOOKED_FOR}{POOL} is not an Aave v3 pool: it lists no reserves; correct its address"),
        (no_use, f"{NOT_LOOKED_FOR}the Aave pool {POOL} does not say what the accounts use; correct its address"),
        (no_provider, f"{NOT_KEPT}the Aave pool {POOL} does not name its addresses provider"),
        (no_currency, f"{NOT_KEPT}the price oracle {ORACLE} does not say its base currency"),
    ],
)
async def test_an_aave_pool_that_does_not_answer_is_named_and_hides_no_other_position(
    tmp_path: Path, breaks: Callable[[FakeChain], None], problem: str
) -> None:
    chain = an_aave_chain(V36)
    breaks(chain)
    found = await Endpoint(tmp_path, chain, an_euler_chain()).look()
    assert ids(found) == [ON_MORPHO, *ON_EULER]
    assert problems(found) == [problem]


async def test_a_market_that_cannot_be_kept_is_named_and_hides_no_other_position(tmp_path: Path) -> None:
    chain = an_aave_chain()
    chain.revert(MORPHO, interface("Morpho")["idToMarketParams"], bytes.fromhex(MARKET[2:]))
    found = await Endpoint(tmp_path, chain, an_euler_chain()).look()
    assert ids(found) == [ON_AAVE, *ON_EULER]
    assert problems(found) == [
        NOT_KEPT + f"{MORPHO} is not Morpho Blue: it knows no idToMarketParams; correct its address"
    ]


async def test_an_euler_vault_that_backs_something_and_cannot_be_kept_is_named_and_hides_no_other_protocol(
    tmp_path: Path,
) -> None:
    chain = an_euler_chain()
    chain.revert(E_USDC, OF_VAULT["oracle"])
    found = await Endpoint(tmp_path, an_aave_chain(), chain).look()
    assert ids(found) == [ON_MORPHO, ON_AAVE]
    assert problems(found) == [NOT_KEPT + f"{E_USDC} is not an Euler vault: it knows no oracle; correct or remove it"]


async def test_shares_of_what_is_no_vault_hide_no_sub_account(tmp_path: Path) -> None:
    """A vault of vaults belongs to the connector as well, and values nothing."""
    chain = an_euler_chain()
    chain.answer(EARN, OF_VAULT["EVC"], returns=[EVC])
    chain.answer(EARN, OF_VAULT["asset"], returns=[WETH])
    chain.answer(EARN, OF_VAULT["balanceOf"], SUB_0, returns=[10**18])
    found = await Endpoint(tmp_path, an_aave_chain(), chain).look()
    assert ids(found) == [ON_MORPHO, ON_AAVE, *ON_EULER]
    assert problems(found) == [
        NOT_KEPT + f"{EARN} is not an Euler vault: it knows no unitOfAccount; correct or remove it"
    ]


async def test_a_second_price_of_a_token_that_the_wallet_alone_holds_hides_nothing(tmp_path: Path) -> None:
    chain = an_euler_chain()
    set_token(chain, UNI, "UNI", 18)
    second = f'[[prices.second]]\ntoken = "UNI"\nfeed = "{ETH_FEED}"\n'
    found = await Endpoint(tmp_path, an_aave_chain(), chain, tokens=(WETH, UNI), more=second).look()
    assert ids(found) == [ON_MORPHO, ON_AAVE, *ON_EULER]
    assert problems(found) == []
