"""What a rehearsal's table says of accounts after a crash."""

from io import StringIO

from rich.console import Console

from keeper.core.snapshot import SubaccountId, Token
from keeper.core.units import INFINITE_HEALTH, WAD, Address
from scripts.rehearsal.falls import Falls
from scripts.rehearsal.outcome import AccountOutcome, Loss, Outcome
from scripts.rehearsal.screen import Rehearsal, document, report

WETH = Token(Address("0x" + "11" * 20), "WETH", 18)


def a_rehearsal(*, is_emptied: bool) -> Rehearsal:
    """Liquidated without the keeper, untouched with it; one account."""
    id, start, lowest = SubaccountId("venus", "0x01/0x02"), 14 * WAD // 10, 9 * WAD // 10
    loss = Loss(4, {WETH: 5 * WAD}, 7_500 * WAD, 700 * WAD)
    struck = AccountOutcome(id, "an account", start, lowest, 4, INFINITE_HEALTH, (loss,), (), is_emptied)
    saved = AccountOutcome(id, "an account", start, 11 * WAD // 10, 4, 12 * WAD // 10, (), (3,))
    return Rehearsal(
        "0x03", 1, 100, False, (), Falls({"WETH": -4_000}, 4), {}, (), (),
        Outcome((struck,), 0, 0, 0, 0, 0), Outcome((saved,), 1, 1, 0, 500_000, WAD), (),
    )  # fmt: skip


def shown(rehearsal: Rehearsal) -> str:
    """The account's row, blanks aside."""
    out = StringIO()
    report(Console(file=out, width=200), rehearsal)
    (row,) = (line for line in out.getvalue().splitlines() if line.startswith("an account"))
    return " ".join(row.split())


def test_an_account_of_which_nothing_is_left_is_not_called_free_of_debt() -> None:
    event = "without: liquidated at -40 %: 5 WETH ($7,500) seized, $700 lost"
    assert shown(a_rehearsal(is_emptied=True)) == f"an account 1.4000 0.9000 1.1000 emptied 1.2000 {event}"
    assert shown(a_rehearsal(is_emptied=False)) == f"an account 1.4000 0.9000 1.1000 no debt 1.2000 {event}"


def test_the_document_says_it_too() -> None:
    said = document(a_rehearsal(is_emptied=True))
    assert [said[act]["accounts"][0]["is_emptied"] for act in ("without_keeper", "with_keeper")] == [True, False]
