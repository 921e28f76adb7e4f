"""Calls, answers, events and artefacts for the scripts: eth-abi and the files that the compilers wrote."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from eth_abi.abi import decode, encode
from eth_hash.auto import keccak

from scripts.localchain.anvil import ROOT

CONTRACTS = ROOT / "contracts"


class ArtefactMissingError(Exception):
    """A contract was not compiled yet."""


@dataclass(frozen=True, slots=True)
class Artefact:
    """What a compiler made of one contract."""

    abi: list[dict[str, Any]]
    creation_code: bytes
    runtime_code: bytes
    libraries: dict[str, tuple[int, ...]]
    """Where in the creation code the address of each library belongs."""

    def linked(self, libraries: Mapping[str, str]) -> bytes:
        """The creation code with the addresses of its libraries; raises KeyError when one is not given."""
        code = bytearray(self.creation_code)
        for library, places in self.libraries.items():
            for place in places:
                code[place : place + 20] = bytes.fromhex(libraries[library][2:])
        return bytes(code)


@cache
def artefact(name: str) -> Artefact:
    """One of ours (contracts/out) or of the real protocols (contracts/.cache); raises ArtefactMissingError."""
    path = artefact_path(name)
    if not path.exists():
        raise ArtefactMissingError(f"{name} is not compiled; run scripts/setup")
    content = json.loads(path.read_text())
    return Artefact(
        abi=content["abi"],
        creation_code=_unlinked(content["bytecode"]["object"]),
        runtime_code=_unlinked(content["deployedBytecode"]["object"]),
        libraries={
            library: tuple(reference["start"] for reference in references)
            for source in content["bytecode"]["linkReferences"].values()
            for library, references in source.items()
        },
    )


def _unlinked(code: str) -> bytes:
    """With zeros in the places of libraries, for which forge leaves names."""
    return bytes.fromhex(re.sub(r"__\$[0-9a-f]{34}\$__", "0" * 40, code[2:]))


def artefact_path(name: str) -> Path:
    ours = CONTRACTS / "out" / f"{name}.sol" / f"{name}.json"
    if ours.exists():
        return ours
    real = CONTRACTS / ".cache" / "protocols" / f"{name}.json"
    # One of ours may stand in the file of another.
    return real if real.exists() else next((CONTRACTS / "out").glob(f"*/{name}.json"), real)


@cache
def argument_types(signature: str) -> list[str]:
    """`f(address,(uint256,bytes)[])` → the types of its arguments."""
    inner = signature[signature.index("(") + 1 : -1]
    types: list[str] = []
    depth = start = 0
    for at, letter in enumerate(inner + ","):
        if letter == "," and depth == 0:
            if inner:
                types.append(inner[start:at])
            start = at + 1
        depth += {"(": 1, ")": -1}.get(letter, 0)
    return types


@cache
def selector(signature: str) -> bytes:
    return keccak(signature.encode())[:4]


@cache
def topic(signature: str) -> str:
    """The first topic of an event, as 0x hex."""
    return "0x" + keccak(signature.encode()).hex()


def encode_call(signature: str, *arguments: Any) -> bytes:
    return selector(signature) + encode(argument_types(signature), arguments)


def encode_arguments(types: Sequence[str], *arguments: Any) -> bytes:
    return encode(types, arguments)


def decode_words(types: Sequence[str], data: bytes) -> tuple[Any, ...]:
    return decode(types, data)


def topic_address(topic: str) -> str:
    return "0x" + topic[-40:]


def error_name(abi: list[dict[str, Any]], data: bytes) -> str | None:
    """The custom error that revert data carries, or None."""
    for entry in abi:
        if entry["type"] == "error":
            signature = f"{entry['name']}({','.join(_type_of(part) for part in entry['inputs'])})"
            if data[:4] == selector(signature):
                return entry["name"]
    return None


def _type_of(part: dict[str, Any]) -> str:
    if not part["type"].startswith("tuple"):
        return part["type"]
    return re.sub("^tuple", "(" + ",".join(_type_of(inner) for inner in part["components"]) + ")", part["type"])
