"""Every verb of the command line on a running chain, as its owner uses it: what it prints, and how it exits."""

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from eth_keyfile.keyfile import create_keyfile_json

from keeper.config import load_config
from keeper.core.units import Address
from keeper.protocols.guard_setup import guard_address
from keeper.report import short
from scripts.localchain import world
from scripts.localchain.abi import encode_call
from scripts.localchain.devnet import Devnet
from scripts.localchain.world import KEEPER, OWNER, UNPROTECTED
from tests.commands.shell import keeper, keeper_process

pytestmark = pytest.mark.devnet

UNI_IS_NOT_HELD = "names UNI, which no account here holds or owes; there are DAI, USDC, WBTC, WETH, wstETH."
NO_DAEMON = "no daemon runs at the moment, and the next one will find it so"


@pytest.fixture(autouse=True)
def a_block_of_now(devnet: Devnet) -> None:
    """A chain that is put back stays behind by as much, and a node whose newest block is old is a fault of its own."""
    devnet.node.set_next_timestamp(max(int(time.time()), devnet.node.timestamp() + 1))
    devnet.node.mine()


def id_of(devnet: Devnet, market: str) -> str:
    return f"morpho:{devnet.deployment.markets[market].id}"


def short_id(devnet: Devnet, market: str) -> str:
    id = id_of(devnet, market)
    return f"{id[:13]}…{id[-4:]}"


# init, setup, check ---------------------------------------------------------------------------------------------------


