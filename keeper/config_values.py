"""How values are written in keeper.toml, and what they become.

A quantity is a string with its unit and becomes an integer; a secret is a reference and becomes its value only when
somebody asks, so that neither a log nor an error can show it.
"""

import json
import os
import re
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

from eth_utils.address import is_checksum_address
from pydantic import BeforeValidator, PlainValidator
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode

from keeper.core.units import WAD, Address
from keeper.errors import ConfigError

config_folder: ContextVar[Path] = ContextVar("config_folder")
"""The folder of the file being read; relative paths in it start there."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a value is written: `render` is the inverse of parsing, for defaults shown to people."""

    render: Callable[[Any], str]


# Quantities -----------------------------------------------------------------------------------------------------------

_QUANTITY = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z%]+)\s*")


def _parse_quantity(value: object, units: dict[str, Decimal], expected: str) -> int:
    """A number and one of `units` as a whole number of the smallest; ValueError says what was `expected`."""
    match = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    sizes = {unit.lower(): size for unit, size in units.items()}
    if match is None or match[2].lower() not in sizes:
        raise ValueError(expected)
    amount = Decimal(match[1].replace("_", "")) * sizes[match[2].lower()]
    if amount != int(amount):
        raise ValueError(f"{expected}; this is finer than the keeper counts")
    return int(amount)


def _render_quantity(units: dict[str, Decimal], separator: str) -> Callable[[int], str]:
    """Writes a quantity in the unit that makes it shortest."""

    def render(value: int) -> str:
        by_size = sorted(units, key=units.__getitem__, reverse=True)
        return min((f"{(Decimal(value) / units[unit]).normalize():f}{separator}{unit}" for unit in by_size), key=len)

    return render


