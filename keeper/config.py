"""keeper.toml → Config.

The file, then `KEEPER__SECTION__KEY` in the environment on top of it; nothing but the config reads the environment. An
unknown key is an error, and all problems of a file are told at once, in sentences that name the key and what belongs
there.
"""

import difflib
import os
import tomllib
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from pydantic_settings.exceptions import SettingsError

from keeper.config_sections import (
    AlertsSection,
    ChainSection,
    FeesSection,
    GuardSection,
    JournalSection,
    PolicySection,
    PricesSection,
    ProtocolSection,
    SignerSection,
    TelemetrySection,
)
from keeper.config_values import config_folder, listed
from keeper.errors import ConfigError

ENVIRONMENT_PREFIX = "KEEPER__"


class Config(BaseSettings):
    """All of keeper.toml."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix=ENVIRONMENT_PREFIX, env_nested_delimiter="__", hide_input_in_errors=True
    )

    chain: ChainSection
    signer: SignerSection | None = None
    guard: GuardSection
    protocols: tuple[ProtocolSection, ...] = Field(min_length=1)
    prices: PricesSection = Field(default_factory=PricesSection)
    policy: PolicySection = Field(default_factory=PolicySection)
    fees: FeesSection = Field(default_factory=FeesSection)
    journal: JournalSection = Field(default_factory=JournalSection)
    telemetry: TelemetrySection = Field(default_factory=TelemetrySection)
    alerts: AlertsSection = Field(default_factory=AlertsSection)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, which comes in as the constructor's arguments."""
        return env_settings, init_settings


def load_config(path: Path) -> Config:
    """Reads the file at `path` and the environment.

    Raises ConfigError with one sentence for each problem. Secrets are not looked at until they are needed.
    """
    path = path.absolute()
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise ConfigError(f"There is no {path}; write one with `keeper init`, or name another with --config.") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text.") from None
    try:
        data = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path.name} is not valid TOML: {error}.") from None
    return _build(data, path)


def _build(data: dict[str, Any], path: Path) -> Config:
    unknown = [name for name in os.environ if _is_unknown_variable(name)]
    if unknown:
        raise ConfigError(
            f"{unknown[0]} in the environment overrides nothing; its name must be KEEPER__SECTION__KEY, "
            f"with SECTION one of {listed(sorted(Config.model_fields), 'or')}."
        )
    token = config_folder.set(path.parent)
    try:
        return Config(**data)
    except SettingsError as error:
        raise ConfigError(f"The environment cannot be used: {error}.") from None
    except ValidationError as error:
        raise ConfigError(
            "\n".join(_sentence(problem, path) for problem in error.errors() if not _is_consequence(problem))
        ) from None
    finally:
        config_folder.reset(token)


def _is_unknown_variable(name: str) -> bool:
    section = name.upper().removeprefix(ENVIRONMENT_PREFIX).split("__")[0].lower()
    return name.upper().startswith(ENVIRONMENT_PREFIX) and section not in Config.model_fields


# Problems as sentences ------------------------------------------------------------------------------------------------


def _sentence(problem: ErrorDetails, path: Path) -> str:
    """One problem: where it is, what was found unless that may be a secret, and what belongs there."""
    loc = problem["loc"]
    if loc[:1] == ("protocols",):
        # pydantic names the kind of an entry as if it were a key.
        loc = (*loc[:2], *loc[3:])
    variable = ENVIRONMENT_PREFIX + "__".join(str(part) for part in loc).upper()
    is_from_environment = variable in {name.upper() for name in os.environ}
    where = variable if is_from_environment else f"{path.name}: {_place(loc)}"
    found = _shown(problem["input"])
    message = problem["msg"].removeprefix("Value error, ").removeprefix("Input should be ").removeprefix("expected ")
    match problem["type"]:
        case "extra_forbidden":
            return f"{where} is not known; {_suggestion(problem['loc'])}"
        case "missing":
            return f"{where} is missing; it is {_description(problem['loc'])}."
        case "hidden":
            return f"{where}: expected {message}."
        case "union_tag_invalid" | "union_tag_not_found":
            return f'{where}: kind must be "morpho_blue", "aave_v3", "euler_v2", "venus_pool" or "wallet".'
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{where} must be a section, not {found}."
        case "too_short" | "string_too_short":
            return f"{where} must not be empty."
        case "value_error" if isinstance(problem["input"], dict):
            return f"{where}: {message}."
        case "int_type" | "int_parsing" | "int_from_float":
            return f"{where} is {found}: expected a whole number."
        case _:
            return f"{where} is {found}: expected {message}."


def _is_consequence(problem: ErrorDetails) -> bool:
    """A list that is too short only because its entries were refused says nothing new."""
    return problem["type"] == "too_short" and bool(problem["input"])


def _shown(value: object) -> str:
    if isinstance(value, str):
        # Long enough to be a key in the wrong place: its beginning says which value is meant.
        return f'"{value}"' if len(value) <= 48 else f'"{value[:10]}…"'
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, int | Decimal) else f"a {type(value).__name__}"


def _place(loc: tuple[int | str, ...]) -> str:
    """`[chain] rpc_url`, `[[protocols]] 1 markets 2`, `[policy.overrides."morpho:0x3a"] trigger`."""
    match loc:
        case (str(section),):
            return f"[[{section}]]" if section == "protocols" else f"[{section}]"
        case ("protocols", int(index), *rest):
            head = f"[[protocols]] number {index + 1}"
        case ("prices", "feeds", int(index), *rest):
            head = f"[[prices.feeds]] number {index + 1}"
        case ("prices", "second", int(index), *rest):
            head = f"[[prices.second]] number {index + 1}"
        case ("policy", "overrides", str(key), *rest):
            head = f'[policy.overrides."{key}"]'
        case (str(section), *rest):
            head = f"[{section}]"
        case _:
            return "the file"
    return " ".join([head, *(f"number {part + 1}" if isinstance(part, int) else part for part in rest)])


def _models_at(loc: Sequence[int | str]) -> list[type[BaseModel]]:
    """The sections that stand at a place of the file: several where `kind` tells them apart."""
    models: list[type[BaseModel]] = [Config]
    for part in loc:
        if isinstance(part, str) and (tagged := [model for model in models if _kind(model) == part]):
            models = tagged
            continue
        fields = [model.model_fields[part] for model in models if isinstance(part, str) and part in model.model_fields]
        if fields:
            models = [model for field in fields for model in _models_in(field.annotation)]
    return models


def _kind(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    return get_args(field.annotation)[0] if field else None


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _suggestion(loc: Sequence[int | str]) -> str:
    keys = sorted({key for model in _models_at(loc[:-1]) for key in model.model_fields})
    close = difflib.get_close_matches(str(loc[-1]), keys, n=1)
    return f"did you mean {close[0]}?" if close else f"there are {listed(keys)}."


def _description(loc: Sequence[int | str]) -> str:
    for model in _models_at(loc[:-1]):
        field = model.model_fields.get(str(loc[-1]))
        if field:
            nested = next(_models_in(field.annotation), None)
            return field.description or ((nested and nested.__doc__) or "needed").split(": ")[-1].rstrip(".")
    return "needed"
