"""ABIs, selectors, words and revert reasons.

Calldata is encoded rarely and by eth_abi; answers are decoded every block and by slicing words. A call to an address
without code succeeds with nothing in it, so no answer is read before its length was checked.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, cast

from eth_abi.abi import decode, encode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

from keeper.core.units import Address
from keeper.errors import ProtocolError

ZERO_ADDRESS = Address("0x" + 40 * "0")
ISO_4217_MAX = 999

# Words ----------------------------------------------------------------------------------------------------------------


def word_address(word: bytes) -> Address:
    """The address in a 32-byte word."""
    return Address("0x" + word[12:32].hex())


def word_int(word: bytes) -> int:
    """The int256 in a 32-byte word."""
    return int.from_bytes(word, signed=True)


def address_bytes(address: Address) -> bytes:
    """The 20 bytes of an address."""
    return bytes.fromhex(address[2:])


def is_currency(address: Address) -> bool:
    """Whether it is no contract but a unit of account: zero on Aave, an ISO 4217 code on Euler."""
    return int(address, 16) <= ISO_4217_MAX


def short(address: str) -> str:
    """`0x3a85…19ea`, for sentences."""
    return f"{address[:6]}…{address[-4:]}"


# Interfaces -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Function:
    """One function: what it takes and answers, as ABI types."""

    name: str
    selector: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def encode(self, *arguments: object) -> bytes:
        """Calldata."""
        return self.selector + encode(self.inputs, arguments)

    def decode(self, answer: bytes) -> tuple[Any, ...]:
        """The answer's values. Raises ProtocolError when it is not what the interface says."""
        try:
            return decode(self.outputs, answer)
        except (DecodingError, OverflowError, UnicodeDecodeError) as error:
            raise ProtocolError(f"{self.name} answered {len(answer)} bytes that are not its type: {error}") from error


@dataclass(frozen=True, slots=True)
class Event:
    name: str
    topic: bytes
    indexed: tuple[str, ...]
    inputs: tuple[str, ...]
    """Types of what is not indexed."""


@dataclass(frozen=True, slots=True)
class CustomError:
    name: str
    selector: bytes
    inputs: tuple[str, ...]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Interface:
    """What we use of one contract, from `abis/<name>.json`."""

    name: str
    functions: Mapping[str, Function]
    events: Mapping[str, Event]
    errors: Mapping[bytes, CustomError]
    """By selector."""

    def __getitem__(self, function: str) -> Function:
        return self.functions[function]


def load_json(name: str) -> Any:
    """`abis/<name>.json`: inside the package when it was installed from a wheel, beside it in a checkout."""
    package = files("keeper")
    folder = package / "abis"
    if not folder.is_dir():
        folder = package / ".." / "abis"
    return json.loads((folder / f"{name}.json").read_text("utf-8"))


@cache
def interface(name: str) -> Interface:
    """The interface in `abis/<name>.json`, a bare ABI or an artefact with an `abi` in it."""
    document = load_json(name)
    entries = cast("list[dict[str, Any]]", document["abi"] if isinstance(document, dict) else document)
    functions: dict[str, Function] = {}
    events: dict[str, Event] = {}
    errors: dict[bytes, CustomError] = {}
    for entry in entries:
        kind, inputs = entry["type"], cast("list[dict[str, Any]]", entry.get("inputs", []))
        if kind not in ("function", "event", "error"):
            continue
        types = tuple(_type_of(argument) for argument in inputs)
        hashed = keccak(f"{entry['name']}({','.join(types)})".encode())
        if kind == "function":
            outputs = tuple(_type_of(argument) for argument in entry["outputs"])
            functions[entry["name"]] = Function(entry["name"], hashed[:4], types, outputs)
        elif kind == "event":
            events[entry["name"]] = Event(
                entry["name"],
                hashed,
                tuple(type for type, argument in zip(types, inputs, strict=True) if argument["indexed"]),
                tuple(type for type, argument in zip(types, inputs, strict=True) if not argument["indexed"]),
            )
        else:
            names = tuple(cast("str", argument["name"]) for argument in inputs)
            errors[hashed[:4]] = CustomError(entry["name"], hashed[:4], types, names)
    return Interface(name, functions, events, errors)


def _type_of(argument: Mapping[str, Any]) -> str:
    declared = cast("str", argument["type"])
    if not declared.startswith("tuple"):
        return declared
    inner = ",".join(_type_of(component) for component in argument["components"])
    return f"({inner}){declared.removeprefix('tuple')}"


# Reverts --------------------------------------------------------------------------------------------------------------

_ERROR_STRING = bytes.fromhex("08c379a0")
_PANIC = bytes.fromhex("4e487b71")

# Solidity documentation, "Panic via assert and Error via require".
_PANICS = {
    0x01: "an assertion failed",
    0x11: "an arithmetic overflow",
    0x12: "a division by zero",
    0x21: "an enum out of range",
    0x31: "a pop from an empty array",
    0x32: "an index out of bounds",
    0x41: "out of memory",
}


def explain_revert(data: bytes, errors: Sequence[Interface] = ()) -> str:
    """Revert data as words: a string reason, a panic, a custom error of one of the interfaces; never raises."""
    if not data:
        return "reverted without a reason"
    selector, arguments = data[:4], data[4:]
    try:
        if selector == _ERROR_STRING:
            return printable(decode(["string"], arguments)[0]) or "reverted with an empty reason"
        if selector == _PANIC:
            code = decode(["uint256"], arguments)[0]
            return f"{_PANICS.get(code, 'a panic')} (panic {code:#04x})"
        for known in errors:
            if (error := known.errors.get(selector)) is not None:
                values = decode(error.inputs, arguments)
                named = [f"{name}={_shown(value)}" for name, value in zip(error.names, values, strict=True)]
                return f"{error.name}({', '.join(named)})"
    except (DecodingError, OverflowError, UnicodeDecodeError):
        pass  # cut short, or no ABI encoding at all: shown as bytes
    return f"reverted with 0x{data[:36].hex()}{'…' if len(data) > 36 else ''}"


def printable(text: str, length_max: int = 120) -> str:
    """Text that a contract chose, made fit for a terminal and a log line."""
    kept = "".join(character if character.isprintable() else "�" for character in text)
    return kept if len(kept) <= length_max else kept[: length_max - 1] + "…"


def _shown(value: object) -> str:
    return f"0x{value.hex()}" if isinstance(value, bytes) else str(value)
