"""What can go wrong around a keeper: each a clear sentence, the right exit code, and nothing lost."""

import json
import os
import re
import signal
import time
import urllib.request
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from eth_keyfile.keyfile import create_keyfile_json

from keeper.core.intent import State
from keeper.journal_reader import open_reader
from keeper.protocols.abi import interface
from scripts.localchain import anvil, daemon
from scripts.localchain.abi import encode_call
from scripts.localchain.daemon import Daemon, DaemonError
from scripts.localchain.devnet import Devnet
from scripts.localchain.world import DEPLOYER, KEEPER, OWNER, STRANGER, UNPROTECTED
from tests.commands.shell import Ran, keeper, keeper_process

pytestmark = pytest.mark.devnet

REVERT = bytes.fromhex("60006000fd")
DEADLINE_SECONDS = 120
HASH = "0x[0-9a-f]{64}"


@pytest.fixture(autouse=True)
def a_block_of_now(devnet: Devnet) -> None:
    """A chain that is put back stays behind by as much, and a node whose newest block is old is a fault of its own."""
    devnet.node.set_next_timestamp(max(int(time.time()), devnet.node.timestamp() + 1))
    devnet.node.mine()


def edited(devnet: Devnet, *changes: tuple[str, str]) -> Path:
    """keeper.toml with these texts replaced, beside the original."""
    text = devnet.config.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = devnet.folder / "edited.toml"
    path.write_text(text)
    return path


def failures(config: Path) -> dict[str, str]:
    """What `check` calls a failure: subject and sentence, the fix behind it. It exits 1 when there is one, else 0."""
    ran = keeper("check --json", config=config)
    found = {
        each["subject"]: f"{each['says']}; {each['fix']}" if each["fix"] else each["says"]
        for each in ran.document["findings"]
        if each["grade"] == "failure"
    }
    assert ran.code == (1 if found else 0)
    assert ran.document["ok"] is not bool(found)
    return found


def short_id(devnet: Devnet, market: str) -> str:
    id = devnet.deployment.markets[market].id
    return f"morpho:{id[:6]}…{id[-4:]}"


def assert_says(ran: Ran, code: int, says: str) -> None:
    """One sentence on standard error, the same as JSON when that was asked for, and no traceback."""
    assert "Traceback" not in ran.err
    assert (ran.code, ran.error) == (code, says)
    if ran.out:
        assert ran.document == {"error": says}


# The chain is not what the file says ----------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["status", "plan", "explain wallet", "setup", "run --once", "run"])
def test_the_wrong_chain(devnet: Devnet, verb: str) -> None:
    config = edited(devnet, ("chain_id = 31337", "chain_id = 1"))
    ran = (keeper_process if verb.startswith("run") else keeper)(f"{verb} --json", config=config)
    assert_says(
        ran,
        2,
        f"{devnet.url} is a node of chain 31337 and the configuration says 1; correct [chain] rpc_url or chain_id.",
    )


def test_check_names_the_wrong_chain(devnet: Devnet) -> None:
    config = edited(devnet, ("chain_id = 31337", "chain_id = 1"))
    assert failures(config)["node"].startswith(f"{devnet.url} is a node of chain 31337 and ")


def test_no_code_where_morpho_should_be(devnet: Devnet) -> None:
    address = STRANGER.address.lower()
    config = edited(devnet, (f'address = "{devnet.deployment.morpho}"', f'address = "{address}"'))
    assert_says(
        keeper("status --json", config=config),
        2,
        f"{address} is not Morpho Blue: it knows no idToMarketParams; correct its address.",
    )
    assert failures(config) == {
        "positions": f"{address} is not Morpho Blue: it knows no idToMarketParams; correct its address"
    }


def test_no_code_where_a_token_should_be(devnet: Devnet) -> None:
    config = edited(devnet, (f'    "{devnet.deployment.tokens["WBTC"]}",', f'    "{STRANGER.address.lower()}",'))
    ran = keeper("status", config=config)
    assert ran.code == 2
    assert STRANGER.address.lower() in ran.error
    assert "positions" in failures(config)


def test_no_code_where_a_feed_should_be(devnet: Devnet) -> None:
    config = edited(devnet, (f'native = "{devnet.deployment.feeds["ETH/USD"]}"', f'native = "{STRANGER.address}"'))
    assert_says(
        keeper("status", config=config),
        2,
        f"The price feed {STRANGER.address.lower()} does not say its decimals; it is not a Chainlink-type aggregator.",
    )