@pytest.fixture
def unprotected(devnet: Devnet, tmp_path: Path) -> Path:
    """keeper.toml of a wallet without a guard, as `init` writes it, with the hot key added."""
    path = tmp_path / "mine" / "keeper.toml"
    ran = keeper(
        f"init --owner {UNPROTECTED.address} --rpc-url {devnet.url} --morpho {devnet.deployment.morpho} --discover "
        f"--output {path}"
    )
    assert ran.code == 0, ran.err
    for name in ("keystore.json", "password"):
        shutil.copy(devnet.folder / name, path.parent / name)
    text = path.read_text()
    for old, new in (
        ("# [signer]", "[signer]"),
        ('# keystore = "keystore.json"', 'keystore = "keystore.json"'),
        ('# password = "env:KEEPER_PASSWORD"', 'password = "file:password"'),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path.write_text(text)
    return path


def owner_keystore(folder: Path) -> str:
    """The options that name a keystore of the unprotected wallet's owner."""
    keystore = create_keyfile_json(bytes.fromhex(UNPROTECTED.key[2:]), b"open sesame", iterations=1024)
    (folder / "owner.json").write_text(json.dumps(keystore))
    (folder / "owner.password").write_text("open sesame\n")
    return f"--owner-keystore {folder / 'owner.json'} --owner-password file:{folder / 'owner.password'}"


def test_init_finds_the_positions_and_writes_a_file_that_the_keeper_takes(devnet: Devnet, tmp_path: Path) -> None:
    path = tmp_path / "keeper.toml"
    ran = keeper(
        f"init --owner {OWNER.address} --rpc-url {devnet.url} --morpho {devnet.deployment.morpho} --discover "
        f"--json --output {path}"
    )
    assert ran.code == 0
    assert ran.document == {
        "path": str(path),
        "chain_id": 31337,
        "owner": OWNER.address.lower(),
        "guard": devnet.deployment.guard.lower(),
        "positions": [*(id_of(devnet, position.market) for position in world.POSITIONS), "wallet"],
        "left_out": [],
    }
    assert path.stat().st_mode & 0o777 == 0o600
    text = path.read_text()
    assert "WETH/USDC moves by 5 % in a usual day (assumed, as none was measured)" in text
    assert "wstETH/WETH moves together" in text
    shown = keeper("status --json", config=path).document
    assert {each["verdict"] for each in shown["subaccounts"]} == {"Healthy", "Watching"}


def test_init_says_who_has_nothing(devnet: Devnet, tmp_path: Path) -> None:
    ran = keeper(
        f"init --owner {KEEPER.address} --rpc-url {devnet.url} --morpho {devnet.deployment.morpho} --discover "
        f"--output {tmp_path / 'keeper.toml'}"
    )
    assert ran.code == 2
    assert ran.error == (
        f"{KEEPER.address.lower()} has nothing that could be kept: it has no collateral on Morpho at "
        f"{devnet.deployment.morpho.lower()} in any market since block 0; no pool of Aave is known on chain 31337 "
        "(name it with --aave-pool); no connector of Euler is known on chain 31337 (name it with --evc); "
        "no pool of Venus is known on chain 31337 (name it with --venus-pool)."
    )


def test_init_asks_for_morphos_address_where_it_is_not_at_its_usual_one(devnet: Devnet, tmp_path: Path) -> None:
    ran = keeper(f"init --owner {OWNER.address} --rpc-url {devnet.url} --discover --output {tmp_path / 'keeper.toml'}")
    assert ran.code == 2
    assert ran.error == (
        f"{OWNER.address.lower()} has nothing that could be kept: there is no Morpho Blue at "
        "0xbbbbbbbbbb9cc5e90e3b3af64bdaf62c37eeffcb on chain 31337 (name its address with --morpho); no pool of Aave "
        "is known on chain 31337 (name it with --aave-pool); no connector of Euler is known on chain 31337 (name it "
        "with --evc); no pool of Venus is known on chain 31337 (name it with --venus-pool)."
    )


def test_init_takes_the_volatility_from_the_feeds_own_past_rounds(devnet: Devnet, tmp_path: Path) -> None:
    now = devnet.node.timestamp()
    for hours in range(40, 0, -2):
        devnet.chain.set_round("WETH", (2_500 if hours % 4 else 2_525) * 10**8, now - hours * 3_600)
        devnet.chain.set_round("USDC", 10**8, now - hours * 3_600)
    devnet.chain.refresh_prices()
    path = tmp_path / "keeper.toml"
    keeper(
        f"init --owner {OWNER.address} --rpc-url {devnet.url} --morpho {devnet.deployment.morpho} --discover "
        f"--output {path}"
    )
    said = " ".join(path.read_text().replace("\n# ", " ").split())
    # One percent every two hours is 3.45 % a day; the rounds of the chain's own start make it a little less.
    measured = re.search(r"WETH/USDC moves by (3\.\d+) % in a usual day \(measured\), which is a step", said)
    assert measured is not None
    assert 3.1 < float(measured[1]) < 3.5
    assert f"measured {measured[1]} % a day on its feeds' own past rounds" in said
    assert "WBTC/USDC moves by 5 % in a usual day (assumed, as none was measured)" in said


def test_set_up_with_the_owners_keystore_makes_a_wallet_that_is_protected(devnet: Devnet, unprotected: Path) -> None:
    guard = guard_address(Address(UNPROTECTED.address.lower()))
    before = keeper("check --json", config=unprotected)
    assert before.code == 1
    assert {
        (finding["grade"], finding["subject"], finding["says"], finding["fix"])
        for finding in before.document["findings"]
        if finding["subject"] == "guard"
    } == {("failure", "guard", f"there is no code at {guard}", "`keeper setup` deploys it")}
    of_accounts = [finding["says"] for finding in before.document["findings"] if finding["subaccount"] is not None]
    problem = f"nothing protects it: there is no guard at {guard}; `keeper setup` deploys it"
    assert of_accounts
    assert all(says.startswith(problem) for says in of_accounts)
    shown = " ".join(keeper("status", config=unprotected).out.split())
    assert f"the guard cannot be used: there is no guard at {guard}" in shown
    assert "setAuthorization" not in shown

    planned = keeper("setup", config=unprotected)
    assert planned.code == 0
    assert [line[:20] for line in planned.out.splitlines() if line[:1].isdigit()] == [
        "1. Deploys the guard",
        "2. Enrols WETH/USDC ",
        "3. Lets at most 91 W",
        "4. Lets 0x90f79bf6eb",
        "5. Authorises the gu",
        "6. Lets the guard ta",
        "7. Lets the guard ta",
    ]
    assert "Nothing was sent." in planned.out

    sent = keeper(f"setup --send {owner_keystore(unprotected.parent)}", config=unprotected)
    assert sent.code == 0, sent.err
    assert len(re.findall(r"   sent: 0x[0-9a-f]{64}", sent.out)) == 7
    assert sent.out.endswith(
        "All of it took effect, and nothing is missing any more. `keeper check` looks at the rest.\n"
    )

    again = keeper("setup", config=unprotected)
    assert again.out == f"Nothing is missing: the guard {guard} has everything that the configuration says.\n"
    after = keeper("check --json", config=unprotected)
    assert after.code == 0
    assert [finding["subject"] for finding in after.document["findings"] if finding["grade"] != "fine"] == ["daemon"]

    devnet.chain.set_price("WETH", "-8%")
    ran = keeper_process("run --once", config=unprotected)
    assert ran.code == 0, ran.err
    assert re.search(r"Block \d+: included in block \d+ as 0x[0-9a-f]{64}\.\n$", ran.out)
    position = devnet.chain.observe().positions[UNPROTECTED.address]["WETH/USDC 86%"]
    assert 1_240_000_000_000_000_000 < position.health < 1_260_000_000_000_000_000


def test_set_up_as_anybody_on_a_local_chain(unprotected: Path) -> None:
    ran = keeper("setup --send --impersonate --json", config=unprotected)
    assert ran.code == 0, ran.err
    assert len(ran.document["sent"]) == len(ran.document["transactions"]) == 7
    assert keeper("setup --json", config=unprotected).document["transactions"] == []


def test_caps_and_allowances_are_what_the_owner_asks_for(unprotected: Path) -> None:
    keeper("setup --send --impersonate --cap WETH=5/12h --allowance WBTC=0.1", config=unprotected)
    assert keeper("setup --json", config=unprotected).document["transactions"] == []
    changed = keeper("setup --cap WETH=6/2d --allowance WETH=0 --json", config=unprotected).document
    assert [call["says"] for call in changed["transactions"]] == [
        "Lets at most 6 WETH in any 2 days move between the accounts.",
        "Takes the guard's allowance of WETH back.",
    ]
    ran = keeper("check", config=unprotected)
    assert "cap WETH          5 WETH may still move in this window\n" in ran.out
    assert (
        "warning wallet WBTC       0.1 WBTC of 0.3 WBTC may be taken before the allowance runs out; "
        "`keeper setup --allowance WBTC=AMOUNT` raises it\n"
    ) in ran.out


def test_a_cap_of_what_the_wallet_does_not_hold_is_refused(unprotected: Path) -> None:
    ran = keeper("setup --cap UNI=5/1d", config=unprotected)
    assert ran.code == 2
    assert ran.error == "--cap names 'UNI', which is not one of the wallet's tokens: WETH, WBTC, wstETH."


def test_set_up_in_other_forms(unprotected: Path) -> None:
    document = keeper("setup --json", config=unprotected).document
    safe = keeper("setup --form safe", config=unprotected).document
    assert (safe["version"], safe["chainId"]) == ("1.0", "31337")
    assert [(call["to"], call["data"]) for call in safe["transactions"]] == [
        (call["to"], call["data"]) for call in document["transactions"]
    ]
    lines = keeper("setup --form cast", config=unprotected).out.splitlines()
    owner = UNPROTECTED.address.lower()
    assert lines[1::2] == [
        f"cast send --rpc-url $ETH_RPC_URL --from {owner} {call['to']} {call['data']}"
        for call in document["transactions"]
    ]
    assert lines[::2] == [f"# {call['says']}" for call in document["transactions"]]


@pytest.mark.parametrize(
    ("keystore", "password", "says"),
    [
        ("nothing.json", "file:owner.password", "cannot be read: No such file or directory; correct --owner-keystore."),
        ("owner.json", "file:keystore.json", "The password does not open the keystore"),
        ("keystore.json", "file:password", f"is of {KEEPER.address}, and the owner is {UNPROTECTED.address.lower()}."),
        (
            "owner.json",
            "open sesame",
            "--owner-password takes a reference, env:NAME or file:PATH: others can read what",
        ),
        ("owner.json", "env:NO_SUCH_VARIABLE", "The secret env:NO_SUCH_VARIABLE is missing: set the environment"),
    ],
)
def test_an_owner_who_cannot_sign_is_told_why(
    unprotected: Path, monkeypatch: pytest.MonkeyPatch, keystore: str, password: str, says: str
) -> None:
    monkeypatch.chdir(unprotected.parent)
    owner_keystore(unprotected.parent)
    ran = keeper("setup --send --owner-keystore", keystore, "--owner-password", password, config=unprotected)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.error


def test_an_owner_without_gas_is_told(devnet: Devnet, unprotected: Path) -> None:
    devnet.node.set_balance(UNPROTECTED.address, 0)
    ran = keeper(f"setup --send {owner_keystore(unprotected.parent)}", config=unprotected)
    assert ran.code == 1
    assert "nsufficient funds" in ran.error


def test_without_a_hot_key_set_up_asks_for_its_address(unprotected: Path) -> None:
    text = unprotected.read_text()
    unprotected.write_text(re.sub(r'\[signer\](\n.*){4}"file:password"', "", text))
    ran = keeper("setup", config=unprotected)
    assert ran.code == 2
    assert ran.error == "No hot key is known: configure [signer], or name its address with --keeper."
    named = keeper(f"setup --json --keeper {KEEPER.address}", config=unprotected)
    assert f"Lets {KEEPER.address.lower()} move collateral" in named.document["transactions"][3]["says"]


def test_another_hot_key_than_the_configured_one_is_refused(devnet: Devnet) -> None:
    assert keeper(f"setup --keeper {KEEPER.address}", config=devnet.config).code == 0
    ran = keeper(f"setup --keeper {UNPROTECTED.address}", config=devnet.config)
    assert (ran.code, ran.out) == (2, "")
    assert ran.error == (
        f"--keeper is {UNPROTECTED.address.lower()}, and [signer] signs as {KEEPER.address.lower()}, which the guard "
        "would refuse; leave --keeper out, or name that key's keystore in [signer]."
    )


def test_tokens_that_came_later_enrol_the_wallet_anew(devnet: Devnet) -> None:
    text = devnet.config.read_text()
    wbtc = f'    "{devnet.deployment.tokens["WBTC"]}",  # WBTC\n'
    config = devnet.config.with_name("more.toml")
    config.write_text(text.replace(wbtc, wbtc + f'    "{devnet.deployment.tokens["wstETH"]}",\n', 1))
    assert (
        "it is not among the wallet's enrolled tokens, so it cannot be given; the owner retires the wallet's "
        "enrolment, then `keeper setup` enrols it anew"
    ) in keeper("check", config=config).out
    sent = keeper("setup --send --impersonate --json", config=config).document
    assert [call["says"] for call in sent["transactions"]] == [
        "Takes wallet with its old list of tokens out of the guard for good.",
        "Enrols wallet (may give within its allowances and the caps).",
    ]
    assert keeper("check", config=config).code == 0


def test_check_says_that_everything_is_in_order_and_what_it_looked_at(devnet: Devnet) -> None:
    ran = keeper("check", config=devnet.config)
    assert ran.code == 0
    assert ran.out.endswith("\nIt can protect; 1 warning.\n")
    grades = [line.split()[0] for line in ran.out.partition("\n\n")[0].splitlines()]
    assert grades.count("ok") == len(grades) - 1
    assert grades.count("warning") == 1
    subjects = {finding["subject"] for finding in keeper("check --json", config=devnet.config).document["findings"]}
    assert subjects == {
        "config", "signer", "journal", "daemon", "node", "guard", "library", "morpho", "gas",
        "wallet", "wallet WETH", "wallet WBTC", "cap WETH", "cap WBTC", "cap wstETH",
        *(position.market for position in world.POSITIONS),
        *(f"feed {feed.name}" for feed in world.FEEDS),
    }  # fmt: skip


def test_check_tells_what_is_enrolled_and_not_in_the_file(devnet: Devnet) -> None:
    market = devnet.deployment.markets["WETH/DAI 86%"].id
    config = devnet.config.with_name("fewer.toml")
    config.write_text(re.sub(rf'    "{market}".*\n', "", devnet.config.read_text()))
    assert (
        f"its account number 6 (morpho {market}) is not in the file; add it to [[protocols]], or take it out with "
        "`keeper setup --retire 6`"
    ) in keeper("check", config=config).out


def test_check_shows_what_was_granted_what_it_is_for_and_the_worst_that_a_stolen_key_could_do(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "2250")  # WETH/USDC 86% at 1.098
    ran = keeper("check", config=devnet.config)
    owner, morpho = OWNER.address.lower(), devnet.deployment.morpho.lower()
    assert f"{short(owner)} authorised it on Morpho {short(morpho)}." in ran.out
    assert f"its allowance from {short(owner)} is 2 WETH." in ran.out
    assert "must then end between 1.0400 and 1.4000, and may give down to 1.0200." in ran.out
    assert "of WETH at most 60 WETH may move in any 24 h, 60 WETH of it now." in ran.out
    exposure = keeper("check --json", config=devnet.config).document["exposure"]
    assert [each["left_behind"] for each in exposure["permissions"]] == [False, False, False]
    weth = next(each for each in exposure["stolen_key"] if each["symbol"] == "WETH")
    assert (weth["cap_raw"], weth["window_seconds"]) == (str(60 * 10**18), 86_400)
    assert 0 < int(weth["now_raw"]) < int(weth["displaced_raw"]) < 60 * 10**18
    assert int(weth["now_usd_wad"]) == int(weth["now_raw"]) * 2_250


def test_what_is_retired_leaves_no_permission_behind(devnet: Devnet) -> None:
    token = devnet.deployment.tokens["USDC"]
    approved = encode_call("approve(address,uint256)", devnet.deployment.guard, 2**256 - 1)
    devnet.node.transact(OWNER.address, token, approved)
    says = f"its allowance of USDC from {short(OWNER.address.lower())} is unlimited, and no enrolled account needs it"
    assert says in keeper("check", config=devnet.config).out

    retirement, *revocations = keeper("setup --retire 0 --json", config=devnet.config).document["transactions"]
    assert retirement["says"] == (
        "Takes wallet out of the guard for good. What keeper.toml still names, the next `keeper setup` enrols anew."
    )
    assert [each["says"] for each in revocations] == [
        f"Takes the guard's allowance of {symbol} back." for symbol in ("WETH", "WBTC", "USDC")
    ]
    ran = keeper("setup --retire all --send --impersonate", config=devnet.config)
    assert ran.code == 0
    assert "Takes the guard's authorisation on Morpho back." in ran.out
    assert "What was granted to the guard" in keeper("check", config=devnet.config).out
    assert keeper("check --json", config=devnet.config).document["exposure"]["permissions"] == []
    assert keeper("setup --retire all", config=devnet.config).out.startswith("Nothing is missing")


@pytest.mark.parametrize(
    ("number", "says"),
    [
        ("7", "--retire 7: the guard has no account of that number; `keeper check` lists them."),
        ("wallet", "--retire 'wallet' is neither an account's number in the guard nor `all`."),
    ],
)
def test_what_is_to_be_retired_must_be_there(devnet: Devnet, number: str, says: str) -> None:
    ran = keeper(f"setup --retire {number}", config=devnet.config)
    assert (ran.code, ran.err) == (2, f"keeper: {says}\n")


# status, plan, explain ------------------------------------------------------------------------------------------------


def test_status_shows_the_nearest_to_liquidation_first_in_eighty_columns(devnet: Devnet) -> None:
    ran = keeper("status", config=devnet.config)
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert re.fullmatch(r"owner 0x7099…79c8 on chain 31337, block \d+, \d+ s ago \(.* UTC\)", lines[0])
    assert lines[1].endswith(" active, 0 batches so far")
    assert lines[2] == "daemon: not running; nothing is protected until `keeper run` is started"
    assert lines[4].split() == ["holds", "price"]
    assert lines[5].split() == ["subaccount", "health", "owes", "liq.", "at", "can", "spare", "verdict"]
    assert re.fullmatch(r"WBTC/USDC 86% +1\.2(09|10)\d +1 WBTC +60,000 +nothing watching", lines[6])
    assert re.fullmatch(rf"{short_id(devnet, 'WBTC/USDC 86%')} +owes 42,64\d(\.\d)? USDC 49,58\d(\.\d)?", lines[7])
    assert [line.split("  ")[0] for line in lines[8:18:2]] == [
        "WETH/USDC 86%", "WETH/DAI 77%", "WETH/USDC 77%", "wstETH/WETH 94.5%", "WETH/DAI 86%",
    ]  # fmt: skip
    assert max(map(len, lines[4:20])) <= 80
    assert any(
        re.fullmatch(r"the hot key has [\d.]+ ETH left for gas, enough for [\d,]+ rescues at today's fees", line)
        for line in lines
    )


def test_status_shouts_when_something_can_be_liquidated(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", 2_049)
    out = keeper("status", config=devnet.config).out
    assert f"\nWETH/USDC 86% ({short_id(devnet, 'WETH/USDC 86%')}) CAN BE LIQUIDATED NOW\n" in out
    assert out.count("CAN BE LIQUIDATED NOW") == 1
    needs = re.search(r"WETH/USDC 86% \(.*\) (needs [\d.]+ WETH more to reach its target of 1\.2500)\n", out)
    assert needs is not None

    explained = keeper("explain", "WETH/USDC 86%", config=devnet.config).out
    assert f"\nIt can be liquidated now: repay or deposit at once.\nIt {needs[1]}.\n" in explained
    assert "liquidated now" not in keeper("explain", "WBTC/USDC 86%", config=devnet.config).out

    checked = keeper("check", config=devnet.config)
    assert checked.code == 1
    says = "it can be liquidated now ({}); repay or deposit at once: `keeper explain` says how much it needs\n"
    assert says.format(short_id(devnet, "WETH/USDC 86%")) in checked.out


def test_check_fails_for_who_needs_what_nobody_can_give(devnet: Devnet) -> None:
    approval = encode_call("approve(address,uint256)", devnet.deployment.guard, 0)
    devnet.node.transact(OWNER.address, devnet.deployment.tokens["WBTC"], approval)
    devnet.chain.set_price("WBTC", "-8%")
    ran = keeper("check --json", config=devnet.config)
    assert ran.code == 1
    (found,) = (each for each in ran.document["findings"] if each["subaccount"] == id_of(devnet, "WBTC/USDC 86%"))
    assert found["grade"] == "failure"
    assert found["says"].startswith("unfunded: ")
    assert found["fix"] == "`keeper explain` says how much it needs"


@pytest.mark.parametrize("verb", ["status", "run --once --dry-run"])
@pytest.mark.parametrize("wrong", ["market", "Morpho", "native"])
def test_a_contract_that_is_not_what_the_file_says_is_a_fault_of_the_file(
    devnet: Devnet, wrong: str, verb: str
) -> None:
    text, morpho = devnet.config.read_text(), devnet.deployment.morpho.lower()
    market, weth = devnet.deployment.markets["WETH/USDC 86%"].id, devnet.deployment.tokens["WETH"].lower()
    changed, says = {
        "market": (
            text.replace(market, f"0x{'12' * 32}"),
            f"Morpho at {morpho} has no market 0x{'12' * 32}; correct or remove the id.",
        ),
        "Morpho": (
            re.sub(rf'address = "{morpho}"', f'address = "{weth}"', text, flags=re.IGNORECASE),
            f"{weth} is not Morpho Blue: it knows no idToMarketParams; correct its address.",
        ),
        "native": (
            re.sub(r'(?m)^native = "0x\w+"', f'native = "{OWNER.address}"', text),
            f"The price feed {OWNER.address.lower()} does not say its decimals; it is not a Chainlink-type aggregator.",
        ),
    }[wrong]
    assert changed != text
    path = devnet.config.with_name("wrong.toml")
    path.write_text(changed)
    ran = keeper_process(verb, config=path)
    assert (ran.code, ran.out) == (2, "")
    assert ran.error == says


def test_status_as_json_has_whole_ids_and_exact_amounts(devnet: Devnet) -> None:
    shown = keeper("status --json", config=devnet.config).document
    assert list(shown) == [
        "mode", "quorum_problem", "daemon", "block", "guard", "keeper_balance_wei", "feeds", "second_prices",
        "sequencer_problem", "subaccounts", "not_in_configuration", "wallet_tokens_not_in_configuration", "by_hand",
    ]  # fmt: skip
    assert (shown["mode"], shown["daemon"], shown["by_hand"]) == ("active", None, [])
    account = next(each for each in shown["subaccounts"] if each["label"] == "WETH/USDC 77%")
    assert account["id"] == id_of(devnet, "WETH/USDC 77%")
    assert account["holder"] == OWNER.address.lower()
    assert account["collateral"][0]["amount_raw"] == "50000000000000000000"
    assert int(account["debts"][0]["amount_raw"]) >= 36_000 * 10**6
    assert account["verdict"] == "Healthy"
    assert 2_673_000_000_000_000_000 < int(account["health_wad"]) < 2_674_000_000_000_000_000


def test_a_plan_without_need_says_who_is_nearest_and_exits_0(devnet: Devnet) -> None:
    ran = keeper("plan", config=devnet.config)
    assert ran.code == 0
    assert re.fullmatch(
        rf"At block \d+: nothing to send\. Nearest is WBTC/USDC 86% \({short_id(devnet, 'WBTC/USDC 86%')}\): health "
        r"1\.2(09|10)\d, due below 1\.1500\.\n",
        ran.out,
    )


def test_a_plan_with_something_to_do_exits_3_and_says_what_it_costs(devnet: Devnet) -> None:
    ran = keeper("plan --shock WETH=-8%", config=devnet.config)
    assert ran.code == 3
    lines = ran.out.splitlines()
    assert re.fullmatch(r"At block \d+, assuming WETH -8 %, wstETH -8 %:", lines[0])
    recipient, donor = short_id(devnet, "WETH/USDC 86%"), short_id(devnet, "WETH/DAI 86%")
    assert lines[2] == f"Rescue WETH/USDC 86% ({recipient}): health 1.1222 is below its trigger of 1.1500."
    assert re.fullmatch(
        r"  Why now: prices move 5 % a day, so the chance that it is liquidated reaches 1 % within 1\d h, after the "
        r"rescue within \d d\.",
        lines[3],
    )
    assert re.fullmatch(rf"  Move 2\.27\d* WETH from WETH/DAI 86% \({donor}\)\.", lines[4])
    assert lines[5].startswith(
        "  It goes 1.1222 → 1.2500 (1.1250 after its shock); the guard lets it happen only if it"
    )
    others = [line for line in lines if line.startswith("  Not from ")]
    assert (
        f"  Not from WETH/DAI 77% ({short_id(devnet, 'WETH/DAI 77%')}): it has nothing to spare above its floor."
        in others
    )
    assert (
        "  Not from wallet: it could give 2 WETH, and that alone is not enough: a second transfer would cost more gas."
        in others
    )
    assert re.fullmatch(r"One routine batch of about 235,000 gas at [0-9.]+ gwei, \$[0-9.]+\.", lines[-1])

    as_json = keeper("plan --shock WETH=-8% --json", config=devnet.config)
    assert as_json.code == 3
    (rescue,) = as_json.document["rescues"]
    assert rescue["recipient"] == id_of(devnet, "WETH/USDC 86%")
    assert rescue["transfers"][0]["donor"] == id_of(devnet, "WETH/DAI 86%")
    assert as_json.document["assumed_changes_bps"] == {"wstETH": -800, "WETH": -800}
    assert as_json.document["gas"]["estimated"] == 235_000


def test_a_plan_at_another_price_of_gas_may_not_be_worth_it(devnet: Devnet) -> None:
    """235,000 gas at 9000 gwei are 2.115 ETH, $4,864 at the price after the fall."""
    ran = keeper("plan --shock WETH=-8% --gas 9000gwei", config=devnet.config)
    assert ran.code == 0
    assert re.search(r"WETH/USDC 86% \(.*\): uneconomic: costs \$4,864, is expected to save \$", ran.out)
    dear = keeper("plan --shock WETH=-12% --gas 30gwei --json", config=devnet.config).document
    assert dear["gas"]["price_wei"] == "30000000000"
    too_dear = keeper("plan --shock WETH=-12% --gas 3000gwei", config=devnet.config).out
    assert re.search(
        r" gas at 3,000 gwei, \$.* That is above its fee ceiling of \d+(\.\d+)? gwei, by \[fees\]\.", too_dear
    )
    wrong = keeper("plan --gas 30", config=devnet.config)
    assert (wrong.code, wrong.error.partition(":")[0]) == (2, "--gas '30'")


# what-if --------------------------------------------------------------------------------------------------------------


def test_what_if_tells_who_lives_with_and_without_the_keeper_and_draws_it(devnet: Devnet, tmp_path: Path) -> None:
    picture = tmp_path / "frontier.png"
    ran = keeper("what-if --grid WETH=-30%..0%:10% --plot", picture, config=devnet.config)
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert re.fullmatch(
        r"From block \d+ on, WETH -30 %, wstETH -30 % in 3 steps; liquidators strike at each step before .*\.",
        lines[0],
    )
    assert re.fullmatch(r"-20 %   1\.\d{4}  1\.2\d{3}  without: WETH/USDC 86% liquidated", lines[6])
    name = f"WETH/USDC 86% ({short_id(devnet, 'WETH/USDC 86%')})"
    found = re.search(r"is the first to be liquidated, at WETH -(18\.\d+) %, wstETH -\1 %\.", ran.out)
    assert found, ran.out
    assert f"Without a keeper {name} is the first" in ran.out
    assert "With it nobody is liquidated." in ran.out
    assert re.search(r"Liquidations take \$3,\d\d\d without, \$0\.00 with it\.", ran.out)
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_who_could_be_liquidated_already_dies_at_todays_prices(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "-20%")
    out = keeper("what-if --grid WETH=0%..-1%:1%", config=devnet.config).out
    name = f"WETH/USDC 86% ({short_id(devnet, 'WETH/USDC 86%')})"
    assert f"Without a keeper {name} is the first to be liquidated, at today's prices." in out
    assert f"With it {name} is liquidated at today's prices." in out


def test_what_if_as_json(devnet: Devnet) -> None:
    document = keeper("what-if --grid WETH=0%..-20%:20% --json", config=devnet.config).document
    first = document["first_liquidation_without_keeper"]
    assert first["subaccount"] == id_of(devnet, "WETH/USDC 86%")
    assert -1_810 < first["changes_bps"]["WETH"] < -1_790
    today, fallen = document["steps"]
    assert today["with_keeper"] == today["without_keeper"]
    # In one step it falls through its whole cushion, and no keeper is that quick.
    assert [each["subaccount"] for each in fallen["with_keeper"]["liquidated"]] == [id_of(devnet, "WETH/USDC 86%")]
    assert id_of(devnet, "WETH/USDC 86%") not in fallen["with_keeper"]["healths_wad"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            "--grid UNI=-8%..0%:8%",
            "--grid names UNI, which no account here holds or owes; there are DAI, USDC, WBTC, WETH, wstETH.",
        ),
        ("--grid WETH=-8%..0%:8% --plot picture.svg", "--plot picture.svg is no .png file."),
        ("--grid WETH=-8%..0%:8% --plot nowhere/f.png", "nowhere/f.png cannot be written: No such file or directory."),
    ],
)
def test_what_cannot_be_asked_or_drawn_is_refused(devnet: Devnet, arguments: str, says: str) -> None:
    ran = keeper(f"what-if {arguments}", config=devnet.config)
    assert (ran.code, ran.error) == (2, says)


