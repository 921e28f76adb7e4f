"""The Euler adapter against our stand-in for Euler v2 on a local chain.

A stand-in, not the real contracts, which no package registry has: it answers as those were recorded, and what it leaves
out (caps, fees, hooks, spreads between bid and ask) is not tested here. `tests/protocols/test_euler_recorded` holds the
adapter to the real ones' recorded answers.
"""

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest

from keeper.core.snapshot import Fresh, Snapshot, SubaccountId
from keeper.core.units import INFINITE_HEALTH, Address
from keeper.protocols.abi import explain_revert, interface
from keeper.protocols.base import Call
from keeper.protocols.multicall import MULTICALL3, decode_aggregate3, encode_aggregate3
from keeper.protocols.portfolio import EulerSettings, Portfolio, discover
from scripts.localchain import euler
from scripts.localchain.abi import encode_call, selector
from scripts.localchain.devnet import Devnet
from scripts.localchain.euler import EulerDeployment
from scripts.localchain.node import NodeError
from scripts.localchain.world import DEPLOYER, LIQUIDATOR, OWNER, STRANGER
from tests.protocols import conformance
from tests.protocols.on_chain import as_address, read_snapshot, run_discovery, settings_of

pytestmark = pytest.mark.devnet

STATES = 100
PRICED = {"WETH": (2_500, 8), "wstETH": (1.2, 18), "USDC": (1, 8)}
UNSAFE_PRICES_BPS = (4_000, 25_000)
LOANS = {1: "USDC", 2: "WETH"}
"""By sub-account."""
FIRST = {1: "WETH", 2: "wstETH"}
"""The collateral that is moved."""
GIVER = LIQUIDATOR
"""Has shares and owes nothing."""
SCALES = {"WETH": 10**18, "wstETH": 10**18, "USDC": 2_500 * 10**6}
"""What is worth about as much as one WETH, raw."""
REFUSALS = {selector("E_AccountLiquidity()"), selector("E_InsufficientBalance()")}
HEALTHY = {bytes(64)}