def test_a_market_that_does_not_exist(devnet: Devnet) -> None:
    market = devnet.deployment.markets["WETH/DAI 86%"].id
    config = edited(devnet, (market, "0x" + "ab" * 32))
    ran = keeper("status", config=config)
    assert ran.code == 2
    assert ran.error == (
        f"Morpho at {devnet.deployment.morpho.lower()} has no market 0x{'ab' * 32}; correct or remove the id."
    )


def test_no_code_where_the_guard_should_be(devnet: Devnet) -> None:
    config = edited(devnet, (f'address = "{devnet.deployment.guard}"', f'address = "{STRANGER.address}"'))
    stranger, guard = STRANGER.address.lower(), devnet.deployment.guard.lower()
    assert failures(config)["guard"] == (
        f"there is no code at {stranger}; correct [guard] address, or leave it out: `keeper setup` deploys it at "
        + guard
    )
    assert_says(
        keeper("setup", config=config),
        2,
        f"There is nothing at [guard] address {stranger}; leave it out to have the guard at {guard}.",
    )
    shown = keeper("status", config=config)
    assert shown.code == 0
    assert f"NO GUARD: there is no guard at {stranger}; `keeper setup` deploys it; nothing is protected\n" in shown.out


def test_the_guard_of_another_owner(devnet: Devnet) -> None:
    config = edited(devnet, (f'owner = "{OWNER.address}"', f'owner = "{UNPROTECTED.address}"'))
    says = (
        f"the guard at {devnet.deployment.guard.lower()} belongs to {OWNER.address.lower()}, not to "
        f"{UNPROTECTED.address.lower()}; correct its address"
    )
    assert failures(config)["guard"] == says
    assert_says(keeper_process("run --once", config=config), 2, f"T{says[1:]}; `keeper check` says more.")
    assert_says(keeper("setup --json", config=config), 2, f"T{says[1:]}.")


def test_a_guard_whose_code_is_another(devnet: Devnet) -> None:
    guard = devnet.deployment.guard
    # Behaves as the guard does, and is not what was compiled: somebody's guard with something added.
    devnet.node.set_code(guard, devnet.node.code(guard) + b"\x00")
    found = failures(devnet.config)
    assert re.fullmatch(
        rf"the code at {guard.lower()} \(hash {HASH}\) is not this keeper's guard for {OWNER.address.lower()} "
        rf"\({HASH}\); give it no permission, take back those that it has, and correct \[guard\]",
        found["guard"],
    )
    says = f"The code at {guard.lower()} is not the guard that this keeper was built with; "
    assert_says(keeper_process("run", config=devnet.config), 2, f"{says}`keeper check` says more.")
    assert_says(keeper("setup", config=devnet.config), 2, f"{says}give it no permission, and correct [guard] address.")


# Permissions ----------------------------------------------------------------------------------------------------------


def test_a_missing_authorisation_is_told_and_asked_for(devnet: Devnet) -> None:
    devnet.chain.send(OWNER, devnet.deployment.morpho, "setAuthorization(address,bool)", devnet.deployment.guard, False)
    found = failures(devnet.config)
    assert set(found) == set(devnet.deployment.markets)
    assert found["WETH/USDC 77%"] == (
        "it cannot give: the guard is not authorised on Morpho; the owner has to send setAuthorization(guard, true) "
        f"({short_id(devnet, 'WETH/USDC 77%')}); `keeper setup` asks for what is missing"
    )
    (call,) = keeper("setup --json", config=devnet.config).document["transactions"]
    assert call["to"] == devnet.deployment.morpho.lower()
    # The wallet can still give what it holds: 2 WETH of the 3.3 that would be needed.
    document = keeper("plan --shock WETH=-8% --json", config=devnet.config).document
    assert [transfer["donor"] for rescue in document["rescues"] for transfer in rescue["transfers"]] in (["wallet"], [])


def test_an_allowance_that_ran_out_is_told_and_asked_for(devnet: Devnet) -> None:
    devnet.chain.send(OWNER, devnet.deployment.tokens["WETH"], "approve(address,uint256)", devnet.deployment.guard, 0)
    assert failures(devnet.config) == {
        "wallet WETH": "none of 2 WETH may be taken: the allowance is missing or has run out; "
        "`keeper setup --allowance WETH=AMOUNT` renews it"
    }
    (call,) = keeper("setup --json", config=devnet.config).document["transactions"]
    assert call["says"] == "Lets the guard take at most 2 WETH from the wallet, into the enrolled accounts only."
    assert "wallet: the guard may take 0 of 2 WETH" in keeper("status", config=devnet.config).out


