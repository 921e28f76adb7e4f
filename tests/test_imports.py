"""Imports go downwards only: cli → daemon → chain → {journal, protocols} → core → errors."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "keeper"

MAY_IMPORT = {
    "errors": set[str](),
    "core": {"errors"},
    "protocols": {"core", "errors"},
    "journal": {"core", "errors"},
    "config": {"core", "errors"},
    "telemetry": {"config", "core", "errors"},
    "report": {"core", "errors"},
    "control": {"errors"},
    "chain": {"config", "core", "errors", "journal", "protocols", "telemetry"},
    "daemon": {"chain", "config", "control", "core", "errors", "journal", "protocols", "report", "telemetry"},
    "cli": {"chain", "config", "control", "core", "daemon", "errors", "journal", "protocols", "report", "telemetry"},
}
"""Each layer and the layers that it may use; a module counts as the first layer whose name it starts with."""

LAYER_OF = {"alerts": "telemetry", "commands": "cli", "documents": "report", "pausing": "control"}
"""Modules that belong to a layer without bearing its name; any other counts as the daemon's."""

IO_MODULES = {
    "aiohttp", "asyncio", "asyncio_throttle", "http", "os", "pathlib", "requests", "socket", "sqlite3", "subprocess",
    "urllib", "web3", "websockets",
}  # fmt: skip
"""What the pure layers must not even import: they decide and decode, others read and send."""


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py")


def layer_of(module: str) -> str:
    """`keeper.core.plan` → `core`, `keeper.journal_files` → `journal`, `keeper.alerts` → `telemetry`."""
    first = module.split(".")[1]
    beginning = first.split("_")[0]
    return beginning if beginning in MAY_IMPORT else LAYER_OF.get(first, "daemon")


def dotted(path: Path) -> str:
    parts = list(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively; name the module in full"
            assert node.module is not None
            found |= {node.module} if node.module != "keeper" else {f"keeper.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", modules(), ids=dotted)
def test_a_module_imports_only_from_its_own_layer_or_below(path: Path) -> None:
    layer = layer_of(dotted(path))
    upwards = {
        module
        for module in imported_modules(path)
        if module.startswith("keeper.") and layer_of(module) not in MAY_IMPORT[layer] | {layer}
    }
    assert not upwards, f"{dotted(path)} may import {sorted(MAY_IMPORT[layer])} but imports {sorted(upwards)}"


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in modules()
        if path.relative_to(PACKAGE).parts[0] in {"core", "protocols"} or path.name == "errors.py"
    ],
    ids=dotted,
)
def test_what_decides_or_decodes_imports_nothing_that_reads_or_sends(path: Path) -> None:
    # An adapter's ABIs are files of this package; nothing else is read.
    allowed = {"pathlib"} if layer_of(dotted(path)) == "protocols" else set[str]()
    assert not {module.split(".")[0] for module in imported_modules(path)} & IO_MODULES - allowed


def test_the_layers_are_ordered() -> None:
    """What a layer may use may itself use only a subset: the table has no cycle."""
    for layer, below in MAY_IMPORT.items():
        assert layer not in below
        for lower in below:
            assert MAY_IMPORT[lower] < below
