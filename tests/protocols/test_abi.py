import pytest
from eth_abi.abi import encode

from keeper.errors import ProtocolError
from keeper.protocols.abi import address_bytes, explain_revert, interface, printable, word_address, word_int

ERROR_STRING = bytes.fromhex("08c379a0")
PANIC = bytes.fromhex("4e487b71")


@pytest.mark.parametrize(
    ("contract", "function", "selector"),
    [
        ("Morpho", "market", "5c60e39a"),
        ("Morpho", "position", "93c52062"),
        ("Morpho", "accrueInterest", "151c1ade"),
        ("Morpho", "idToMarketParams", "2c3c9157"),
        ("Morpho", "isAuthorized", "65e4ad9e"),
        ("Morpho", "setAuthorization", "eecea000"),
        ("MorphoOracle", "price", "a035b1fe"),
        ("Multicall3", "aggregate3", "82ad56cb"),
        ("Multicall3", "getEthBalance", "4d2301cc"),
        ("Aggregator", "latestRoundData", "feaf968c"),
        ("ERC20", "balanceOf", "70a08231"),
        ("ERC20", "approve", "095ea7b3"),
    ],
)
def test_selectors_are_the_ones_that_the_contracts_have(contract: str, function: str, selector: str) -> None:
    assert interface(contract)[function].selector.hex() == selector


def test_calldata_is_selector_and_arguments() -> None:
    data = interface("ERC20")["allowance"].encode("0x" + "11" * 20, "0x" + "22" * 20)
    assert data.hex() == "dd62ed3e" + "00" * 12 + "11" * 20 + "00" * 12 + "22" * 20


def test_an_answer_that_is_not_of_its_type_is_a_fault_that_names_the_function() -> None:
    with pytest.raises(ProtocolError, match="symbol answered 3 bytes"):
        interface("ERC20")["symbol"].decode(b"abc")


def test_words() -> None:
    assert word_address(bytes(12) + bytes.fromhex("5b" * 20)) == "0x" + "5b" * 20
    assert address_bytes(word_address(bytes(31) + b"\x07")) == bytes(19) + b"\x07"
    assert word_int(b"\xff" * 32) == -1
    assert word_int(bytes(31) + b"\x05") == 5


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "reverted without a reason"),
        (ERROR_STRING + encode(["string"], ["insufficient collateral"]), "insufficient collateral"),
        (ERROR_STRING + encode(["string"], [""]), "reverted with an empty reason"),
        (PANIC + (0x11).to_bytes(32), "an arithmetic overflow (panic 0x11)"),
        (PANIC + (0x77).to_bytes(32), "a panic (panic 0x77)"),
        (bytes.fromhex("deadbeef"), "reverted with 0xdeadbeef"),
        (b"\x01", "reverted with 0x01"),
        # Cut short by the guard's bound on reasons: still shown, never an exception.
        (ERROR_STRING + encode(["string"], ["x" * 200])[:100], "reverted with 0x08c379a0" + "00" * 31 + "20…"),
    ],
)
def test_revert_data_becomes_words(data: bytes, sentence: str) -> None:
    assert explain_revert(data) == sentence


def test_a_custom_error_of_a_known_interface_is_named_with_its_arguments() -> None:
    guard = interface("MarginGuard")
    error = next(error for error in guard.errors.values() if error.name == "WindowIsZero")
    data = error.selector + encode(error.inputs, ["0x" + "22" * 20])
    assert explain_revert(data, [guard]) == f"WindowIsZero(underlying=0x{'22' * 20})"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("USDC", "USDC"),
        ("USD\x1b[31mC", "USD�[31mC"),
        ("a\u202eb\nc", "a�b�c"),
        ("x" * 121, "x" * 119 + "…"),
        ("x" * 120, "x" * 120),
    ],
)
def test_text_that_a_contract_chose_cannot_steer_a_terminal(text: str, shown: str) -> None:
    assert printable(text) == shown
