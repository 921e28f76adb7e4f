"""Keeps an endpoint's URL, which may hold a key, out of every message and log line."""

import logging
import re
from urllib.parse import parse_qsl, unquote, urlsplit

from keeper.config_values import redact_url

SECRET_LENGTH_MIN = 6
"""Shorter path segments are names such as `v3`; hiding them would only make messages unreadable."""

NODE_TEXT_LENGTH_MAX = 240


class Redactor:
    """Hides one URL and every part of it that may be a secret; `label` is what people see instead."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        pieces = [parts.username or "", parts.password or "", parts.path, parts.query]
        pieces += [value for _, value in parse_qsl(parts.query)]
        pieces += parts.path.split("/")
        pieces += [unquote(piece) for piece in pieces]
        secrets = {piece for piece in pieces if len(piece) >= SECRET_LENGTH_MIN} | {url}
        self.label = redact_url(url)
        # The longest first, so that no part of a longer secret survives next to a shorter one.
        self._pattern = re.compile("|".join(re.escape(secret) for secret in sorted(secrets, key=len, reverse=True)))

    def __repr__(self) -> str:
        return f"Redactor({self.label})"

    def __call__(self, text: str) -> str:
        """`text` without the secrets, on one line and of bounded length: a node's own words end up in logs."""
        shown = self._pattern.sub("…", text)
        shown = "".join(character if character.isprintable() else " " for character in shown)
        shown = " ".join(shown.split())
        return shown if len(shown) <= NODE_TEXT_LENGTH_MAX else f"{shown[:NODE_TEXT_LENGTH_MAX]}…"


class RedactingFilter(logging.Filter):
    """For the loggers of libraries that print what they were connected to."""

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = self._redact(record.getMessage())
        record.args = None
        # A traceback would print the library's own exceptions, and with them the URL.
        record.exc_info = None
        record.exc_text = None
        return True
