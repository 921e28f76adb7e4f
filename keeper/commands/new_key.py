"""`scripts/new_key`: a hot key that nobody has, in a keystore with a password that nobody has to type."""

import json
import os
import secrets
from pathlib import Path
from typing import Annotated

import typer
from eth_account import Account
from eth_keyfile.keyfile import create_keyfile_json

from keeper.cli import JsonOption, answer
from keeper.commands.answer import Answer
from keeper.errors import ConfigError


def new_key(folder: Path) -> Answer:
    """Writes `keystore.json` and `password`, readable by their owner alone. Never overwrites: a key may hold money."""
    key, password = secrets.token_bytes(32), secrets.token_urlsafe(32)
    document = create_keyfile_json(key, password.encode(), version=3)
    address: str = Account.from_key(key).address
    _write(folder / "password", password)
    _write(folder / "keystore.json", json.dumps(document))
    lines = [
        f"The hot key {address} is in {folder / 'keystore.json'}, its password in {folder / 'password'}.",
        "Send it some gas money, and put it into keeper.toml:",
        '  [signer]\n  keystore = "keystore.json"\n  password = "file:password"',
    ]
    return Answer(lines, {"address": address.lower(), "keystore": str(folder / "keystore.json")})


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(text + "\n")
    except FileExistsError:
        raise ConfigError(f"{path} exists already and may be needed; name another folder.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}.") from None


def main(
    folder: Annotated[
        Path, typer.Argument(help="Where to write keystore.json and password.", metavar="FOLDER")
    ] = Path(),
    json: JsonOption = False,
) -> None:
    """Make a new hot key: an encrypted keystore and its password, each in a file of its own."""
    answer(lambda: new_key(folder), json)


if __name__ == "__main__":
    typer.run(main)
