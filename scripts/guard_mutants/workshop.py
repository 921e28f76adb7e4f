"""A copy of the contracts in which one line is changed, built and tested; the copy is thrown away with its folder."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Collection, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from scripts.guard_mutants.mutant import Mutant

CONTRACTS = Path(__file__).resolve().parents[2] / "contracts"
COPIED = ("src", "test", "devnet", "snapshots", "foundry.toml", "solc")
LINKED = ("node_modules", ".cache")

FAILED_TEST = re.compile(r"^\[FAIL.*\] (\w+)\(", re.MULTILINE)
BUILD_SECONDS_MAX = 600

AS_SHIPPED = "GasTest|GasPairs|WorstBatch|Deployment|Campaign"
"""Tests that hold of the optimised build only, and the campaign, which comes last."""

VIA_IR = re.compile(
    r"\n\[\[profile\.default\.(additional_compiler_profiles|compilation_restrictions)\]\].*\Z", re.DOTALL
)


class TableIsStale(Exception):
    """A mutant's line is not in the contracts, or not once."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """One copy; whoever works in it works alone."""

    folder: Path

    @classmethod
    def at(cls, folder: Path, *, via_ir: bool, tests: Collection[str] = ()) -> Self:
        """With `via_ir` the guard is built as it is shipped; without, unoptimised and much sooner.

        `tests`: names under test/ that are kept, which saves building the others; all without.
        """
        folder.mkdir()
        for name in COPIED:
            source = CONTRACTS / name
            if source.is_dir():
                shutil.copytree(source, folder / name)
            elif source.exists():
                shutil.copy(source, folder / name)
        for name in LINKED:
            (folder / name).symlink_to(CONTRACTS / name)
        settings = (folder / "foundry.toml").read_text()
        for test in (folder / "test").iterdir():
            if tests and test.name not in tests:
                shutil.rmtree(test) if test.is_dir() else test.unlink()
        if not via_ir:
            settings = VIA_IR.sub("\n", settings).replace("optimizer = true", "optimizer = false")
        # A weakened line may leave a name unused.
        (folder / "foundry.toml").write_text(settings.replace('deny = "warnings"', 'deny = "never"'))
        return cls(folder)

    def killer_of(self, mutant: Mutant) -> str | None:
        """The first test that fails on it; None when none does. Raises TableIsStale, also when it does not compile."""
        with self.weakened(mutant):
            return self.failing(mutant.what)

    def failing(self, what: str) -> str | None:
        """The first test that fails, the campaign last. Raises TableIsStale, with `what`, where it does not compile."""
        printed = self._forge("test", "--fail-fast", "--no-match-contract", AS_SHIPPED)
        if "Compiler run failed" in printed or "Ran " not in printed:
            raise TableIsStale(f"{what}: it did not compile\n{printed[-2000:]}")
        failed = FAILED_TEST.search(printed)
        if failed is None:
            failed = FAILED_TEST.search(self._forge("test", "--fail-fast", "--match-contract", "ThiefCampaign"))
        return failed.group(1) if failed else None

    def gas_without(self, mutant: Mutant) -> dict[str, int]:
        """What the batches of the gas tests cost with this check taken away."""
        with self.weakened(mutant):
            return self.gas()

    def gas(self) -> dict[str, int]:
        """What the batches of the gas tests cost. Raises TableIsStale when nothing was measured."""
        printed = self._forge("test", "--match-contract", "GasTest")
        if "Ran " not in printed:
            raise TableIsStale(f"the guard did not compile\n{printed[-2000:]}")
        measured: dict[str, str] = json.loads((self.folder / "snapshots" / "Gas.json").read_text())
        return {name: int(gas) for name, gas in measured.items()}

    @contextmanager
    def weakened(self, *mutants: Mutant) -> Generator[None]:
        """By all of them at once. Raises TableIsStale when a line is not there, or not once."""
        try:
            for mutant in mutants:
                text = (self.folder / mutant.file).read_text()
                if text.count(mutant.find) != 1:
                    raise TableIsStale(
                        f"{mutant.what}: {mutant.file} holds {text.count(mutant.find)} times: {mutant.find}"
                    )
                (self.folder / mutant.file).write_text(text.replace(mutant.find, mutant.replace))
            yield
        finally:
            for mutant in mutants:
                shutil.copy(CONTRACTS / mutant.file, self.folder / mutant.file)

    def _forge(self, *arguments: str) -> str:
        # A short campaign: it is the last that is asked.
        environment = os.environ | {"FOUNDRY_FUZZ_RUNS": "64", "FOUNDRY_INVARIANT_RUNS": "6"}
        command = (str(CONTRACTS / "node_modules" / ".bin" / "forge"), *arguments)
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=environment,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=BUILD_SECONDS_MAX,
        )
        return done.stdout