def test_a_cap_that_is_used_up_is_told(devnet: Devnet) -> None:
    devnet.chain.send(
        OWNER,
        devnet.deployment.guard,
        "setCaps((address,uint128,uint32)[])",
        [(devnet.deployment.tokens["WETH"], 0, 60)],
    )
    assert failures(devnet.config) == {
        "cap WETH": "nothing may move: no cap is set, or it is used up; `keeper setup --cap WETH=AMOUNT/1d` sets one; "
        "a used one comes back with its window"
    }
    devnet.chain.set_price("WETH", "-8%")
    ran = keeper_process("run --once", config=devnet.config)
    assert ran.code == 1
    assert (
        "): blocked: the guard's cap for WETH is used up in this window; wait, or let the owner raise it\n" in ran.out
    )


def test_a_guard_with_another_keeper_is_told(devnet: Devnet) -> None:
    devnet.chain.send(OWNER, devnet.deployment.guard, "setKeeper(address)", STRANGER.address)
    assert failures(devnet.config) == {
        "guard": f"its keeper is {STRANGER.address.lower()} and the hot key here is {KEEPER.address.lower()}; the "
        "owner sends setKeeper (`keeper setup`), or another keystore is configured"
    }
    devnet.chain.set_price("WETH", "-8%")
    ran = keeper_process("run --once", config=devnet.config)
    assert ran.code == 1
    assert f"blocked: the guard's keeper is {STRANGER.address.lower()}, not this hot key" in ran.out


# The hot key ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def keystore_of_somebody(devnet: Devnet) -> Generator[None]:
    """The keystore's password is no longer the one in the file."""
    path = devnet.folder / "keystore.json"
    before = path.read_text()
    path.write_text(json.dumps(create_keyfile_json(bytes.fromhex(KEEPER.key[2:]), b"another", iterations=1024)))
    yield
    path.write_text(before)


@pytest.mark.usefixtures("keystore_of_somebody")
def test_a_wrong_keystore_password(devnet: Devnet) -> None:
    path = devnet.folder / "keystore.json"
    says = f"The password does not open the keystore {path}; correct [signer] password."
    assert failures(devnet.config) == {"signer": says}
    assert_says(keeper_process("run --json", config=devnet.config), 2, says)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        (
            'password = "file:password"',
            'password = "env:KEEPER_SECRET"',
            "The secret env:KEEPER_SECRET is missing: set the environment variable KEEPER_SECRET.",
        ),
        (
            'password = "file:password"',
            'password = "file:nowhere"',
            "The secret file:nowhere is missing: FOLDER/nowhere says No such file or directory.",
        ),
    ],
)
def test_a_missing_secret(devnet: Devnet, old: str, new: str, says: str) -> None:
    config = edited(devnet, (old, new))
    says = says.replace("FOLDER", str(devnet.folder))
    assert failures(config) == {"signer": says}
    assert_says(keeper_process("run --once", config=config), 2, says)
    assert keeper("status", config=config).code == 0, "looking takes no key"


def test_a_missing_keystore(devnet: Devnet) -> None:
    config = edited(devnet, ('keystore = "keystore.json"', 'keystore = "nowhere.json"'))
    says = f"The keystore {devnet.folder / 'nowhere.json'} cannot be read: No such file or directory; correct "
    assert_says(keeper("status", config=config), 2, f"{says}[signer] keystore.")
    assert failures(config)["signer"] == f"{says}[signer] keystore."


def test_a_hot_key_without_gas(devnet: Devnet) -> None:
    devnet.node.set_balance(KEEPER.address, 0)
    assert failures(devnet.config) == {
        "gas": "the hot key has 0 ETH left for gas, enough for 0 rescues at today's fees; send it some"
    }
    devnet.chain.set_price("WETH", "-8%")
    ran = keeper_process("run --once", config=devnet.config)
    assert ran.code == 1
    says = f"blocked: the hot key {KEEPER.address.lower()} has nothing to pay gas with; send it some\n"
    assert says in ran.out
    assert '"alarm": "gas_low"' in ran.err


