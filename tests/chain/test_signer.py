"""What the hot key signs and what it refuses, and what is wrong with a keystore."""

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
from eth_account import Account
from eth_keyfile.keyfile import create_keyfile_json
from eth_keys.backends import get_backend_class

from keeper.chain.signer import KeystoreSigner, Scope, Transaction, decode_signed, decrypt_keystore, open_keystore
from keeper.core.fees import Fees
from keeper.core.units import Address
from keeper.errors import ConfigError, ProtocolError, SigningRefused
from keeper.protocols.abi import interface
from keeper.protocols.guard_batch import pause_calldata
from tests.builders import GUARD

KEY = bytes.fromhex("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80")
KEY_ADDRESS = "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
SCOPE = Scope(chain_id=1, guard=GUARD, max_fee_wei_max=500)
REBALANCE = interface("MarginGuard")["rebalance"].encode(bytes(32), 2_000_000_000, [])
GOOD = Transaction(chain_id=1, nonce=7, to=GUARD, data=REBALANCE, gas=300_000, fees=Fees(500, 2))


@pytest.fixture(scope="module")
def keystore(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keystore") / "keystore.json"
    path.write_text(json.dumps(create_keyfile_json(KEY, b"right", iterations=1024)))
    return path


@pytest.fixture
def signer() -> KeystoreSigner:
    return KeystoreSigner(Account.from_key(KEY), SCOPE)


async def test_a_signature_is_for_exactly_what_was_asked(signer: KeystoreSigner) -> None:
    signed = await signer.sign(GOOD)
    assert decode_signed(signed.raw) == GOOD
    assert Account.recover_transaction(signed.raw).lower() == KEY_ADDRESS
    assert signed.raw[0] == 2, "EIP-1559"


async def test_pause_may_be_signed(signer: KeystoreSigner) -> None:
    assert decode_signed((await signer.sign(replace(GOOD, data=pause_calldata()))).raw).data == pause_calldata()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"to": Address("0x" + "11" * 20)}, "it goes to 0x1111"),
        ({"value_wei": 1}, "it carries 1 wei"),
        ({"chain_id": 10}, "it is for chain 10, not 1"),
        ({"data": interface("MarginGuard")["sweep"].encode(GUARD)}, "it calls neither rebalance nor pause"),
        ({"data": interface("ERC20")["approve"].encode(GUARD, 1)}, "it calls neither rebalance nor pause"),
        ({"data": b""}, "it calls neither rebalance nor pause"),
        ({"data": pause_calldata() + b"\0"}, "it calls pause with something behind it"),
        ({"gas": 0}, "its gas 0 is not within 16777216"),
        ({"gas": 2**24 + 1}, "its gas 16777217 is not within 16777216"),
        ({"fees": Fees(501, 2)}, "its fee of 501 wei is not within 500"),
        ({"fees": Fees(0, 0)}, "its fee of 0 wei is not within 500"),
        ({"fees": Fees(5, 6)}, "its tip is higher than its fee"),
        ({"nonce": -1}, "its nonce is negative"),
    ],
)
async def test_everything_else_is_refused(signer: KeystoreSigner, wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(SigningRefused, match=sentence):
        await signer.sign(replace(GOOD, **wrong))


@pytest.mark.parametrize("edge", [{"gas": 2**24}, {"fees": Fees(500, 500)}, {"fees": Fees(1, 0)}, {"gas": 1}])
async def test_the_bounds_themselves_are_within(signer: KeystoreSigner, edge: dict[str, object]) -> None:
    changed = replace(GOOD, **edge)
    assert decode_signed((await signer.sign(changed)).raw) == changed


async def test_the_key_does_not_show(signer: KeystoreSigner) -> None:
    assert repr(signer) == f"KeystoreSigner({KEY_ADDRESS})"
    assert KEY.hex() not in str(signer)
    with pytest.raises(TypeError):
        pickle.dumps(signer)
    with pytest.raises(TypeError):
        vars(signer)


async def test_a_keystore_opens_with_its_password(keystore: Path) -> None:
    assert (await open_keystore(keystore, "right", SCOPE)).address == KEY_ADDRESS


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("{", "is not JSON"),
        ("[]", "is not JSON"),
        ("{}", "is not a keystore of version 3"),
        ('{"version": 3, "crypto": {}}', "is not a keystore of version 3"),
        ('{"version": 4}', "is not a keystore of version 3"),
    ],
)
def test_a_file_that_is_no_keystore_is_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "keystore.json"
    path.write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        decrypt_keystore(path, "right")


def test_a_missing_keystore_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: No such file or directory; correct \[signer\] keystore"):
        decrypt_keystore(tmp_path / "nothing", "right")


def test_a_wrong_password_is_a_sentence_that_does_not_repeat_it(keystore: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not open the keystore .*; correct \[signer\] password") as caught:
        decrypt_keystore(keystore, "wr0ng-passw0rd")
    assert "wr0ng-passw0rd" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"", b"\x02", b"\x02\xc0", bytes(100)])
def test_bytes_that_are_no_transaction_are_named(raw: bytes) -> None:
    with pytest.raises(ProtocolError, match="no EIP-1559 transaction"):
        decode_signed(raw)


def test_signatures_are_made_by_libsecp256k1() -> None:
    """In pure Python each takes ten times as long."""
    assert get_backend_class().__name__ == "CoinCurveECCBackend"