def test_a_shock_of_what_is_not_held_is_refused(devnet: Devnet) -> None:
    ran = keeper("plan --shock UNI=-8%", config=devnet.config)
    assert ran.code == 2
    assert ran.error == f"--shock {UNI_IS_NOT_HELD}"


@pytest.mark.parametrize("how", ["whole", "short", "beginning", "label", "id"])
def test_a_subaccount_is_explained_by_any_of_its_names(devnet: Devnet, how: str) -> None:
    whole = id_of(devnet, "WBTC/USDC 86%")
    name = {
        "whole": "WBTC/USDC 86%",
        "short": short_id(devnet, "WBTC/USDC 86%"),
        "beginning": whole[:14],
        "label": "wbtc",
        "id": whole,
    }[how]
    ran = keeper("explain", name, config=devnet.config)
    assert ran.code == 0, ran.err
    assert ran.out.startswith(f"WBTC/USDC 86% ({short_id(devnet, 'WBTC/USDC 86%')}) at block ")


def test_an_explanation_goes_number_by_number(devnet: Devnet) -> None:
    market = "WETH/USDC 86%"
    out = keeper("explain", market, config=devnet.config).out
    # Interest has run since the chain's state was made.
    for pattern in (
        r"It owes 35,25\d(\.\d)? USDC, interest to this block included\.",
        r"Collateral that counts 43,000 USDC / debt 35,25\d(\.\d)? USDC = health 1\.2198\.",
        r"It is liquidated when WETH falls below 2,049\.\d+ USDC\.",
        r"before its hard floor 3\.27\d* WETH, before the protocol refuses (3\.6\d*) WETH, .* liquidated \1 WETH\.",
        r"read at block \d+ \(0x[0-9a-f]{64}\):",
    ):
        assert re.search(pattern, out), out
    for sentence in (
        "It holds 20 WETH, at 2,500 USDC each, of which 86 % counts.",
        f"  collateral and debt shares: {devnet.deployment.morpho.lower()} position({id_of(devnet, market)[7:]}, ",
        f"  price: {devnet.deployment.markets[market].oracle.lower()} price()",
        "It survives a fall of 18.02 % and is tested against 10 %: a cushion of 1.80",
        "due for a rescue below 1.1500, brought to 1.2500, gives down to 1.3000",
        f"  ETH/USD ({devnet.deployment.feeds['ETH/USD']}) answers 2,500, ",
        "thresholds: all from the configuration",
        "verdict: watching: 1.2198 at inclusion is between its trigger of 1.1500 and its target of 1.2500",
        "Prices move 5 % a day (half of its shock, as not every feed behind it was measured): the chance of a liquida",
        "A transaction takes about 1 s ([chain] inclusion_blocks, ",
    ):
        assert sentence in out


