"""Every key of keeper.toml with its default, for the file that `keeper init` writes and for the README's tables."""

from dataclasses import dataclass
from pathlib import Path

from pydantic.fields import FieldInfo

from keeper.config_sections import (
    AaveV3Section,
    AlertsSection,
    ChainSection,
    EulerV2Section,
    FeedSection,
    FeesSection,
    GuardSection,
    JournalSection,
    MorphoBlueSection,
    PolicySection,
    PricesSection,
    SecondSection,
    Section,
    SignerSection,
    TelemetrySection,
    VenusPoolSection,
    WalletSection,
)
from keeper.config_values import Form, config_folder


@dataclass(frozen=True, slots=True)
class Key:
    """One key, for the commented file that `init` writes and for the documentation."""

    section: str
    """As it stands in the file: `[chain]`; `[[protocols]] kind = "wallet"` where a kind decides the keys."""
    name: str
    description: str
    default: str | None
    """As TOML; None when there is no default."""
    is_required: bool


TABLES: tuple[tuple[str, type[Section]], ...] = (
    ("[chain]", ChainSection),
    ("[signer]", SignerSection),
    ("[guard]", GuardSection),
    ('[[protocols]] kind = "morpho_blue"', MorphoBlueSection),
    ('[[protocols]] kind = "aave_v3"', AaveV3Section),
    ('[[protocols]] kind = "euler_v2"', EulerV2Section),
    ('[[protocols]] kind = "venus_pool"', VenusPoolSection),
    ('[[protocols]] kind = "wallet"', WalletSection),
    ("[prices]", PricesSection),
    ("[[prices.feeds]]", FeedSection),
    ("[[prices.second]]", SecondSection),
    ("[policy]", PolicySection),
    ("[fees]", FeesSection),
    ("[journal]", JournalSection),
    ("[telemetry]", TelemetrySection),
    ("[alerts]", AlertsSection),
)


def all_keys() -> tuple[Key, ...]:
    """Every key of the file, in the order in which a person writes them."""
    return tuple(
        Key(section, name, field.description or "", _default_as_toml(field), field.is_required())
        for section, model in TABLES
        for name, field in model.model_fields.items()
    )


def _default_as_toml(field: FieldInfo) -> str | None:
    token = config_folder.set(Path())
    try:
        value = None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})
    finally:
        config_folder.reset(token)
    form = next((item for item in field.metadata if isinstance(item, Form)), None)
    if value is None or value == {} or value == ():
        return None
    if form:
        text = form.render(value)
        return text if field.annotation is int and text.replace(".", "").isdigit() else f'"{text}"'
    return str(value).lower() if isinstance(value, bool) else str(value) if isinstance(value, int) else f'"{value}"'
