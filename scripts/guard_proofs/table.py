"""What is proven, how, and within which bounds: one row for each `check_` function under contracts/test/symbolic."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Proof:
    """One `check_` function. `bound` says what is fixed; everything else in it is any value at all."""

    check: str
    property: str
    bound: str
    falls_with: tuple[str, ...] = ()
    """What mutants of the guard do (scripts/guard_mutants) with which, together, there must be no proof any more."""


BOOK: Final = "three enrolled accounts and a wallet in an abstract protocol"

PROOFS: Final = (
    Proof(
        "check_P1_WhatLeavesArrives",
        "P1: whatever the protocol gives, takes and books for the account that it is asked about, and leaves of the "
        "allowance, a rescue counts only if all of it was exact",
        f"{BOOK}; one rescue by one transfer; any amounts, what is given and a donation below 2^200",
        ("the credit is not looked at",),
    ),
    Proof(
        "check_P1_WhatLeavesTheWalletArrives",
        "P1, P2: the same of a wallet, whatever its token pulls and passes on, and nothing else is asked of anybody",
        f"{BOOK}; one rescue by one transfer out of the wallet; any amounts, any donation below 2^200",
        ("the debit is not looked at",),
    ),
    Proof(
        "check_P1_WhatIsRepaidIsBooked",
        "P1: of a repayment, whatever the protocol takes and books, a rescue counts only if what it took was exact and "
        "the debt fell by as much, but for the rounding of shares",
        f"{BOOK}; one repayment out of the wallet; any amount, any donation below 2^200",
        ("the repayment is not looked at",),
    ),
    Proof(
        "check_P1_AccountsAddUp",
        "P1: what two transfers took from each account arrived, in a protocol that is honest; no setting changed",
        f"{BOOK}; one rescue by two transfers; any amounts, any donation below 2^200",
        ("supplied to itself", "the credit is not looked at"),
    ),
    Proof(
        "check_P2_NothingButCollateralIsAskedFor",
        "P2: of an honest protocol and token nothing is asked but collateral, though they would grant anything; no "
        "debt, loan, balance or allowance of the owner changes",
        f"{BOOK}; one rescue by one transfer from either donor; any amount",
        ("borrows on the way",),
    ),
    Proof(
        "check_P4_RecipientAndDonorEndWhereTheyMust",
        "P3, P4: before, below the ceiling and worth more than it owes; after, between all minima and the maximum; the "
        "donor at or above its floor",
        f"{BOOK}; one rescue by one transfer; any amount, positions and price below 2^128; fixed policy and "
        "totals of the market",
    ),
    Proof(
        "check_P4_AtOnePrice",
        "P3, P4: the same at one price, where a solver also finds what a weaker guard would let through",
        f"{BOOK}; one rescue by one transfer; any amount and minimum",
        ("no hard floor",),
    ),
    Proof(
        "check_P5_NoMoreThanTheCapMoves",
        "P5: what moves is counted, and fits",
        f"{BOOK}; one rescue by two transfers; any cap",
        ("half counts",),
    ),
    Proof(
        "check_P5_OneSpendKeepsTheBooks",
        "P5: after a spend, this epoch's and the last one's are counted right and are within the cap (induction step)",
        "any counter, cap, amount but 0, later time below 2^48; any number of spends by induction; a window of 2^16 s",
        ("spends are not counted",),
    ),
    Proof(
        "check_P5_AWindowTouchesTwoEpochs",
        "P5: so no stretch of one window holds more than the cap, for it touches two epochs at most",
        "any two times below 2^48; a window of 2^16 s",
    ),
    Proof(
        "check_P5_AnotherCapMakesNoRoom",
        "P5: another cap gives nothing back",
        "one spend; any amounts, caps, times to 2106; a window of 2^16 s",
        ("the epoch before does not count",),
    ),
    Proof(
        "check_P5_AnotherWindowMakesNoRoom",
        "P5: another window gives nothing back",
        "one spend; any amounts, caps, times to 2106; from 2^16 s to 2^12 s",
        ("another window refunds",),
    ),
    Proof(
        "check_P5_ASpendIsCountedInFull",
        "P5: a spend is counted in full, a refused one not at all",
        "two spends at one time; any amounts, cap, time to 2106; a window of 2^16 s",
        ("cap off by one, too high",),
    ),
    Proof(
        "check_P6_OnlyTheKeeperInTimeAndNotPaused",
        "P6: who rebalances is the keeper, in time, and the guard is not paused",
        f"{BOOK}; one rescue by one transfer; any caller, deadline, time, sequence, amount",
        ("anybody rebalances",),
    ),
    Proof(
        "check_P6_OthersChangeNothing",
        "P6: nobody else changes a setting, the pause or the sequence",
        "any caller but owner, keeper and guard, any function of the interface but reads, `health`, lists of up to two",
        ("setKeeper: anybody may",),
    ),
    Proof(
        "check_P6_TheKeeperChangesNoSetting",
        "P6: nor does the keeper, who can pause",
        "any function of the interface but reads, `health` and `rebalance`, lists of up to two",
        ("setCaps: anybody may",),
    ),
    Proof(
        "check_P6_NobodyElseExecutesARescue",
        "P6: the call that the guard makes to itself is refused to everybody else",
        f"{BOOK}; one rescue by one transfer; any caller but the guard, any plan id and amount",
        ("anybody rescues",),
    ),
    Proof(
        "check_P8_APlanTakesEffectAtMostOnce",
        "P8: the same plan id takes effect once, and moves the sequence by one",
        f"{BOOK}; two batches in a row; any plan id and amounts",
        ("any sequence",),
    ),
)
