"""The dress rehearsal as somebody runs it: its command line, and what its document says of each account."""

import os
import subprocess
import sys
from typing import Any

from scripts.localchain.anvil import ROOT

COMMAND = [sys.executable, "-m", "scripts.rehearsal.app"]


def fork(*arguments: str, url: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "ETH_RPC_URL"}
    return subprocess.run(
        [*COMMAND, *arguments],
        cwd=ROOT,
        env=environment | ({"ETH_RPC_URL": url} if url else {}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def by_label(act: dict[str, Any]) -> dict[str, Any]:
    return {account["label"]: account for account in act["accounts"]}