def test_an_explanation_as_json(devnet: Devnet) -> None:
    document = keeper("explain wallet --json", config=devnet.config).document
    assert document["id"] == "wallet"
    assert document["debts"] == []
    assert [line["amount_raw"] for line in document["collateral"]] == ["2000000000000000000", "30000000"]
    assert [source["function"].partition("(")[0] for source in document["sources"]] == 2 * ["balanceOf"] + 2 * [
        "allowance"
    ]


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("WETH/USDC", r"'WETH/USDC' could be WETH/USDC 86% \(.*\) or WETH/USDC 77% \(.*\); write more of it\."),
        ("aave", r"No subaccount is called 'aave'; there are WETH/USDC 86% \(.*, wallet\."),
    ],
)
def test_who_is_to_be_explained_must_be_clear(devnet: Devnet, name: str, says: str) -> None:
    ran = keeper("explain", name, config=devnet.config)
    assert ran.code == 2
    assert re.fullmatch(says, ran.error)


# run --once, journal, pause, resume -----------------------------------------------------------------------------------


def test_one_cycle_rescues_and_the_journal_tells_it(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "-8%")
    dry = keeper_process("run --once --dry-run --json", config=devnet.config)
    assert dry.code == 0
    assert dry.document["outcome"] == "dry run: proven by simulation, neither signed nor sent"

    ran = keeper_process("run --once --json", config=devnet.config)
    assert ran.code == 0, ran.err
    assert ran.document["failed"] is False
    hash = re.fullmatch(r"included in block \d+ as (0x[0-9a-f]{64})", ran.document["outcome"])
    assert hash is not None

    events = keeper("journal --json", config=devnet.config).document
    told = [event["kind"] for event in events if event["kind"] in ("plan", "intent", "outcome")]
    assert told == ["plan", *["intent"] * (len(told) - 2), "outcome"]
    assert len(told) > 2
    assert any(hash[1] in event["sentence"] for event in events)
    text = keeper("journal --since 1h", config=devnet.config).out
    assert re.search(
        rf"outcome  {short_id(devnet, 'WETH/USDC 86%')} +WETH/USDC 86% was rescued: health 1\.1\d+ → 1\.2\d+\n", text
    )
    assert id_of(devnet, "WETH/USDC 86%") not in text
    assert keeper("plan", config=devnet.config).code == 0


