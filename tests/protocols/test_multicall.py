import pytest
from eth_abi.abi import encode
from hypothesis import given
from hypothesis import strategies as st

from keeper.core.units import Address
from keeper.errors import ProtocolError
from keeper.protocols.base import Call, CallResult
from keeper.protocols.multicall import (
    decode_aggregate3,
    decode_calls,
    encode_aggregate3,
    encode_results,
    join_answers,
    split_answers,
)
from tests.protocols.fakes import address, aggregate_answer

CALLS = st.lists(st.builds(Call, st.integers(0, 2**160 - 1).map(address), st.binary(max_size=200)), max_size=12)
RESULTS = st.lists(st.builds(CallResult, st.booleans(), st.binary(max_size=200)), max_size=12)

A_RESULT = [CallResult(True, b"\x01" * 32), CallResult(False, b""), CallResult(True, b"abc")]


@given(CALLS)
def test_calldata_is_to_the_byte_what_eth_abi_makes(calls: list[Call]) -> None:
    arguments = [(call.to, True, call.data) for call in calls]
    assert encode_aggregate3(calls) == bytes.fromhex("82ad56cb") + encode(["(address,bool,bytes)[]"], [arguments])


def test_one_call_written_out() -> None:
    data = encode_aggregate3([Call(Address("0x" + "ab" * 20), bytes.fromhex("a035b1fe"))])
    array, length, first_element = 32, 1, 32
    allow_failure, call_data, size = 1, 96, 4
    assert data.hex() == "82ad56cb" + "".join(
        (
            f"{array:064x}{length:064x}{first_element:064x}",
            "00" * 12 + "ab" * 20 + f"{allow_failure:064x}{call_data:064x}",
            f"{size:064x}" + "a035b1fe" + "00" * 28,
        )
    )


@given(RESULTS)
def test_whatever_multicall_answers_is_read_back(results: list[CallResult]) -> None:
    assert decode_aggregate3(aggregate_answer(results), len(results)) == results


@given(RESULTS, st.data())
def test_a_cut_answer_is_never_read(results: list[CallResult], data: st.DataObject) -> None:
    answer = aggregate_answer(results)
    kept = data.draw(st.integers(0, len(answer) - 1))
    with pytest.raises(ProtocolError):
        decode_aggregate3(answer[:kept], len(results))


@given(RESULTS.filter(bool), st.data())
def test_a_changed_answer_is_refused_unless_only_values_changed(results: list[CallResult], data: st.DataObject) -> None:
    answer = bytearray(aggregate_answer(results))
    place = data.draw(st.integers(0, len(answer) - 1))
    answer[place] ^= data.draw(st.integers(1, 255))
    try:
        decoded = decode_aggregate3(bytes(answer), len(results))
    except ProtocolError:
        return
    # Padding may hold anything, a length may differ within its padding; no result ever moves to another's place.
    assert [-(-len(result.data) // 32) for result in decoded] == [-(-len(result.data) // 32) for result in results]


@pytest.mark.parametrize("count", [2, 4])
def test_the_wrong_number_of_results_is_refused(count: int) -> None:
    with pytest.raises(ProtocolError, match=f"did not answer with {count} results"):
        decode_aggregate3(aggregate_answer(A_RESULT), count)


def test_bytes_too_many_are_refused() -> None:
    with pytest.raises(ProtocolError, match="32 bytes too many"):
        decode_aggregate3(aggregate_answer(A_RESULT) + bytes(32), 3)


def test_results_in_another_order_are_refused() -> None:
    answer = aggregate_answer(A_RESULT)
    first, second = answer[64:96], answer[96:128]
    swapped = answer[:64] + second + first + answer[128:]
    with pytest.raises(ProtocolError, match="result 0 of 3"):
        decode_aggregate3(swapped, 3)


def test_an_empty_answer_is_refused_even_for_no_calls() -> None:
    """No Multicall3 at the address: the call succeeds with nothing in it."""
    with pytest.raises(ProtocolError):
        decode_aggregate3(b"", 0)


@given(CALLS)
def test_calls_are_read_back_from_calldata(calls: list[Call]) -> None:
    assert decode_calls(encode_aggregate3(calls)) == calls


@given(RESULTS)
def test_results_put_together_are_to_the_byte_what_multicall_answers(results: list[CallResult]) -> None:
    assert encode_results(results) == aggregate_answer(results)


@given(st.lists(RESULTS.map(aggregate_answer), min_size=1, max_size=3))
def test_several_answers_are_kept_as_one_and_a_single_one_as_it_is(answers: list[bytes]) -> None:
    joined = join_answers(answers)
    assert split_answers(joined) == answers
    assert len(answers) > 1 or joined == answers[0]