_SECONDS = {"s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
_MILLISECONDS = {"ms": Decimal(1)} | {unit: seconds * 1000 for unit, seconds in _SECONDS.items()}
_WEI = {"wei": Decimal(1), "gwei": Decimal(10**9), "ETH": Decimal(10**18)}


def parse_seconds(value: object) -> int:
    return _parse_quantity(value, _SECONDS, 'expected a duration with its unit, such as "30s", "5m", "1h" or "7d"')


def parse_milliseconds(value: object) -> int:
    return _parse_quantity(value, _MILLISECONDS, 'expected a duration with its unit, such as "12s", "2s" or "250ms"')


def parse_bps(value: object) -> int:
    return _parse_quantity(value, {"%": Decimal(100)}, 'expected a percentage such as "12%" or "0.5%"')


def parse_wei(value: object) -> int:
    return _parse_quantity(value, _WEI, 'expected an amount with its unit, such as "0.05 ETH", "30 gwei" or "1 wei"')


def render_bps(bps: int) -> str:
    return f"{(Decimal(bps) / 100).normalize():f}%"


def parse_health(value: object) -> int:
    """A health factor such as 1.05, as WAD and without passing through a binary float."""
    expected = "expected a health factor such as 1.05"
    if isinstance(value, bool) or not isinstance(value, int | str | Decimal):
        raise ValueError(expected)
    try:
        health = Decimal(value)
    except InvalidOperation:
        raise ValueError(expected) from None
    if not health.is_finite() or not 0 < health < 1000 or health * WAD != int(health * WAD):
        raise ValueError(expected)
    return int(health * WAD)


def render_health(health: int) -> str:
    return f"{(Decimal(health) / WAD).normalize():f}"


Seconds = Annotated[int, BeforeValidator(parse_seconds), Form(_render_quantity(_SECONDS, ""))]
Milliseconds = Annotated[int, BeforeValidator(parse_milliseconds), Form(_render_quantity(_MILLISECONDS, ""))]
Bps = Annotated[int, BeforeValidator(parse_bps), Form(render_bps)]
Wei = Annotated[int, BeforeValidator(parse_wei), Form(_render_quantity(_WEI, " "))]
Health = Annotated[int, BeforeValidator(parse_health), Form(render_health)]

# Names on the chain ---------------------------------------------------------------------------------------------------


def parse_address(value: object) -> Address:
    expected = "expected an address: 0x and 40 hexadecimal digits"
    if not isinstance(value, str) or not re.fullmatch(r"0x[0-9a-fA-F]{40}", value):
        raise ValueError(expected)
    digits = value[2:]
    if digits not in (digits.lower(), digits.upper()) and not is_checksum_address(value):
        raise ValueError("expected an address, and this one has a wrong checksum: one of its characters is mistyped")
    return Address(value.lower())


def parse_market_id(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"0x[0-9a-fA-F]{64}", value):
        raise ValueError("expected a market id: 0x and 64 hexadecimal digits")
    return value.lower()


ChainAddress = Annotated[Address, BeforeValidator(parse_address)]
MarketId = Annotated[str, BeforeValidator(parse_market_id)]


# Paths, secrets, endpoints --------------------------------------------------------------------------------------------


def parse_path(value: object) -> Path:
    if isinstance(value, Path):
        return value
    if not isinstance(value, str) or not value:
        raise ValueError("expected a path")
    return config_folder.get() / Path(value).expanduser()


ConfigPath = Annotated[Path, PlainValidator(parse_path), Form(lambda path: path.name)]


@dataclass(frozen=True, slots=True)
class Secret:
    """A reference to a secret; its text is read when asked for and kept nowhere."""

    reference: str
    """`env:NAME` or `file:PATH`, safe to show."""
    folder: Path = field(repr=False)

    def __str__(self) -> str:
        return self.reference

    @property
    def path(self) -> Path | None:
        """The file that holds it; None: an environment variable does."""
        kind, _, place = self.reference.partition(":")
        return self.folder / Path(place).expanduser() if kind == "file" else None

    def reveal(self) -> str:
        """The secret itself. Raises ConfigError when the variable or file is missing, empty or unreadable."""
        path = self.path
        if path is None:
            name = self.reference.removeprefix("env:")
            text = os.environ.get(name, "")
            if not text:
                raise ConfigError(f"The secret {self.reference} is missing: set the environment variable {name}.")
            return text
        try:
            text = path.read_text().strip()
        except OSError as error:
            raise ConfigError(f"The secret {self.reference} is missing: {path} says {error.strerror}.") from None
        except UnicodeDecodeError:
            raise ConfigError(f"The secret {self.reference} is not text: check {path}.") from None
        if not text:
            raise ConfigError(f"The secret {self.reference} is empty: write it into {path}.")
        return text


_REFERENCE = re.compile(r"env:[A-Za-z_][A-Za-z0-9_]*|file:\S.*")


def parse_secret(value: object) -> Secret:
    """A reference only. What stands in its place may be the secret itself, so no error repeats it."""
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str) or not _REFERENCE.fullmatch(value):
        raise PydanticCustomError(
            "hidden", 'expected a reference, "env:NAME" or "file:PATH"; a secret itself does not belong in this file'
        )
    return Secret(value, config_folder.get())


SecretReference = Annotated[Secret, NoDecode, PlainValidator(parse_secret), Form(str)]

_SCHEMES = {"http": ("http", "https"), "ws": ("ws", "wss")}