class EulerSubject:
    """Sub-account 1 owes USDC against WETH and wstETH, number 2 owes WETH against wstETH and USDC.

    Multicall3 may take their shares, so that a change and its effect fit into one call.
    """

    def __init__(self, devnet: Devnet) -> None:
        self.devnet, node, deployment = devnet, devnet.node, devnet.deployment
        self.euler: EulerDeployment = euler.deploy(node, deployment.tokens, deployment.feeds)
        for number, symbol, amount in (
            (1, "WETH", 20 * 10**18),
            (1, "wstETH", 5 * 10**18),
            (2, "wstETH", 20 * 10**18),
            (2, "USDC", 9_000 * 10**6),
        ):
            euler.deposit(node, self.euler, OWNER, number, symbol, amount)
        euler.borrow(node, self.euler, OWNER, 1, "USDC", 40_000 * 10**6, ("WETH", "wstETH"))
        euler.borrow(node, self.euler, OWNER, 2, "WETH", 18 * 10**18, ("wstETH", "USDC"))
        approve = encode_call("approve(address,uint256)", MULTICALL3, 2**255)
        for symbol in FIRST.values():
            euler.deposit(node, self.euler, GIVER, 0, symbol, 200 * 10**18)
            node.transact(GIVER.address, self.euler.vaults[symbol], approve)
        for number in LOANS:
            for symbol in self.euler.vaults:
                euler.act(node, self.euler, OWNER, number, symbol, approve)
        vaults = tuple(as_address(vault) for vault in self.euler.vaults.values())
        settings = replace(settings_of(devnet), protocols=(EulerSettings(as_address(self.euler.evc), vaults),))
        self.portfolio: Portfolio = run_discovery(node, discover(settings))

    def snapshot(self) -> Snapshot:
        return read_snapshot(self.devnet.node, self.portfolio)

    def accounts(self) -> list[SubaccountId]:
        return [SubaccountId("euler", str(number)) for number in LOANS]

    def wait(self, seconds: int) -> None:
        self.devnet.node.set_next_timestamp(self.devnet.node.timestamp() + seconds)
        self.devnet.node.mine()

    def shake(self, random: Random) -> None:
        node = self.devnet.node
        node.set_next_timestamp(node.timestamp() + random.choice((1, 2, 13, 3_600, 86_400, 7 * 86_400)))
        self._change_an_account(random)
        for symbol, (usual, decimals) in PRICED.items():
            usual_answer = int(usual * 10**decimals)
            bps = random.randint(*UNSAFE_PRICES_BPS) if random.random() < 0.6 else 10_000
            answer = usual_answer * bps // 10_000 + random.randint(0, 99)
            self.devnet.chain.set_round(symbol, answer, node.timestamp())
        self.wait(1)  # within the second of its check an account is not liquidated

    def _change_an_account(self, random: Random) -> None:
        """What the vaults refuse stays as it is."""
        node, number, symbol = self.devnet.node, random.choice(list(LOANS)), random.choice(list(SCALES))
        loan = LOANS[number]
        amount = random.randint(1, 5 * SCALES[symbol])
        try:
            match random.randrange(5):
                case 0 if symbol != loan:
                    euler.deposit(node, self.euler, OWNER, number, symbol, amount)
                case 1 if symbol != loan:
                    data = encode_call("transfer(address,uint256)", STRANGER.address, amount // 2)
                    euler.act(node, self.euler, OWNER, number, symbol, data)
                case 2:
                    euler.borrow(node, self.euler, OWNER, number, loan, random.randint(1, 5 * SCALES[loan]))
                case 3:
                    euler.repay(node, self.euler, OWNER, number, loan, random.randint(1, 5 * SCALES[loan]))
                case _:
                    data = encode_call(
                        "setLTV(address,uint16,uint16,uint32)", self._collateral(number), 7_000, 7_500, 0
                    )
                    node.transact(DEPLOYER.address, self.euler.vaults[loan], data)
        except NodeError:
            node.mine()

    def _collateral(self, number: int) -> str:
        return self.euler.vaults[FIRST[number]]

    # The contracts' own opinion ---------------------------------------------------------------------------------------

    def health(self, account: SubaccountId, delta_raw: int = 0) -> int:
        """Shares leave as the guard takes them, rounded up, or arrive, rounded down."""
        vault, one = as_address(self._collateral(int(account.key))), euler.sub_account(OWNER, int(account.key))
        transfer = "transferFrom(address,address,uint256)"
        if delta_raw < 0:
            shares = self._ask(vault, "previewWithdraw(uint256)", -delta_raw)
            return self.health_after(account, [Call(vault, encode_call(transfer, one, STRANGER.address, shares))])
        if delta_raw:
            shares = self._ask(vault, "convertToShares(uint256)", delta_raw)
            return self.health_after(account, [Call(vault, encode_call(transfer, GIVER.address, one, shares))])
        return self.health_after(account, [])

    def withdrawing(self, account: SubaccountId, amount_raw: int) -> list[Call]:
        one = euler.sub_account(OWNER, int(account.key))
        withdraw = encode_call("withdraw(uint256,address,address)", amount_raw, MULTICALL3, one)
        return [Call(as_address(self._collateral(int(account.key))), withdraw)]

    def depositing(self, account: SubaccountId, amount_raw: int) -> list[Call]:
        number, vault = int(account.key), as_address(self._collateral(int(account.key)))
        token = as_address(self.euler.tokens[FIRST[number]])
        return [
            Call(token, encode_call("mint(address,uint256)", MULTICALL3, amount_raw)),
            Call(token, interface("ERC20")["approve"].encode(vault, amount_raw)),
            Call(vault, encode_call("deposit(uint256,address)", amount_raw, euler.sub_account(OWNER, number))),
        ]

    def _ask(self, to: str, signature: str, *arguments: object) -> int:
        return int.from_bytes(self.devnet.node.call(to, encode_call(signature, *arguments)))

    def health_after(self, account: SubaccountId, calls: Sequence[Call]) -> int:
        lender = as_address(self.euler.vaults[LOANS[int(account.key)]])
        one = Address(euler.sub_account(OWNER, int(account.key)))
        asked = [*calls, Call(lender, interface("EulerVault")["accountLiquidity"].encode(one, True))]
        results = decode_aggregate3(self.devnet.node.call(MULTICALL3, encode_aggregate3(asked)), len(asked))
        assert all(result.success for result in results), [explain_revert(result.data) for result in results]
        collateral, debt = int.from_bytes(results[-1].data[:32]), int.from_bytes(results[-1].data[32:])
        return min(collateral * 10**18 // debt, INFINITE_HEALTH) if debt else INFINITE_HEALTH

    def is_liquidatable(self, account: SubaccountId) -> bool:
        number = int(account.key)
        data = encode_call(
            "checkLiquidation(address,address,address)",
            LIQUIDATOR.address, euler.sub_account(OWNER, number), self._collateral(number),
        )  # fmt: skip
        return self.devnet.node.call(self.euler.vaults[LOANS[number]], data) not in HEALTHY

    def lets_leave(self, account: SubaccountId, amount_raw: int) -> bool:
        """As the guard moves it: as many shares as the amount takes, rounded up."""
        number = int(account.key)
        vault, one = self._collateral(number), euler.sub_account(OWNER, number)
        shares = self._ask(vault, "previewWithdraw(uint256)", amount_raw)
        data = encode_call(
            "transferFrom(address,address,uint256)", one, STRANGER.address, shares
        )  # fmt: skip
        refusal = self._refusal(vault, data)
        assert refusal is None or refusal in REFUSALS, refusal
        return refusal is None

    def _refusal(self, to: str, data: bytes) -> bytes | None:
        """The selector of an error; None when it passes."""
        try:
            self.devnet.node.call(to, data, sender=MULTICALL3)
        except NodeError as refused:
            return refused.data[:4]
        return None


@pytest.fixture
def subject(devnet: Devnet) -> EulerSubject:
    return EulerSubject(devnet)


def test_health_and_movable_amounts_are_the_contracts_in_random_states(subject: EulerSubject) -> None:
    conformance.check_arithmetic_in_random_states(subject, Random(20_260_301), STATES)


def test_health_at_inclusion_bounds_what_the_contract_then_says(subject: EulerSubject) -> None:
    conformance.check_health_at_inclusion_is_a_bound(subject, Random(20_260_303), STATES // 4)


def test_what_goes_through_a_vault_leaves_at_least_the_health_that_was_foretold(subject: EulerSubject) -> None:
    """A deposit and a withdrawal are rounded for the vault, and so for every share that is left: a few wei."""
    random = Random(20_260_305)
    for _ in range(STATES // 4):
        subject.shake(random)
        snapshot = subject.snapshot()
        for account in subject.accounts():
            subaccount = snapshot.subaccount(account)
            token = subaccount.collateral[0].token.address
            largest = conformance.largest_movable(subaccount, token)
            taken, brought = random.randint(1, max(largest, 1)), random.randint(1, 10**19)
            changes = [(brought, subject.depositing(account, brought))]
            if largest > 0:
                changes.append((-taken, subject.withdrawing(account, taken)))
            for delta, calls in changes:
                foretold = subaccount.margin.risk({token: delta}).health_factor
                assert 0 <= subject.health_after(account, calls) - foretold <= foretold // 10**12


def test_values_are_in_usd_and_usd_need_no_feed(subject: EulerSubject) -> None:
    snapshot = subject.snapshot()
    first = snapshot.subaccount(SubaccountId("euler", "1"))
    assert (first.label, first.reading) == ("euler 1 WETH+wstETH/USDC", Fresh())
    assert first.unit is not None
    assert snapshot.usd_per_unit[first.unit.address] == 10**18
    # 20 WETH at 2,500 USD and 85 %, 5 wstETH at 3,000 USD and 83 %: 54,950 USD against 40,000.
    assert first.margin.risk().health_factor == pytest.approx(1_373_750_000_000_000_000, rel=1e-6)


def test_a_price_too_old_for_its_adapter_makes_the_account_unknown(subject: EulerSubject) -> None:
    subject.wait(euler.MAX_STALENESS_SECONDS + 60)
    for symbol in ("USDC", "wstETH"):
        subject.devnet.chain.set_price(symbol, "+0%")
    conformance.check_is_unknown(subject.snapshot(), SubaccountId("euler", "1"), "PriceOracle_TooStale")


def test_the_topology_is_read_back_from_the_journal_as_it_was(subject: EulerSubject) -> None:
    again = Portfolio.from_json(subject.portfolio.to_json())
    assert again.topology == subject.portfolio.topology
    assert again.calldata == subject.portfolio.calldata