def test_a_pause_holds_without_a_daemon(devnet: Devnet) -> None:
    ran = keeper("pause", config=devnet.config)
    assert (ran.code, ran.out) == (0, f"Nothing is sent any more; {NO_DAEMON}. `keeper resume` undoes it.\n")
    assert "MODE: PAUSED; `keeper resume` undoes it\n" in keeper("status", config=devnet.config).out
    devnet.chain.set_price("WETH", "-8%")
    shown = keeper("status", config=devnet.config).out
    assert "): blocked: the keeper is paused (`keeper resume` undoes it)\n" in shown
    assert keeper("plan", config=devnet.config).out.endswith(
        "The keeper is paused: nothing of this is sent until `keeper resume`.\n"
    )
    once = keeper_process("run --once", config=devnet.config)
    assert once.code == 1
    assert once.out.endswith(": nothing could be sent.\n")

    resumed = keeper("resume", config=devnet.config)
    assert (resumed.code, resumed.out) == (0, f"It was paused and is active again; {NO_DAEMON}.\n")
    assert keeper_process("run --once", config=devnet.config).code == 0


def test_protect_only_keeps_the_debt_free_donors(devnet: Devnet) -> None:
    keeper("pause --protect-only", config=devnet.config)
    document = keeper("plan --shock WETH=-12% --json", config=devnet.config).document
    assert document["mode"] == "protect-only"
    donors = {transfer["donor"] for rescue in document["rescues"] for transfer in rescue["transfers"]}
    assert donors == {"wallet", id_of(devnet, "WETH/DAI 86%")}
    says = "\nMODE: PROTECT-ONLY, only debt-free donors give; `keeper resume` undoes it\n"
    for verb in ("status", "plan", "plan --shock WETH=-12%", "explain wallet", "what-if --grid WETH=0%..-1%:1%"):
        assert says in keeper(verb, config=devnet.config).out, verb
    assert keeper("explain wallet --json", config=devnet.config).document["mode"] == "protect-only"
    devnet.chain.set_price("WETH", "-8%")
    once = keeper_process("run --once --dry-run", config=devnet.config)
    assert says in once.out
    once = keeper_process("run --once --dry-run --json", config=devnet.config)
    assert (once.document["mode"], once.document["quorum_problem"]) == ("protect-only", None)
    assert keeper("resume --json", config=devnet.config).document == {
        "mode": "active",
        "was": "protect-only",
        "guard_paused": False,
    }


