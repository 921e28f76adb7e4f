"""What is wrong before anything is asked of a chain: a sentence, exit code 2, and the same sentence as JSON."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands.shell import keeper

OWNER = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8"
SEE = "See `keeper --help` and `keeper VERB --help`."
GOOD = f"""
[chain]
rpc_url = "http://127.0.0.1:1"
chain_id = 31337

[guard]
owner = "{OWNER}"

[[protocols]]
kind = "wallet"
tokens = ["0x5fbdb2315678afecb367f032d93f642f64180aa3"]

[policy]
trigger = 1.15
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "keeper.toml"
    path.write_text(GOOD)
    return path


def test_help_names_every_verb() -> None:
    ran = keeper("--help")
    assert ran.code == 0
    verbs = {line.split()[0] for line in ran.out.split("Commands:")[1].splitlines() if line.strip()}
    assert verbs == {
        "init",
        "setup",
        "check",
        "status",
        "plan",
        "run",
        "explain",
        "what-if",
        "journal",
        "pause",
        "resume",
    }


def test_without_a_verb_the_help_is_shown() -> None:
    ran = keeper("")
    assert ran.code == 2
    assert ran.err.startswith("Usage: keeper ")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("stauts", f"No such command 'stauts'. Did you mean 'status'? {SEE}"),
        ("status --jsno", f"No such option: --jsno (Possible options: --json) {SEE}"),
        ("explain", f"Missing argument 'SUBACCOUNT'. {SEE}"),
        (
            "setup --form paper",
            f"Invalid value for '--form': 'paper' is not one of 'list', 'safe', 'cast'. {SEE}",
        ),
    ],
)  # fmt: skip
def test_a_wrong_command_line_is_a_sentence(line: str, says: str) -> None:
    ran = keeper(line)
    assert (ran.code, ran.out, ran.error) == (2, "", says)
    as_json = keeper(line, "--json")
    assert (as_json.code, as_json.document) == (2, {"error": says})


@pytest.mark.parametrize("verb", ["check", "status", "plan", "explain wallet", "journal", "setup", "run", "pause"])
def test_a_missing_file_is_named(tmp_path: Path, verb: str) -> None:
    path = tmp_path / "keeper.toml"
    says = f"There is no {path}; write one with `keeper init`, or name another with --config."
    ran = keeper(verb, config=path)
    assert (ran.code, ran.out, ran.error) == (2, "", says)
    as_json = keeper(verb, "--json", config=path)
    assert (as_json.code, as_json.document) == (2, {"error": says})


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("trigger = 1.15", "triger = 1.15", "keeper.toml: [policy] triger is not known; did you mean trigger?"),
        ("[policy]", "[polcy]", "keeper.toml: [polcy] is not known; did you mean policy?"),
        (
            "chain_id = 31337",
            'chain_id = "mainnet"',
            'keeper.toml: [chain] chain_id is "mainnet": expected a whole number.',
        ),
        (
            "trigger = 1.15",
            "trigger = 1.15\ntarget = 1.1",
            "keeper.toml: [policy]: target = 1.1 must be at or above trigger = 1.15.",
        ),
        (
            "trigger = 1.15",
            "hard_floor = 1.0",
            "keeper.toml: [policy]: hard_floor = 1 must be above 1, the liquidation line.",
        ),
        (
            "chain_id = 31337\n",
            "",
            "keeper.toml: [chain] chain_id is missing; it is the chain; a node that answers for",
        ),
        (OWNER, OWNER[:-1], "keeper.toml: [guard] owner is "),
        ("[policy]", "[policy", "keeper.toml is not valid TOML: "),
    ],
)
def test_a_wrong_file_is_told_by_its_key(config: Path, old: str, new: str, says: str) -> None:
    assert old in GOOD
    config.write_text(GOOD.replace(old, new, 1))
    ran = keeper("status", config=config)
    assert (ran.code, ran.out) == (2, "")
    assert ran.error.startswith(says)
    as_json = keeper("status --json", config=config)
    assert (as_json.code, as_json.document) == (2, {"error": ran.error})


def test_all_that_is_wrong_is_told_at_once(config: Path) -> None:
    config.write_text(GOOD.replace("trigger = 1.15", "triger = 1.15\nshock = 10"))
    assert len(keeper("check", config=config).error.splitlines()) == 2


