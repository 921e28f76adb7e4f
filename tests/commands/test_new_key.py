"""A new hot key opens with the password that was written beside it, and nothing is ever overwritten."""

from pathlib import Path

import pytest

from keeper.chain.signer import decrypt_keystore
from keeper.commands.new_key import new_key
from keeper.errors import ConfigError


def test_a_new_key_opens_with_its_password_and_is_for_its_owner_alone(tmp_path: Path) -> None:
    document = new_key(tmp_path).document
    assert isinstance(document, dict)
    account = decrypt_keystore(tmp_path / "keystore.json", (tmp_path / "password").read_text().strip())
    assert account.address.lower() == document["address"]
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("keystore.json", "password")] == [0o600, 0o600]


def test_a_key_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("of another key")
    with pytest.raises(ConfigError, match="exists already and may be needed"):
        new_key(tmp_path)
    assert (tmp_path / "password").read_text() == "of another key"
    assert not (tmp_path / "keystore.json").exists()