def test_resuming_what_was_not_paused_is_no_fault(devnet: Devnet) -> None:
    ran = keeper("resume", config=devnet.config)
    assert (ran.code, ran.out) == (0, "It was not paused, so nothing changes.\n")


def test_the_guard_itself_is_paused_with_the_hot_key(devnet: Devnet) -> None:
    ran = keeper_process("pause --onchain --json", config=devnet.config)
    assert ran.code == 0, ran.err
    hash = ran.document["onchain_transaction"]
    receipt = devnet.node.receipt(hash)
    assert receipt is not None
    assert receipt.success
    resumed = keeper("resume", config=devnet.config)
    assert resumed.code == 1
    assert (
        "The guard itself is still paused, so nothing can move: the owner sends `keeper setup --unpause`."
        in resumed.out
    )
    assert " PAUSED on-chain, only the owner can unpause it, " in keeper("status", config=devnet.config).out
    checked = keeper("check", config=devnet.config)
    assert checked.code == 1
    assert "it is paused; the owner sends unpause (`keeper setup --unpause`)\n" in checked.out
    planned = keeper("setup", config=devnet.config)
    assert planned.out.startswith("Nothing is missing")
    says = "The guard is paused, so nothing can move: `keeper setup --unpause` adds the transaction that ends it.\n"
    assert planned.out.endswith(says)
    assert keeper("setup --form cast", config=devnet.config).out == f"# Nothing is missing.\n# {says}"
    assert keeper("setup --form safe", config=devnet.config).document["meta"]["description"] == says.rstrip()
    assert keeper("setup --json", config=devnet.config).document["guard_paused"] is True
    assert "The guard is paused" not in keeper("setup --unpause", config=devnet.config).out
    assert keeper("setup --unpause --send --impersonate", config=devnet.config).code == 0
    assert keeper("check", config=devnet.config).code == 0