def test_an_environment_that_overrides_nothing_is_told(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPER__CHIAN__RPC_URL", "http://127.0.0.1:2")
    ran = keeper("status", config=config)
    assert ran.code == 2
    assert ran.error.startswith("KEEPER__CHIAN__RPC_URL in the environment overrides nothing;")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("plan --shock WETH", "--shock 'WETH' is not of the form WETH=-12%."),
        ("plan --shock WETH=-12", "--shock 'WETH=-12' is not of the form WETH=-12%."),
        ("plan --shock WETH=-100%", "--shock 'WETH=-100%': a price cannot fall by 100 % or more."),
        (
            "journal --since yesterday",
            "--since is 'yesterday': expected a duration with its unit, such as \"30s\", \"5m\", \"1h\" or \"7d\".",
        ),
        ("setup --cap WETH=5", "--cap 'WETH=5' is not of the form WETH=50/1d."),
        ("setup --cap WETH=5/soon", "--cap 'WETH=5/soon' is not of the form WETH=50/1d."),
        ("setup --allowance WETH", "--allowance 'WETH' is not of the form WETH=20."),
        ("setup --keeper 0x12", "--keeper is '0x12': expected an address: 0x and 40 hexadecimal digits."),
        (
            "setup --send",
            "--send needs --owner-keystore and --owner-password, or --impersonate on a local chain.",
        ),
    ],
)  # fmt: skip
def test_an_option_that_makes_no_sense_is_refused(config: Path, arguments: str, says: str) -> None:
    ran = keeper(arguments, config=config)
    assert (ran.code, ran.out, ran.error) == (2, "", says)


def test_init_does_not_overwrite(config: Path) -> None:
    ran = keeper(f"init --owner {OWNER} --rpc-url http://127.0.0.1:1 --discover --output", config)
    assert ran.code == 2
    assert ran.error == f"{config} exists already; write another with --output, or overwrite it with --force."


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            f"--owner {OWNER} --rpc-url http://127.0.0.1:1",
            (
                "Nothing says which positions there are: use --discover, or name markets with --market, a pool with "
                "--aave-pool or --venus-pool, or vaults with --euler-vault."
            ),
        ),
        (
            f"--owner {OWNER[:-1]} --rpc-url http://127.0.0.1:1 --discover",
            f"--owner is '{OWNER[:-1]}': expected an address: 0x and 40 hexadecimal digits.",
        ),
        (
            f"--owner {OWNER} --rpc-url http://127.0.0.1:1 --market 0x12",
            "--market is '0x12': expected a market id: 0x and 64 hexadecimal digits.",
        ),
        *(
            (
                f"--owner {OWNER} --rpc-url http://127.0.0.1:1 --discover {option} 0x12",
                f"{option} is '0x12': expected an address: 0x and 40 hexadecimal digits.",
            )
            for option in ("--morpho", "--aave-pool", "--account", "--evc", "--euler-vault")
        ),
        (
            f"--owner {OWNER} --rpc-url 127.0.0.1:1 --discover",
            '--rpc-url is \'127.0.0.1:1\': expected "env:NAME", "file:PATH" or a http or https URL.',
        ),
        (
            f"--owner {OWNER} --rpc-url env:NO_SUCH_NAME --discover",
            "The secret env:NO_SUCH_NAME is missing: set the environment variable NO_SUCH_NAME.",
        ),
    ],
)
def test_init_says_what_it_needs(tmp_path: Path, arguments: str, says: str) -> None:
    ran = keeper(f"init {arguments} --output", tmp_path / "new.toml")
    assert (ran.code, ran.error) == (2, says)
    assert not (tmp_path / "new.toml").exists()


def test_init_takes_no_block_before_the_first(tmp_path: Path) -> None:
    ran = keeper(f"init --owner {OWNER} --rpc-url http://127.0.0.1:1 --from-block -1 --output", tmp_path / "new.toml")
    assert ran.code == 2
    assert not (tmp_path / "new.toml").exists()


def test_a_journal_that_is_not_there_yet_is_no_mistake_of_the_file(config: Path) -> None:
    ran = keeper("journal", config=config)
    assert ran.code == 1
    assert ran.error == f"There is no journal at {config.parent / 'keeper.sqlite'} yet; `keeper run` makes one."


def test_a_reader_that_has_seen_enough_is_no_fault(config: Path) -> None:
    """As in `keeper --help | head -1`: the pipe is closed before everything is written."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "w") as nobody:
        ended = subprocess.run(
            [sys.executable, "-c", "from keeper.cli import main; main()", "pause", "--config", str(config)],
            stdout=nobody,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
        )
    assert "Traceback" not in ended.stderr
    assert ended.returncode == 0
