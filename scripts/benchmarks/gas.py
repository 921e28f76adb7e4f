"""What rescues cost in gas, by the receipts of real transactions, against what the owner would pay without a guard.

The plans are the planner's own. Each is sent from the same state: accounts with interest to accrue, and an earlier
batch, so that nothing is written for the first time.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from keeper.core.plan import History, Plan
from keeper.core.planner import make_plan
from keeper.core.snapshot import Snapshot
from keeper.protocols.guard_batch import encode_rebalance, plan_id, simulated_gas, transaction_gas
from keeper.session import open_session
from scripts.benchmarks.wallet import LOW, NO_DEBT, WideWallet
from scripts.localchain.abi import encode_call, topic
from scripts.localchain.deploy import MARKET_PARAMS
from scripts.localchain.devnet import Devnet
from scripts.localchain.node import GWEI, Node, NodeError
from scripts.localchain.world import DEPLOYER, KEEPER, OWNER, WAD, wad

SINGLE_GAS_MAX = 13 * (122_800 + 49_100) // 10
"""Of one rescue with every check: 1.3 times a withdrawal and a supply as they were when the budget was set."""
ONE_DONOR_PERCENT_MAX = 68
THREE_DONORS_PERCENT_MAX = 80
"""Of three rescues in a batch, against each in a batch of its own."""
ROOMY = wad("3.2")
"""A donor that can serve three."""
SNUG = wad("1.63")
"""A donor that can serve one: it has 2 WETH to spare, and a rescue takes 1.8."""
AGE_SECONDS = 300
DIGEST = bytes(range(1, 25))
"""A plan id has a hash in it, so few zero bytes."""
RESCUE_FAILED = topic("RescueFailed(bytes32,uint256,bytes)")


@dataclass(frozen=True, slots=True)
class GasUse:
    """One measured batch beside what it is compared with."""

    what: str
    gas: int
    against: str = ""
    against_gas: int | None = None
    budget_gas: int | None = None

    @property
    def ratio(self) -> float | None:
        return self.gas / self.against_gas if self.against_gas else None

    @property
    def is_over_budget(self) -> bool:
        return self.budget_gas is not None and self.gas > self.budget_gas


async def measure_gas(devnet: Devnet) -> list[GasUse]:
    """The chain is as before when it returns. Raises NodeError, also when a batch did not succeed whole."""
    with _scene(devnet, [LOW, ROOMY]) as scene:
        plan = await scene.plan(1)
        bare, single = scene.gas_of_bare(), scene.gas_of(plan)
    with _scene(devnet, [LOW, NO_DEBT]) as scene:
        debt_free = scene.gas_of(await scene.plan(1))
    with _scene(devnet, [LOW], tokens=["WETH"]) as scene:
        wallet = scene.gas_of(await scene.plan(1))
    with _scene(devnet, [LOW, LOW, LOW, ROOMY]) as scene:
        plan = await scene.plan(3)
        one_donor, one_donor_alone = scene.gas_of(plan), scene.gas_of_each_alone(plan)
    with _scene(devnet, [LOW, LOW, LOW, SNUG, SNUG + 1, SNUG + 2]) as scene:
        plan = await scene.plan(3)
        three_donors, three_donors_alone = scene.gas_of(plan), scene.gas_of_each_alone(plan)
    two, alone = "the two transactions", "each in a batch of its own"
    return [
        GasUse("withdrawal and supply, sent by the owner", bare),
        GasUse("one rescue, donor with debt", single, two, bare, SINGLE_GAS_MAX),
        GasUse("one rescue, donor without debt", debt_free, two, bare, SINGLE_GAS_MAX),
        GasUse("one rescue, from the wallet", wallet, two, bare, SINGLE_GAS_MAX),
        GasUse(
            "three rescues, one donor", one_donor, alone, one_donor_alone,
            one_donor_alone * ONE_DONOR_PERCENT_MAX // 100,
        ),
        GasUse(
            "three rescues, three donors", three_donors, alone, three_donors_alone,
            three_donors_alone * THREE_DONORS_PERCENT_MAX // 100,
        ),
    ]  # fmt: skip


@contextmanager
def _scene(devnet: Devnet, healths: Sequence[int], tokens: Sequence[str] = ()) -> Generator["_Scene"]:
    with _undone(devnet.node):
        wallet = WideWallet(devnet)
        wallet.open(healths)
        yield _Scene(wallet, tokens)


@dataclass(slots=True)
class _Scene:
    wallet: WideWallet
    tokens: Sequence[str]
    _snapshot: Snapshot | None = None

    @property
    def node(self) -> Node:
        return self.wallet.devnet.node

    async def plan(self, rescues: int) -> Plan:
        """The planner's plan, after one like it that moved next to nothing. Raises NodeError for another number."""
        first = await self._planned()
        tiny = [
            replace(
                rescue, min_health_after=0, transfers=tuple(replace(each, amount_raw=1) for each in rescue.transfers)
            )
            for rescue in first.rescues
        ]
        self._send(replace(first, rescues=tuple(tiny)))
        self.node.warp(AGE_SECONDS)
        plan = await self._planned()
        if len(plan.rescues) != rescues:
            raise NodeError(f"{len(plan.rescues)} rescues were planned where {rescues} are to be measured")
        return plan

    async def _planned(self) -> Plan:
        async with open_session(self.wallet.config("gas", tokens=self.tokens)) as session:
            self._snapshot = await session.look()
            return make_plan(self._snapshot, session.policy, History(gas_price_wei=GWEI))

    def gas_of(self, plan: Plan) -> int:
        with _undone(self.node):
            return self._send(plan)

    def gas_of_each_alone(self, plan: Plan) -> int:
        return sum(self.gas_of(plan.only([place])) for place in range(len(plan.rescues)))

    def gas_of_bare(self) -> int:
        """As a wallet that held none of the token before: the withdrawal writes its balance, the supply clears it."""
        recipient, donor = self.wallet.markets[0], self.wallet.markets[1]
        deployment = self.wallet.devnet.deployment
        with _undone(self.node):
            idle = self.node.call(donor.collateral, encode_call("balanceOf(address)", OWNER.address))
            away = encode_call("transfer(address,uint256)", DEPLOYER.address, int.from_bytes(idle))
            allowance = encode_call("approve(address,uint256)", deployment.morpho, 100 * WAD)
            for data in (away, allowance):
                self.node.transact(OWNER.address, donor.collateral, data)
            self.node.warp(AGE_SECONDS)
            withdrawal = encode_call(
                f"withdrawCollateral({MARKET_PARAMS},uint256,address,address)",
                donor.params, WAD, OWNER.address, OWNER.address,
            )  # fmt: skip
            supply = encode_call(
                f"supplyCollateral({MARKET_PARAMS},uint256,address,bytes)", recipient.params, WAD, OWNER.address, b""
            )
            return sum(
                self.node.transact(OWNER.address, deployment.morpho, data).gas_used for data in (withdrawal, supply)
            )

    def _send(self, plan: Plan) -> int:
        """Its gas. Raises NodeError unless every rescue succeeded."""
        snapshot, node = self._snapshot, self.node
        if snapshot is None or snapshot.guard is None:
            raise NodeError("the guard cannot be read")
        budgets = simulated_gas(plan.rescues, snapshot.block.gas_limit)
        id = plan_id(snapshot.guard.last_sequence + 1, DIGEST)
        calldata = encode_rebalance(plan, snapshot, id, snapshot.block.timestamp + 3_600, budgets)
        gas = transaction_gas(calldata, plan, budgets)
        receipt = node.transact(KEEPER.address, snapshot.guard.address, calldata, gas=gas)
        if any(log["topics"][0] == RESCUE_FAILED for log in receipt.logs):
            raise NodeError(f"a rescue of {receipt.hash} failed")
        return receipt.gas_used


@contextmanager
def _undone(node: Node) -> Generator[None]:
    snapshot = node.snapshot()
    try:
        yield
    finally:
        node.drop_pending()
        node.revert(snapshot)
