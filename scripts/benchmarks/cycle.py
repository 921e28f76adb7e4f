"""How long a cycle takes from a head to the node's acceptance of the transaction, and where the time goes.

The chain stands still while this runs: each repetition reads the same block, rescues the same account and has its
transaction taken out of the pool again. What is compared takes turns, so that other work on the machine is fair to all.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from keeper.chain.signer import decode_signed
from scripts.benchmarks.floor import CYCLE_METHODS, BareSocket, tapped
from scripts.benchmarks.idiom import Idiom
from scripts.benchmarks.laboratory import Acted, Laboratory, Parts, laboratory
from scripts.benchmarks.viem import read_by_viem
from scripts.benchmarks.wallet import WideWallet
from scripts.localchain.node import Node


@dataclass(frozen=True, slots=True)
class CycleTimes:
    """Seconds, medians; a ratio is the median of the repetitions' own."""

    subaccounts: int
    floor: float
    """The cycle's three requests over a bare socket."""
    keeper: float
    """From the head to the accepted transaction."""
    keeper_over_floor: float
    processor: float
    """The processor time in `keeper`."""
    parts: Parts
    by_multicall: float
    """web3 contract objects through Multicall3."""
    view_by_view: float
    """web3 contract objects, one call for each view."""
    read: "Reads"


@dataclass(frozen=True, slots=True)
class Reads:
    """Seconds, medians, of the read alone: from a head to numbers."""

    floor: float
    """The keeper's request over a bare socket."""
    keeper: float
    """The request and its decoding into a snapshot."""
    viem: float
    by_multicall: float
    view_by_view: float


async def measure(wallet: WideWallet, repetitions: int, idiom_repetitions: int) -> CycleTimes:
    """For the wallet as it is now. Raises what the keeper raises, and NodeError."""
    node = wallet.devnet.node
    node.mine()
    async with laboratory(wallet.config("bench")) as keeper:
        requests = await _requests_of_a_cycle(wallet, keeper)
        bare = BareSocket(wallet.devnet.url)
        floors: list[float] = []
        acted = [await _acted(keeper, node)]
        for _ in range(repetitions):
            floors.append(_seconds(lambda: [bare.exchange(request) for request in requests]))
            node.drop_pending()
            acted.append(await _acted(keeper, node))
        reads = await _reads(keeper, bare, requests, repetitions)
        bare.close()
        # The first one opened connections and filled caches.
        warm = acted[1:]
        parts = await keeper.parts(warm[-1].raw, 5 * repetitions)
    batch = decode_signed(warm[-1].raw).data
    idiom = Idiom(wallet)
    return CycleTimes(
        subaccounts=len(wallet.markets),
        floor=statistics.median(floors),
        keeper=statistics.median(each.seconds for each in warm),
        keeper_over_floor=statistics.median(each.seconds / floor for each, floor in zip(warm, floors, strict=True)),
        processor=statistics.median(each.processor_seconds for each in warm),
        parts=parts,
        by_multicall=_median_of_idiom(lambda: idiom.cycle_by_multicall(batch), node, idiom_repetitions),
        view_by_view=_median_of_idiom(lambda: idiom.cycle_view_by_view(batch), node, idiom_repetitions),
        read=Reads(
            *reads,
            viem=read_by_viem(wallet.devnet.url, idiom, repetitions),
            by_multicall=statistics.median(_seconds(idiom.read_by_multicall) for _ in range(idiom_repetitions)),
            view_by_view=statistics.median(_seconds(idiom.read_view_by_view) for _ in range(idiom_repetitions)),
        ),
    )


async def _reads(keeper: Laboratory, bare: BareSocket, requests: list[bytes], repetitions: int) -> tuple[float, float]:
    """Over the bare socket, and the keeper's with its decoding, in turns."""
    read = requests[0]
    floors: list[float] = []
    times: list[float] = []
    for _ in range(repetitions):
        floors.append(_seconds(lambda: bare.exchange(read)))
        start = time.perf_counter()
        await keeper.session.look(keeper.block)
        times.append(time.perf_counter() - start)
    return statistics.median(floors), statistics.median(times)


async def _acted(keeper: Laboratory, node: Node) -> Acted:
    acted = await keeper.act()
    node.drop_pending()
    return acted


async def _requests_of_a_cycle(wallet: WideWallet, keeper: Laboratory) -> list[bytes]:
    """Read, simulation and send of the same block, as they went over the wire."""
    async with tapped(wallet.devnet.url) as tap:
        async with laboratory(wallet.config("tapped", tap.url), keeper.block) as other:
            tap.requests.clear()
            await other.act()
        wallet.devnet.node.drop_pending()
        # The last of each: the keeper looked at the block once before its cycle, as a daemon does at its start.
        return [next(each for each in reversed(tap.requests) if method in each) for method in CYCLE_METHODS]


def _median_of_idiom(cycle: Callable[[], None], node: Node, repetitions: int) -> float:
    times: list[float] = []
    for _ in range(repetitions):
        times.append(_seconds(cycle))
        node.drop_pending()
    return statistics.median(times)


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
