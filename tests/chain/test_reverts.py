import pytest

from keeper.chain.reverts import classify_revert

ERROR_NO = bytes.fromhex("08c379a0" + f"{32:064x}" + f"{2:064x}" + "6e6f" + "00" * 30)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "reverted without a reason"),
        (ERROR_NO, "no"),
        (bytes.fromhex("4e487b71" + f"{0x11:064x}"), "arithmetic overflowed"),
        (bytes.fromhex("4e487b71" + f"{0x99:064x}"), "panic 0x99"),
        (bytes.fromhex("deadbeef" + f"{1:064x}"), "custom error 0xdeadbeef"),
        (bytes.fromhex("0102"), "reverted with 0x0102"),
    ],
)
def test_revert_data_is_named(data: bytes, text: str) -> None:
    assert str(classify_revert(data)) == text


@pytest.mark.parametrize("length", range(4, len(ERROR_NO), 7))
def test_a_message_that_is_cut_short_counts_as_a_custom_error(length: int) -> None:
    assert classify_revert(ERROR_NO[:length]).selector == bytes.fromhex("08c379a0")


def test_only_custom_errors_have_a_selector() -> None:
    assert classify_revert(ERROR_NO).selector is None
    assert classify_revert(bytes.fromhex("4e487b71" + "00" * 32)).selector is None
    assert classify_revert(bytes.fromhex("4e487b71" + "00" * 31)).selector == bytes.fromhex("4e487b71")