# The node -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["status", "plan", "explain wallet", "setup", "run --once"])
def test_a_node_that_is_down_at_the_start(devnet: Devnet, verb: str) -> None:
    config = edited(devnet, (f"http://127.0.0.1:{devnet.process.port}", "http://127.0.0.1:1"))
    ran = (keeper_process if verb.startswith("run") else keeper)(f"{verb} --json", config=config)
    assert ran.code == 1
    assert re.match(r"http://127\.0\.0\.1:1 (cannot be reached|did not answer|is not reachable)", ran.error), ran.error
    assert ran.document == {"error": ran.error}


def test_check_and_init_tell_a_node_that_is_down(devnet: Devnet, tmp_path: Path) -> None:
    config = edited(devnet, (f"http://127.0.0.1:{devnet.process.port}", "http://127.0.0.1:1"))
    assert list(failures(config)) == ["node"]
    ran = keeper(f"init --owner {OWNER.address} --rpc-url http://127.0.0.1:1 --discover --output", tmp_path / "k.toml")
    assert ran.code == 1
    assert "127.0.0.1:1" in ran.error


# Prices ---------------------------------------------------------------------------------------------------------------


def test_a_reverting_oracle_leaves_the_others_protected_and_its_owner_with_a_way_out(devnet: Devnet) -> None:
    market = devnet.deployment.markets["WETH/DAI 77%"]
    devnet.node.set_code(market.oracle, REVERT)
    devnet.chain.set_price("WETH", "-8%")

    shown = keeper("status --json", config=devnet.config).document
    verdicts = {each["label"]: each["verdict"] for each in shown["subaccounts"]}
    assert verdicts["WETH/DAI 77%"] == "Unknown"
    assert verdicts["WETH/USDC 86%"] == "Rescue"
    text = keeper("status", config=devnet.config).out
    assert text.splitlines()[6].startswith("WETH/DAI 77%")
    assert f"WETH/DAI 77% ({short_id(devnet, 'WETH/DAI 77%')}): unknown: oracle " in text

    ran = keeper_process("run --once", config=devnet.config)
    assert ran.code == 0, ran.err
    assert re.search(rf"included in block \d+ as {HASH}\.\n", ran.out)
    assert "says what its owner can do." in ran.err

    explained = keeper("explain", "WETH/DAI 77%", config=devnet.config).out
    assert (
        "Its owner can make it safer by hand, which asks no oracle: supply 2 WETH (which the wallet holds)" in explained
    )
    assert explained.count("cast send --rpc-url $ETH_RPC_URL --from") == 2
    (by_hand,) = keeper("status --json", config=devnet.config).document["by_hand"]
    assert by_hand["subaccount"] == f"morpho:{market.id}"
    for call in by_hand["transactions"]:
        devnet.node.transact(OWNER.address, call["to"], bytes.fromhex(call["data"][2:]))
    position = interface("Morpho")["position"].encode(bytes.fromhex(market.id[2:]), OWNER.address)
    collateral = int.from_bytes(devnet.node.call(devnet.deployment.morpho, position)[64:96])
    assert collateral == 18 * 10**18


def test_a_stale_feed_means_that_only_debt_free_donors_give(devnet: Devnet) -> None:
    two_days_ago = devnet.node.timestamp() - 2 * 86_400
    devnet.chain.set_round("WETH", 2_200 * 10**8, two_days_ago)
    found = failures(devnet.config)
    assert found["feed ETH/USD"] == "2,200, 2 d old; its heartbeat is 24 h"
    assert found["WETH/USDC 77%"].endswith("until its feed answers, only debt-free donors give")
    assert "older than their heartbeat: ETH/USD 2 d\n" in keeper("status", config=devnet.config).out
    document = keeper("plan --json", config=devnet.config).document
    donors = {transfer["donor"] for rescue in document["rescues"] for transfer in rescue["transfers"]}
    assert donors
    assert donors <= {"wallet", f"morpho:{devnet.deployment.markets['WETH/DAI 86%'].id}"}


def test_a_feed_that_answers_nonsense_is_unknown_never_healthy(devnet: Devnet) -> None:
    devnet.chain.set_round("WBTC", 0, devnet.node.timestamp())
    found = failures(devnet.config)
    assert found["feed BTC/USD"] == "it answers 0"
    assert found["WBTC/USDC 86%"].startswith("it cannot be read: ")