def redact_url(url: str) -> str:
    """Scheme, host and port; user, path and query may hold a key."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(not a URL)"
    rest = "/…" if parts.path.strip("/") or parts.query or parts.username else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{rest}"


def normal_url(url: str) -> str:
    """The same text for every way to write one endpoint: the case of its host, its usual port, a slash at the end."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "ws": 80, "https": 443, "wss": 443}.get(parts.scheme)
    user = f"{parts.username or ''}:{parts.password or ''}"
    return f"{parts.scheme}://{user}@{parts.hostname}:{port}{parts.path.rstrip('/')}?{parts.query}"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL that may carry a key: shown only as scheme and host."""

    source: Secret | str = field(repr=False)
    """A reference to the URL, or the URL."""
    schemes: tuple[str, ...] = field(repr=False)

    def __str__(self) -> str:
        return str(self.source) if isinstance(self.source, Secret) else redact_url(self.source)

    def __repr__(self) -> str:
        return f"Endpoint({self})"

    def reveal(self) -> str:
        """The whole URL. Raises ConfigError when its secret is missing or is not a URL of the right kind."""
        if not isinstance(self.source, Secret):
            return self.source
        url = self.source.reveal()
        if not _is_url(url, self.schemes):
            raise ConfigError(f"The secret {self.source} is not a URL that starts with {' or '.join(self.schemes)}.")
        return url


def _is_url(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _parse_endpoint(kind: str) -> Callable[[object], Endpoint]:
    schemes = _SCHEMES[kind]

    def parse(value: object) -> Endpoint:
        if isinstance(value, Endpoint):
            return value
        if isinstance(value, str) and _REFERENCE.fullmatch(value):
            return Endpoint(parse_secret(value), schemes)
        if not isinstance(value, str) or not _is_url(value, schemes):
            raise PydanticCustomError(
                "hidden", 'expected "env:NAME", "file:PATH" or a {schemes} URL', {"schemes": " or ".join(schemes)}
            )
        return Endpoint(value, schemes)

    return parse


parse_http_endpoint = _parse_endpoint("http")

HttpEndpoint = Annotated[Endpoint, NoDecode, PlainValidator(parse_http_endpoint), Form(str)]


def _parse_endpoints(parse: Callable[[object], Endpoint]) -> Callable[[object], tuple[Endpoint, ...]]:
    """One endpoint, or a list of them; in the environment a list is written as JSON."""

    def parse_all(value: object) -> tuple[Endpoint, ...]:
        if isinstance(value, str) and value.startswith("["):
            try:
                value = json.loads(value)
            except ValueError:
                raise PydanticCustomError("hidden", "expected one endpoint, or a list of them") from None
        if not isinstance(value, list | tuple):
            return (parse(value),)
        endpoints = tuple(parse(each) for each in cast(Sequence[object], value))
        if not endpoints:
            raise PydanticCustomError("hidden", "expected at least one endpoint")
        # What is behind a reference is compared when it is needed.
        named = {normal_url(each.source) if isinstance(each.source, str) else each.source for each in endpoints}
        if len(named) < len(endpoints):
            raise PydanticCustomError("hidden", "expected each endpoint once; remove the one that is named twice")
        return endpoints

    return parse_all


HttpEndpoints = Annotated[
    tuple[Endpoint, ...], NoDecode, PlainValidator(_parse_endpoints(parse_http_endpoint)), Form(str)
]
WebSocketEndpoints = Annotated[
    tuple[Endpoint, ...], NoDecode, PlainValidator(_parse_endpoints(_parse_endpoint("ws"))), Form(str)
]


# Local addresses ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Listen:
    """Where a server of ours listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_listen(value: object) -> Listen:
    if isinstance(value, Listen):
        return value
    match = (
        re.fullmatch(r"(?:\[([0-9a-fA-F:]+)\]|([A-Za-z0-9.-]+)):([0-9]{1,5})", value)
        if isinstance(value, str)
        else None
    )
    if match is None or int(match[3]) > 65535:
        raise ValueError('expected host:port, such as "127.0.0.1:9464"')
    return Listen(match[1] or match[2], int(match[3]))


ListenAddress = Annotated[Listen, NoDecode, PlainValidator(parse_listen), Form(str)]


def listed(words: Sequence[str], conjunction: str = "and") -> str:
    """`a, b and c`; `none` of nothing."""
    return f" {conjunction} ".join(filter(None, [", ".join(words[:-1]), words[-1]])) if words else "none"