def test_a_decision_is_made_again_from_the_journal_alone(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "-12%")
    assert keeper_process("run --once", config=devnet.config).code == 0
    ran = keeper("journal replay last", config=devnet.config)
    assert ran.code == 0, ran.out
    assert ran.out.startswith("Decided at block ")
    assert ran.out.endswith("The same plan, bit for bit.\n")
    assert f"Rescue WETH/USDC 86% ({short_id(devnet, 'WETH/USDC 86%')}): health 1.0734 is below its critical" in ran.out
    document = keeper("journal replay last --json", config=devnet.config).document
    assert document["same"] is True
    before = keeper("journal", "--json", "--config", devnet.config, "replay", "last")
    assert (before.code, before.document) == (0, document)
    assert document["recorded"] == document["again"]
    missing = keeper("journal replay 0x99", config=devnet.config)
    assert (missing.code, missing.error) == (
        1,
        "The journal holds no plan 0x99; `keeper journal` lists those that it holds.",
    )


@pytest.mark.parametrize(
    ("changed", "code", "says"),
    [
        ("no rescue", 1, "A different plan, in 1 place:\n  the rescues: of morpho:"),
        ("other amount", 1, "A different plan, in 1 place:\n  how morpho:"),
        ("other notes", 1, "A different plan, in 1 place:\n  the notes; `--json` has both"),
    ],
)
def test_a_decision_that_comes_out_differently_is_told(devnet: Devnet, changed: str, code: int, says: str) -> None:
    """As after an update that decides otherwise: here the record itself is another."""
    devnet.chain.set_price("WETH", "-12%")
    assert keeper_process("run --once", config=devnet.config).code == 0
    journal = load_config(devnet.config).journal.path
    with closing(sqlite3.connect(journal)) as connection, connection:
        (recorded,) = connection.execute("SELECT plan FROM plans").fetchone()
        plan = json.loads(recorded)
        match changed:
            case "no rescue":
                del plan["rescues"][0]
            case "other amount":
                plan["rescues"][0]["transfers"][0]["amount_raw"] = "1"
            case _:
                plan["notes"] = ["a price is missing"]
        connection.execute("UPDATE plans SET plan = ?", (json.dumps(plan),))
    ran = keeper("journal replay last", config=devnet.config)
    assert ran.code == code
    assert says in ran.out
    assert "bit for bit" not in ran.out
    assert keeper("journal replay last --json", config=devnet.config).document["same"] is False