# The daemon -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def running(devnet: Devnet) -> Generator[Daemon]:
    """`keeper run` on a chain with a block every second."""
    devnet.node.set_interval_mining(1)
    started = daemon.start(devnet.config)
    try:
        started.wait_until_ready(lambda: time.sleep(0.02))
        yield started
    finally:
        started.kill()


def until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not happen within {DEADLINE_SECONDS} s"
        time.sleep(0.02)


def alarms(of: Daemon) -> list[dict[str, str]]:
    lines = (json.loads(line) for line in of.log.read_text().splitlines() if line.startswith("{"))
    return [line for line in lines if "alarm" in line]


def has_alarmed(of: Daemon, name: str) -> bool:
    return any(alarm["alarm"] == name for alarm in alarms(of))


def is_ready(of: Daemon) -> bool:
    return says_yes(of, "readyz")


def says_yes(of: Daemon, endpoint: str) -> bool:
    try:
        with urllib.request.urlopen(f"{of.health_url}/{endpoint}", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def has_ended(of: Daemon) -> bool:
    try:
        of.check()
    except DaemonError:
        return True
    return False


def sequence(devnet: Devnet) -> int:
    """How many batches ever took effect, by the guard itself."""
    return int.from_bytes(devnet.node.call(devnet.deployment.guard, interface("MarginGuard")["lastSequence"].encode()))


def test_the_verbs_reach_a_running_daemon(devnet: Devnet, running: Daemon) -> None:
    shown = keeper("status --json", config=devnet.config).document
    assert shown["daemon"]["dry_run"] is False
    assert keeper("check", config=devnet.config).out.endswith("\nEverything is in order.\n")

    paused = keeper("pause", config=devnet.config)
    assert paused.out == "Nothing is sent any more; the daemon has confirmed it. `keeper resume` undoes it.\n"
    devnet.chain.set_price("WETH", "-8%")
    until(lambda: has_alarmed(running, "blocked"), "the alarm")
    assert sequence(devnet) == 0
    assert keeper("resume", config=devnet.config).out == (
        "It was paused and is active again; the daemon has confirmed it.\n"
    )
    until(lambda: sequence(devnet) == 1, "the rescue")
    kinds = [event["sentence"] for event in keeper("journal --json", config=devnet.config).document]
    assert kinds.index("The keeper is paused.") < kinds.index("The keeper is active.")

    hash = keeper("pause --onchain --json", config=devnet.config).document["onchain_transaction"]
    assert re.fullmatch(HASH, hash)
    assert " PAUSED on-chain, " in keeper("status", config=devnet.config).out


def test_a_second_daemon_says_which_process_has_the_journal(devnet: Devnet, running: Daemon) -> None:
    says = (
        f"The journal {devnet.folder / 'keeper.sqlite'} is in use by process {running.pid}; stop that daemon, or give "
        "this one a journal of its own ([journal] path)."
    )
    assert_says(keeper_process("run", config=devnet.config), 1, says)
    assert_says(keeper_process("run --once --json", config=devnet.config), 1, says)
    running.check()


def test_a_journal_that_is_damaged_hides_nothing_that_the_chain_says(devnet: Devnet) -> None:
    journal = devnet.folder / "keeper.sqlite"
    journal.write_bytes(b"no database at all " * 100)
    says = (
        f"The journal {journal} is damaged (file is not a database); move it aside, a new one is made; the chain holds"
    )
    shown = keeper("status", config=devnet.config)
    assert shown.code == 0
    assert f"journal: {says}" in shown.out
    planned = keeper("plan --shock WETH=-8%", config=devnet.config)
    assert planned.code == 3
    assert says in planned.out
    assert failures(devnet.config)["journal"].startswith(says)
    ran = keeper_process("run --once", config=devnet.config)
    assert ran.code == 1
    assert ran.error.startswith(says)


def test_a_port_that_is_taken_is_told(devnet: Devnet, running: Daemon) -> None:
    listen = running.health_url.removeprefix("http://")
    config = edited(
        devnet, ("[telemetry]\n", '[journal]\npath = "other.sqlite"\n\n[telemetry]\nsocket = "other.sock"\n')
    )
    ran = keeper_process("run", config=config)
    assert ran.code == 1
    assert ran.error.startswith(f"Nothing can listen at {listen} (")
    assert ran.error.endswith("); change [telemetry] listen.")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_daemon_that_is_told_to_stop_exits_0_and_loses_nothing(
    devnet: Devnet, running: Daemon, number: signal.Signals
) -> None:
    """Its batch is on its way and no block takes it: the next daemon takes it up, and it takes effect once."""
    devnet.node.set_interval_mining(0)
    devnet.node.set_automine(False)
    price = 2_300 * 10**8
    devnet.node.send(DEPLOYER.address, devnet.deployment.feeds["ETH/USD"], encode_call("setAnswer(int256)", price))
    devnet.node.mine()
    until(lambda: '"sent as ' in running.log.read_text(), "the batch")
    until(lambda: " rescue on its way\n" in keeper("status", config=devnet.config).out, "being told")
    assert keeper("plan", config=devnet.config).code == 0, "nothing is to be sent again"
    os.kill(running.pid, number)
    until(lambda: has_ended(running), "its end")
    assert running.stop() == 0
    assert "Traceback" not in running.log.read_text()
    assert has_alarmed(running, "stopped")
    assert not (devnet.folder / "keeper.sock").exists()
    reader = open_reader(devnet.folder / "keeper.sqlite")
    try:
        (left,) = reader.open_intents()
    finally:
        reader.close()
    assert left.state is State.BROADCAST

    devnet.node.set_interval_mining(1)
    again = daemon.start(devnet.config)
    try:
        again.wait_until_ready(lambda: time.sleep(0.02))
        until(lambda: has_alarmed(again, "rescued"), "the rescue")
        assert again.stop() == 0
    finally:
        again.kill()
    assert sequence(devnet) == 1
    assert int(devnet.node.request("eth_getTransactionCount", KEEPER.address, "latest"), 16) == 1


@pytest.fixture
def impatient(fresh_devnet: Devnet) -> Devnet:
    """Soon blind, and soon at its next attempt."""
    text = fresh_devnet.config.read_text()
    changed = text.replace("[signer]", 'head_age_max = "2s"\nrequest_timeout = "1s"\n\n[signer]')
    fresh_devnet.config.write_text(changed)
    return fresh_devnet


@contextmanager
def back_with(devnet: Devnet, state: bytes) -> Generator[None]:
    """The node that was stopped, again."""
    with anvil.start(devnet.folder / "anvil2.log", port=devnet.process.port):
        devnet.node.close()  # its connection was to the one that went down
        devnet.node.load_state(state)
        devnet.node.set_interval_mining(1)
        yield


def is_blind_and_alive(running: Daemon) -> None:
    until(lambda: has_alarmed(running, "no_fresh_view"), "the alarm")
    until(lambda: not is_ready(running), "being not ready")
    until(lambda: says_yes(running, "healthz"), "being alive all the same")
    running.check()


def rescues_and_ends(running: Daemon, devnet: Devnet) -> None:
    until(lambda: is_ready(running), "being ready")
    devnet.chain.set_price("WETH", "-8%")
    until(lambda: sequence(devnet) == 1, "the rescue")
    assert running.stop() == 0
    assert "Traceback" not in running.log.read_text()


def test_a_node_that_goes_down_is_an_alarm_and_its_return_is_enough(impatient: Devnet) -> None:
    impatient.node.set_interval_mining(1)
    running = daemon.start(impatient.config)
    try:
        running.wait_until_ready(lambda: time.sleep(0.02))
        state = impatient.node.dump_state()
        impatient.process.stop()
        is_blind_and_alive(running)
        with back_with(impatient, state):
            rescues_and_ends(running, impatient)
    finally:
        running.kill()


def test_a_daemon_that_finds_no_node_stays_up_says_so_and_begins_when_one_answers(impatient: Devnet) -> None:
    state = impatient.node.dump_state()
    impatient.process.stop()
    running = daemon.start(impatient.config)
    try:
        is_blind_and_alive(running)
        assert not has_alarmed(running, "started")
        with back_with(impatient, state):
            rescues_and_ends(running, impatient)
        assert has_alarmed(running, "started")
    finally:
        running.kill()


def test_a_daemon_that_waits_for_a_node_stops_when_it_is_told_to(impatient: Devnet) -> None:
    impatient.process.stop()
    running = daemon.start(impatient.config)
    try:
        is_blind_and_alive(running)
        assert running.stop() == 0
        assert has_alarmed(running, "stopped")
        assert "Traceback" not in running.log.read_text()
    finally:
        running.kill()
