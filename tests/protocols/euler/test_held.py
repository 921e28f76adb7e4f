"""Which sub-accounts exist, and the vaults that the EVC does not list but its logs name."""

from keeper.protocols.base import LogFilter
from keeper.protocols.euler.held import SubAccount, call_log_filter, called_in, sub_accounts, vaults_of
from tests.protocols.euler.fakes import E_USDC, E_WETH, EVC, OF_VAULT, SUB_0, SUB_3, an_euler_chain
from tests.protocols.fakes import OWNER, WETH, address


def test_what_the_evc_lists_and_what_is_held_beside_it() -> None:
    found, rounds = an_euler_chain().run(sub_accounts(EVC, OWNER, (E_WETH, E_USDC)))
    assert found == (
        SubAccount(0, SUB_0, (), (), (E_WETH,)),
        SubAccount(3, SUB_3, (E_WETH,), (E_USDC,), (E_WETH,)),
    )
    assert rounds == 2
    assert found[1].vaults == (E_WETH,)


def test_vaults_are_asked_eight_at_a_time() -> None:
    vaults = tuple(address(0x7700 + number) for number in range(9))
    _, rounds = an_euler_chain().run(sub_accounts(EVC, OWNER, vaults))
    assert rounds == 3


def test_of_what_was_called_only_vaults_of_this_evc_are_kept() -> None:
    chain = an_euler_chain()
    chain.answer(E_USDC, OF_VAULT["EVC"], returns=[address(1)])
    found, rounds = chain.run(vaults_of(EVC, (E_WETH, E_USDC, WETH)))
    assert (found, rounds) == ((E_WETH,), 1)


def test_the_logs_that_name_vaults_are_those_of_the_owners_calls() -> None:
    """By the nineteen bytes that all 256 sub-accounts share."""
    topic = "0x6e9738e5aa38fe1517adbb480351ec386ece82947737b18badbcad1e911133ec"
    assert call_log_filter(EVC, OWNER) == LogFilter(EVC, (topic, None, f"0x{OWNER[2:40]}{'0' * 26}"))


def test_each_vault_that_was_called_is_named_once() -> None:
    logs = [(b"", b"", b"", bytes.fromhex(f"{vault[2:]:0>64}")) for vault in (E_USDC, E_WETH, E_USDC)]
    assert called_in(logs) == (E_USDC, E_WETH)