def test_a_rescue_that_its_own_trial_refused_is_no_other_decision(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "-12%")
    assert keeper_process("run --once", config=devnet.config).code == 0
    with closing(sqlite3.connect(load_config(devnet.config).journal.path)) as connection, connection:
        (recorded,) = connection.execute("SELECT plan FROM plans").fetchone()
        plan = {**json.loads(recorded), "before_trial": json.loads(recorded)}
        recipient = plan["rescues"].pop(0)["recipient"]
        plan["verdicts"][recipient] = {"verdict": "Blocked", "reason": "blocked: its oracle reverts"}
        connection.execute("UPDATE plans SET plan = ?", (json.dumps(plan),))
    ran = keeper("journal replay last", config=devnet.config)
    assert ran.code == 0
    assert "was left out by the plan's own trial: blocked: its oracle reverts" in ran.out
    assert ran.out.endswith("The same plan, bit for bit.\n")
    document = keeper("journal replay last --json", config=devnet.config).document
    assert document["refused_in_trial"] == {recipient: "blocked: its oracle reverts"}


def test_the_journal_is_followed_until_it_is_interrupted(devnet: Devnet) -> None:
    devnet.chain.set_price("WETH", "-8%")
    assert keeper_process("run --once --dry-run", config=devnet.config).code == 0
    command = [str(Path(sys.executable).with_name("keeper")), "journal", "--follow", "--json", "--config"]
    with subprocess.Popen([*command, str(devnet.config)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as follower:
        assert follower.stdout is not None
        assert follower.stderr is not None
        seen: list[dict[str, object]] = []
        while not any(event["sentence"] == "rescue" for event in seen):
            seen.append(json.loads(follower.stdout.readline()))
        assert keeper("pause", config=devnet.config).code == 0
        assert keeper_process("run --once", config=devnet.config).code == 1
        while not str(seen[-1]["sentence"]).startswith("blocked: the keeper is paused"):
            seen.append(json.loads(follower.stdout.readline()))
        follower.send_signal(signal.SIGINT)
        assert follower.stdout.read() == b"", "nothing but the lines"
        assert follower.stderr.read() == b""
        assert follower.wait(30) == 0
    assert [event["id"] for event in seen] == list(range(1, len(seen) + 1))
