"""States of the real Euler v2 contracts, recorded with their answers; not part of this repository.

They are looked for in the folder that `EULER_RECORDINGS` names, else in `shared/euler` beside the repository. Without
them the tests that rest on them are skipped; the others hand-make their states.
"""

import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from keeper.core.snapshot import Block, Fresh, Reading, Subaccount
from keeper.core.units import Address
from keeper.protocols.abi import ZERO_ADDRESS, Function, interface
from keeper.protocols.base import Around, Call, CallResult
from keeper.protocols.euler.adapter import EulerV2, discover
from keeper.protocols.euler.math import PROBE, EulerMargin, account
from tests.protocols.fakes import FakeChain

FOLDER = Path(os.environ.get("EULER_RECORDINGS") or Path(__file__).resolve().parents[4] / "shared" / "euler")
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("scenario-*.json")))

needs_recordings = pytest.mark.skipif(
    not NAMES, reason="needs the recorded states of the Euler contracts: set EULER_RECORDINGS to their folder"
)

Json = Mapping[str, Any]


@cache
def document(name: str) -> Json:
    return json.loads((FOLDER / f"{name}.json").read_text("utf-8"))


class Recording(FakeChain):
    """One recorded state, which answers like the chain did; what was not recorded answers like an empty address.

    Beyond the recorded calls it knows what follows from them: that the owner's other sub-accounts are empty, and what
    the adapters quote that a CrossAdapter chains, which its legs were not asked for.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        for entry in (*document("static-calls")["calls"], *self.calls):
            answer = CallResult(entry["success"], bytes.fromhex(entry["returndata"][2:]))
            self.answer_raw(_address(entry["to"]), bytes.fromhex(entry["calldata"][2:]), answer)
        for address in VAULTS.values():
            # Not recorded: the vaults had no caps.
            self.answer(address, interface("EulerVault")["caps"], returns=[0, 0])
        self._answer_for_empty_accounts()
        self._answer_for_the_cross_adapter()

    @property
    def calls(self) -> list[Json]:
        return document(self.name)["calls"]

    def _answer_for_empty_accounts(self) -> None:
        evc, vault = interface("EVC"), interface("EulerVault")
        for number in set(range(256)) - set(document(self.name)["sub_accounts"]):
            one = account(OWNER, number)
            self.answer(EVC, evc["getCollaterals"], one, returns=[[]])
            self.answer(EVC, evc["getControllers"], one, returns=[[]])
            for address in VAULTS.values():
                self.answer(address, vault["balanceOf"], one, returns=[0])

    def _answer_for_the_cross_adapter(self) -> None:
        oracle, tokens, unit = interface("EulerOracle"), TOKENS, Address(str(ADDRESSES["unit_of_account"]).lower())
        adapters = {name: _address(one) for name, one in ADDRESSES["oracles"].items()}
        cross, legs = adapters["wstETH/USD"], (adapters["wstETH/WETH"], adapters["WETH/USD"])
        for getter, answer in (
            ("base", tokens["wstETH"]),
            ("cross", tokens["WETH"]),
            ("oracleBaseCross", legs[0]),
            ("oracleCrossQuote", legs[1]),
        ):
            self.answer(cross, oracle[getter], returns=[answer])
        # RateProviderOracle and ScaleUtils: an 18-decimal rate between two tokens of 18 decimals.
        (of_rate,) = self.results([Call(_address(ADDRESSES["rate_provider"]["wstETH"]), bytes.fromhex("679aefce"))])
        arguments = (PROBE, tokens["wstETH"], tokens["WETH"])
        if any(of_rate.data):
            self.answer(legs[0], oracle["getQuote"], *arguments, returns=[int.from_bytes(of_rate.data) * 10**12])
        else:
            self.revert(legs[0], oracle["getQuote"], *arguments, data=bytes.fromhex("d743df6a"))
        # EulerRouter.getQuote passes on what the adapter answers.
        data = oracle["getQuote"].encode(PROBE, tokens["WETH"], unit)
        (passed_on,) = self.results([Call(_address(ADDRESSES["router"]), data)])
        self.answer_raw(legs[1], data, passed_on)

    # As the adapter sees it -------------------------------------------------------------------------------------------

    @property
    def block(self) -> Block:
        head = document(self.name)
        return Block(head["block"], "0x" + "ab" * 32, "0x" + "aa" * 32, head["timestamp"], head["base_fee"], 30_000_000)

    def around(self, feeds: Mapping[Address, Reading] | None = None) -> Around:
        return Around(self.block, None, {}, feeds or {feed: Fresh() for feed in FEEDS})

    def adapter(self) -> EulerV2:
        adapter, _ = self.run(discover(EVC, OWNER, _address(ADDRESSES["spender"]), list(VAULTS.values())))
        return adapter

    def subaccounts(self, feeds: Mapping[Address, Reading] | None = None) -> dict[int, Subaccount]:
        adapter = self.adapter()
        found = adapter.decode(self.results(adapter.read_calls()), self.around(feeds))
        return {int(one.id.key): one for one in found}

    def margins(self) -> dict[int, EulerMargin]:
        adapter = self.adapter()
        found = adapter.margins(self.results(adapter.read_calls()), self.around())
        return {int(id.key): margin for id, margin in found.items()}

    # As it was recorded -----------------------------------------------------------------------------------------------

    def word(self, to: Address, function: Function, *arguments: object) -> int:
        (result,) = self.results([Call(to, function.encode(*arguments))])
        assert result.success
        assert len(result.data) == 32
        return int.from_bytes(result.data)

    def liquidity(self) -> list[tuple[int, bool, int, int]]:
        """What the vaults answered: sub-account, whether for liquidation, collateral, debt."""
        return liquidity_in(self.calls)

    @property
    def movable(self) -> list[Json]:
        return document(self.name)["movable"]

    @property
    def effects(self) -> list[Json]:
        return document(self.name)["effects"]

    @property
    def untouched(self) -> Json | None:
        return document(self.name)["untouched_next_block"]


def liquidity_in(reads: Sequence[Json]) -> list[tuple[int, bool, int, int]]:
    """Every answered `accountLiquidity`: sub-account, whether for liquidation, collateral, debt."""
    return [
        (
            number_of(read["args"][0]),
            read["args"][1],
            int(read["returndata"][2:66], 16),
            int(read["returndata"][66:], 16),
        )
        for read in reads
        if read["signature"] == "accountLiquidity(address,bool)" and read["success"]
    ]


def number_of(sub_account: str) -> int:
    return int(sub_account, 16) ^ int(OWNER, 16)


def _address(text: str) -> Address:
    return Address(text.lower())


ADDRESSES: Json = document("addresses") if NAMES else {}
OWNER = _address(ADDRESSES.get("owner", ZERO_ADDRESS))
EVC = _address(ADDRESSES.get("evc", ZERO_ADDRESS))
VAULTS = {name: _address(vault["address"]) for name, vault in ADDRESSES.get("vaults", {}).items()}
TOKENS = {name: _address(token["address"]) for name, token in ADDRESSES.get("tokens", {}).items()}
FEEDS = [_address(feed["address"]) for feed in ADDRESSES.get("feeds", {}).values()]
