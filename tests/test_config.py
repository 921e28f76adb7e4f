"""keeper.toml is read strictly: what it says is exact, what is wrong is a sentence, what is secret is not shown."""

import re
from pathlib import Path

import pytest

from keeper.config import Config, load_config
from keeper.config_keys import all_keys
from keeper.config_sections import AaveV3Section, EulerV2Section, MorphoBlueSection, WalletSection
from keeper.config_values import (
    Listen,
    parse_bps,
    parse_health,
    parse_milliseconds,
    parse_seconds,
    parse_wei,
    redact_url,
)
from keeper.errors import ConfigError
from keeper.session import portfolio_settings

MORPHO = "0xBBBBBbbBBb9cC5e90e3b3Af64bdAF62C37EEFFCb"
OWNER = "0x" + "11" * 20
MARKET = "0x3a85e619751152991742810df6ec69ce473daef99e28a64ab2340d7b7ccfee49"

MINIMAL = f"""
[chain]
rpc_url = "http://127.0.0.1:8545"
chain_id = 31337

[guard]
owner = "{OWNER}"

[[protocols]]
kind = "morpho_blue"
address = "{MORPHO}"
markets = ["{MARKET}"]
"""


AAVE = f"""
[[protocols]]
kind = "aave_v3"
pool = "{MORPHO}"
assets = ["0x{"22" * 20}"]
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def load(folder: Path, text: str) -> Config:
    path = folder / "keeper.toml"
    path.write_text(text)
    return load_config(path)


def problem(folder: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(folder, text)
    assert caught.value.exit_code == 2
    return str(caught.value)


# What it says ---------------------------------------------------------------------------------------------------------


def test_an_aave_pool_is_kept_for_the_owner_unless_accounts_are_named(folder: Path) -> None:
    (_, pool) = load(folder, MINIMAL + AAVE).protocols
    assert isinstance(pool, AaveV3Section)
    assert (pool.pool, pool.accounts) == ("0xbbbbbbbbbb9cc5e90e3b3af64bdaf62c37eeffcb", ())
    assert pool.assets == ("0x2222222222222222222222222222222222222222",)
    (_, pool) = load(folder, MINIMAL + AAVE + f'accounts = ["{OWNER}"]\n').protocols
    assert isinstance(pool, AaveV3Section)
    assert pool.accounts == (OWNER,)


def test_an_aave_pool_without_assets_is_refused(folder: Path) -> None:
    sentence = "keeper.toml: [[protocols]] number 2 assets is missing; it is the tokens (not their aTokens)"
    assert problem(folder, MINIMAL + AAVE.replace("assets", "# assets")).startswith(sentence)


def test_an_evc_comes_with_the_vaults_whose_shares_may_move(folder: Path) -> None:
    section = AAVE.replace("aave_v3", "euler_v2").replace("pool", "evc").replace("assets", "vaults")
    (_, euler) = load(folder, MINIMAL + section).protocols
    assert isinstance(euler, EulerV2Section)
    assert euler.evc == "0xbbbbbbbbbb9cc5e90e3b3af64bdaf62c37eeffcb"
    assert euler.vaults == ("0x2222222222222222222222222222222222222222",)


def test_a_minimal_file_has_careful_defaults_beside_itself(folder: Path) -> None:
    config = load(folder, MINIMAL)

    assert config.signer is None
    assert config.guard.address is None
    assert config.guard.owner == "0x1111111111111111111111111111111111111111"
    (morpho,) = config.protocols
    assert isinstance(morpho, MorphoBlueSection)
    assert morpho.address == "0xbbbbbbbbbb9cc5e90e3b3af64bdaf62c37eeffcb"
    assert morpho.markets == (MARKET,)
    assert config.chain.block_time == 12_000
    assert config.chain.inclusion_seconds == 24
    assert config.policy.last_stand == "equalise"
    assert config.policy.trigger is None
    assert config.fees.daily_budget == 1_000_000_000_000_000_000
    assert config.journal.path == folder / "keeper.sqlite"
    assert config.telemetry.socket == folder / "keeper.sock"
    assert config.telemetry.listen == Listen("127.0.0.1", 9464)
    assert config.alerts.webhook is None


def test_every_value_is_read_with_its_unit_and_exactly(folder: Path) -> None:
    config = load(
        folder,
        MINIMAL.replace("[guard]", 'block_time = "250ms"\nhead_age_max = "1h"\ninclusion_blocks = 3\n[guard]')
        + f"""
[[protocols]]
kind = "wallet"
tokens = ["{OWNER}"]

[signer]
keystore = "keys/hot.json"
password = "file:keys/password"

[prices]
native = "{MORPHO}"
usd = {{ USDC = "{MORPHO}" }}

[[prices.feeds]]
address = "{MORPHO}"
name = "ETH/USD"
heartbeat = "1d"

[[prices.second]]
token = "WETH"
uniswap_v3 = "{MORPHO}"
window = "10m"

[policy]
trigger = 1.15
floor = "1.3"
shock = "12.5%"
rate_margin = "0.5%"
overrides."morpho:0x3a" = {{ critical = 1.100000000000000001, never_donate = true, priority = 2 }}

[fees]
max_fee = "1_000 gwei"
tip = "1 wei"
daily_budget = "0.05 ETH"

[journal]
path = "/var/lib/keeper.sqlite"

[telemetry]
listen = "[::1]:80"
""",
    )

    assert (config.chain.block_time, config.chain.head_age_max, config.chain.inclusion_seconds) == (250, 3_600, 1)
    assert config.signer is not None
    assert config.signer.keystore == folder / "keys/hot.json"
    assert isinstance(config.protocols[1], WalletSection)
    assert config.prices.native == MORPHO.lower()
    assert config.prices.usd == {"USDC": MORPHO.lower()}
    assert config.prices.feeds[0].heartbeat == 86_400
    assert (config.prices.second[0].uniswap_v3, config.prices.second[0].window) == (MORPHO.lower(), 600)
    assert config.policy.trigger == 1_150_000_000_000_000_000
    assert config.policy.floor == 1_300_000_000_000_000_000
    assert (config.policy.shock, config.policy.rate_margin) == (1_250, 50)
    assert config.policy.overrides["morpho:0x3a"].critical == 1_100_000_000_000_000_001
    assert config.policy.overrides["morpho:0x3a"].never_donate is True
    assert config.fees.max_fee == 1_000_000_000_000
    assert config.fees.tip == 1
    assert config.fees.daily_budget == 50_000_000_000_000_000
    assert config.journal.path == Path("/var/lib/keeper.sqlite")
    assert config.telemetry.listen == Listen("::1", 80)
    assert str(config.telemetry.listen) == "[::1]:80"


def test_the_environment_wins_over_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPER__CHAIN__CHAIN_ID", "8453")
    monkeypatch.setenv("KEEPER__POLICY__TRIGGER", "1.2")
    monkeypatch.setenv("KEEPER__SIGNER__KEYSTORE", "/keys/hot.json")
    monkeypatch.setenv("KEEPER__SIGNER__PASSWORD", "env:PASSWORD")
    monkeypatch.setenv("KEEPER__CHAIN__RPC_URL", "env:NODE")
    monkeypatch.setenv("KEEPER__TELEMETRY__LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("KEEPERS_NAME", "somebody")

    config = load(folder, MINIMAL + "[policy]\ntrigger = 1.1\n")

    assert config.chain.chain_id == 8453
    assert [str(endpoint) for endpoint in config.chain.rpc_url] == ["env:NODE"]
    assert config.telemetry.listen == Listen("127.0.0.1", 1)
    assert config.policy.trigger == 1_200_000_000_000_000_000
    assert config.signer is not None
    assert config.signer.keystore == Path("/keys/hot.json")


@pytest.mark.parametrize(
    ("chain", "coin"),
    [("chain_id = 137", "POL"), ("chain_id = 999999", "native coin"), ('chain_id = 999999\nnative = "HYPE"', "HYPE")],
)
def test_the_chain_s_own_coin_is_known_or_named(folder: Path, chain: str, coin: str) -> None:
    config = load(folder, MINIMAL.replace("chain_id = 31337", chain))
    assert (portfolio_settings(config).native_coin, config.fees.budget(config.chain.coin).coin) == (coin, coin)


# What is wrong --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[chain]\nblok_time = '1s'", "keeper.toml: [chain] blok_time is not known; did you mean block_time?"),
        ("[guard]\nxyz = 1", "keeper.toml: [guard] xyz is not known; there are address and owner."),
        ("[polcy]\ntrigger = 1.1", "keeper.toml: [polcy] is not known; did you mean policy?"),
        (
            "[policy.overrides.wallet]\ntriger = 2",
            ('keeper.toml: [policy.overrides."wallet"] triger is not known; did you mean trigger?'),
        ),
        ("", "keeper.toml: [chain] is missing; it is where the chain is read and how it behaves."),
        (
            "[chain]\nchain_id = 1",
            (
                "keeper.toml: [chain] rpc_url is missing; it is the node's HTTP endpoint, or a list of several, the "
                "preferred one first; a reference if the URL holds a key."
            ),
        ),
        (
            "[signer]\nkeystore = 'a'",
            ("keeper.toml: [signer] password is missing; it is the keystore's password, by reference."),
        ),
        ("protocols = []", "keeper.toml: [[protocols]] must not be empty."),
        (
            "[[protocols]]\nkind = 'aave'",
            (
                'keeper.toml: [[protocols]] number 1: kind must be "morpho_blue", "aave_v3", "euler_v2", "venus_pool" '
                'or "wallet".'
            ),
        ),
        (
            "[[protocols]]\ntokens = []",
            (
                'keeper.toml: [[protocols]] number 1: kind must be "morpho_blue", "aave_v3", "euler_v2", "venus_pool" '
                'or "wallet".'
            ),
        ),
        (
            "[[protocols]]\nkind = 'wallet'\ntokens = []",
            "keeper.toml: [[protocols]] number 1 tokens must not be empty.",
        ),
        (
            "[[protocols]]\nkind = 'wallet'\ntokens = ['0x12']",
            (
                "keeper.toml: [[protocols]] number 1 tokens number 1 is "
                '"0x12": expected an address: 0x and 40 hexadecimal digits.'
            ),
        ),
        (
            "[[protocols]]\nkind = 'wallet'\nmarkets = ['0x12']",
            ("keeper.toml: [[protocols]] number 1 markets is not known; there are kind and tokens."),
        ),
        ("chain = 5", "keeper.toml: [chain] must be a section, not 5."),
        ("[chain]\nchain_id = 'mainnet'", 'keeper.toml: [chain] chain_id is "mainnet": expected a whole number.'),
        ("[chain]\nchain_id = 0", "keeper.toml: [chain] chain_id is 0: expected greater than 0."),
        (
            "[chain]\nblock_time = 12",
            (
                "keeper.toml: [chain] block_time is 12: expected a duration with its unit, "
                'such as "12s", "2s" or "250ms".'
            ),
        ),
        (
            "[guard]\nowner = '0xBBBBBbbBBb9cC5e90e3b3Af64bdAF62C37EEFFCB'",
            (
                "keeper.toml: [guard] owner is "
                '"0xBBBBBbbBBb9cC5e90e3b3Af64bdAF62C37EEFFCB": expected an address, and this one has a wrong checksum: '
                "one of its characters is mistyped."
            ),
        ),
        ("[[prices.feeds]]\nname = ''", "keeper.toml: [[prices.feeds]] number 1 name must not be empty."),
        (
            "[[prices.second]]\ntoken = 'WETH'",
            (
                "keeper.toml: [[prices.second]] number 1: the second source of WETH must be either a feed or a "
                "uniswap_v3 pool."
            ),
        ),
        (
            f"[[prices.second]]\ntoken = 'WETH'\nfeed = '{MORPHO}'\nuniswap_v3 = '{MORPHO}'",
            (
                "keeper.toml: [[prices.second]] number 1: the second source of WETH must be either a feed or a "
                "uniswap_v3 pool."
            ),
        ),
        (
            f"[[prices.second]]\ntoken = 'WETH'\nfeed = '{MORPHO}'\nwindow = '5m'",
            ("keeper.toml: [[prices.second]] number 1: the second source of WETH is a feed, and window is for pools."),
        ),
        (
            "".join(f"[[prices.second]]\ntoken = '{token}'\nfeed = '{MORPHO}'\n" for token in ("WETH", "weth")),
            "keeper.toml: [prices]: [[prices.second]] names WETH twice; a price has one second source.",
        ),
        (
            "[prices]\njump_window = '2h'",
            "keeper.toml: [prices] jump_window is 7200: expected less than or equal to 3600.",
        ),
        (
            "[policy]\nlast_stand = 'maybe'",
            "keeper.toml: [policy] last_stand is \"maybe\": expected 'equalise' or 'off'.",
        ),
        ("[policy]\ntrigger = true", "keeper.toml: [policy] trigger is true: expected a health factor such as 1.05."),
        ("[policy]\nshock = 12", 'keeper.toml: [policy] shock is 12: expected a percentage such as "12%" or "0.5%".'),
        ("[policy]\nshock = '100%'", 'keeper.toml: [policy] shock is "100%": expected less than 10000.'),
        (
            "[fees]\nmax_fee = '300'",
            (
                'keeper.toml: [fees] max_fee is "300": expected an amount with its unit, '
                'such as "0.05 ETH", "30 gwei" or "1 wei".'
            ),
        ),
        ("[journal]\npath = 3", "keeper.toml: [journal] path is 3: expected a path."),
        (
            "[telemetry]\nlisten = 'localhost'",
            ('keeper.toml: [telemetry] listen is "localhost": expected host:port, such as "127.0.0.1:9464".'),
        ),
        (
            "[telemetry]\nlisten = 'localhost:70000'",
            ('keeper.toml: [telemetry] listen is "localhost:70000": expected host:port, such as "127.0.0.1:9464".'),
        ),
    ],
)
def test_a_problem_is_a_sentence_with_the_key_what_was_found_and_what_belongs_there(
    folder: Path, text: str, sentence: str
) -> None:
    assert sentence in problem(folder, text).splitlines()


def test_all_problems_are_told_at_once(folder: Path) -> None:
    text = MINIMAL.replace("31337", '"x"').replace(OWNER, "0x1") + "[fees]\ntip = 1\n"

    assert [line.split(" is ")[0] for line in problem(folder, text).splitlines()] == [
        "keeper.toml: [chain] chain_id",
        "keeper.toml: [guard] owner",
        "keeper.toml: [fees] tip",
    ]


def test_a_problem_from_the_environment_names_the_variable(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPER__CHAIN__REQUEST_TIMEOUT", "5")

    assert problem(folder, MINIMAL).startswith('KEEPER__CHAIN__REQUEST_TIMEOUT is "5": expected a duration')


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        (
            "KEEPER__CHAN__CHAIN_ID",
            "1",
            "KEEPER__CHAN__CHAIN_ID in the environment overrides nothing; its name must be ",
        ),
        ("KEEPER__CHAIN__CHAN_ID", "1", "KEEPER__CHAIN__CHAN_ID is not known; did you mean chain_id?"),
        ("KEEPER__PROTOCOLS", "[broken", "The environment cannot be used: error parsing value for field"),
    ],
)
def test_a_variable_that_overrides_nothing_is_an_error(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str, sentence: str
) -> None:
    monkeypatch.setenv(name, value)

    assert problem(folder, MINIMAL).startswith(sentence)


def test_a_file_that_is_not_there_or_not_toml_is_a_sentence(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"There is no .*keeper.toml; write one with `keeper init`, or name another"):
        load_config(folder / "keeper.toml")
    with pytest.raises(ConfigError, match=r"cannot be read: Is a directory"):
        load_config(folder)
    assert problem(folder, "[chain").startswith("keeper.toml is not valid TOML: ")
    assert problem(folder, "a = 1\na = 2").startswith("keeper.toml is not valid TOML: ")
    (folder / "latin.toml").write_bytes(b"# caf\xe9")
    with pytest.raises(ConfigError, match=r"latin.toml is not UTF-8 text"):
        load_config(folder / "latin.toml")


ORDERED = {
    "hard_floor": "1.01", "survive": "1.02", "critical": "1.03", "trigger": "1.1", "rescue_ceiling": "1.15",
    "target": "1.2", "floor": "1.3",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({}, None),
        ({"hard_floor": "1"}, "hard_floor = 1 must be above 1, the liquidation line"),
        ({"hard_floor": "1.000000000000000001"}, None),
        ({"survive": "1.01"}, None),
        ({"survive": "1.009"}, "survive = 1.009 must be at or above hard_floor = 1.01"),
        ({"critical": "1.02"}, None),
        ({"critical": "1.019"}, "critical = 1.019 must be at or above survive = 1.02"),
        ({"trigger": "1.03"}, "trigger = 1.03 must be above critical = 1.03"),
        ({"trigger": "1.031"}, None),
        ({"rescue_ceiling": "1.1"}, None),
        ({"rescue_ceiling": "1.09"}, "rescue_ceiling = 1.09 must be at or above trigger = 1.1"),
        ({"target": "1.15"}, None),
        ({"target": "1.14"}, "target = 1.14 must be at or above rescue_ceiling = 1.15"),
        ({"floor": "1.2"}, "floor = 1.2 must be above target = 1.2"),
        ({"trigger": None, "rescue_ceiling": "1.03"}, "rescue_ceiling = 1.03 must be above critical = 1.03"),
        ({"survive": None, "critical": "1.01"}, None),
        ({"hard_floor": None, "survive": "1"}, "survive = 1 must be above 1, the liquidation line"),
    ],
)
@pytest.mark.parametrize("section", ["policy", 'policy.overrides."morpho:0x3a"'])
def test_thresholds_out_of_order_are_named(
    folder: Path, section: str, changed: dict[str, str | None], sentence: str | None
) -> None:
    values = {name: value for name, value in {**ORDERED, **changed}.items() if value is not None}
    text = MINIMAL + f"[{section}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())
    if sentence is None:
        load(folder, text)
    else:
        assert problem(folder, text) == f"keeper.toml: [{section}]: {sentence}."


# What is secret -------------------------------------------------------------------------------------------------------


def with_signer(password: str) -> str:
    return MINIMAL + f'[signer]\nkeystore = "k"\npassword = "{password}"\n'


def test_a_secret_is_read_when_it_is_needed_and_is_not_shown(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(folder, with_signer("env:THE_PASSWORD"))
    assert config.signer is not None
    with pytest.raises(ConfigError, match="env:THE_PASSWORD is missing: set the environment variable THE_PASSWORD"):
        config.signer.password.reveal()

    monkeypatch.setenv("THE_PASSWORD", "hunter2")

    assert config.signer.password.reveal() == "hunter2"
    assert "hunter2" not in repr(config) + str(config.signer.password)
    assert str(config.signer.password) == "env:THE_PASSWORD"


def test_a_secret_in_a_file_is_read_from_beside_the_configuration(folder: Path) -> None:
    (folder / "password").write_text("hunter2\n")
    (folder / "empty").write_text("\n")
    (folder / "binary").write_bytes(b"\xff\xfe")

    def reveal(reference: str) -> str:
        config = load(folder, with_signer(reference))
        assert config.signer is not None
        return config.signer.password.reveal()

    assert reveal("file:password") == "hunter2"
    assert reveal(f"file:{folder}/password") == "hunter2"
    with pytest.raises(ConfigError, match=r"file:none is missing: .*/none says No such file"):
        reveal("file:none")
    with pytest.raises(ConfigError, match=r"file:empty is empty"):
        reveal("file:empty")
    with pytest.raises(ConfigError, match=r"file:binary is not text"):
        reveal("file:binary")


@pytest.mark.parametrize("password", ["hunter2", "env:", "env:1ST", "file:", "0x" + "ab" * 32])
def test_a_secret_written_into_the_file_is_refused_and_not_repeated(folder: Path, password: str) -> None:
    assert problem(folder, with_signer(password)) == (
        'keeper.toml: [signer] password: expected a reference, "env:NAME" or "file:PATH"; '
        "a secret itself does not belong in this file."
    )


def test_a_key_in_the_wrong_place_is_not_repeated(folder: Path) -> None:
    key = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"

    assert key not in problem(folder, MINIMAL.replace(OWNER, f"0x{key}"))
    assert key not in problem(folder, MINIMAL + f'[signer]\nprivate_key = "{key}"\n')


def test_a_url_with_a_key_is_shown_without_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(folder, MINIMAL.replace("http://127.0.0.1:8545", "https://node.example/v3/SECRET"))

    (endpoint,) = config.chain.rpc_url
    assert endpoint.reveal() == "https://node.example/v3/SECRET"
    assert str(endpoint) == "https://node.example/…"
    assert "SECRET" not in repr(config)

    (by_reference,) = load(folder, MINIMAL.replace("http://127.0.0.1:8545", "env:NODE")).chain.rpc_url
    assert str(by_reference) == "env:NODE"
    monkeypatch.setenv("NODE", "https://node.example/v3/SECRET")
    assert by_reference.reveal() == "https://node.example/v3/SECRET"
    monkeypatch.setenv("NODE", "wss://node.example/v3/SECRET")
    with pytest.raises(ConfigError, match=r"The secret env:NODE is not a URL that starts with http or https\.$"):
        by_reference.reveal()


def several(*urls: str) -> str:
    return MINIMAL.replace('"http://127.0.0.1:8545"', f"[{', '.join(urls)}]")


def test_several_endpoints_are_a_list_in_which_each_may_be_a_reference(folder: Path) -> None:
    config = load(folder, several('"http://127.0.0.1:8545"', '"env:NODE"'))
    assert [str(endpoint) for endpoint in config.chain.rpc_url] == ["http://127.0.0.1:8545", "env:NODE"]


@pytest.mark.parametrize(
    "other", ["http://127.0.0.1:8546", "https://127.0.0.1:8545", "http://127.0.0.1:8545/a", "http://b@127.0.0.1:8545"]
)
def test_endpoints_that_differ_are_several(folder: Path, other: str) -> None:
    assert len(load(folder, several('"http://127.0.0.1:8545"', f'"{other}"')).chain.rpc_url) == 2


def test_several_endpoints_in_the_environment_are_a_list_in_json(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEEPER__CHAIN__RPC_URL", '["env:NODE", "env:OTHER"]')
    assert [str(endpoint) for endpoint in load(folder, MINIMAL).chain.rpc_url] == ["env:NODE", "env:OTHER"]
    monkeypatch.setenv("KEEPER__CHAIN__RPC_URL", '["https://node.example/SECRET"')
    assert problem(folder, MINIMAL) == "KEEPER__CHAIN__RPC_URL: expected one endpoint, or a list of them."


@pytest.mark.parametrize(
    ("urls", "sentence"),
    [
        ([], "keeper.toml: [chain] rpc_url: expected at least one endpoint."),
        (
            ['"http://127.0.0.1:8545"', '"node.example/SECRET"'],
            'keeper.toml: [chain] rpc_url: expected "env:NAME", "file:PATH" or a http or https URL.',
        ),
        *(
            (urls, "keeper.toml: [chain] rpc_url: expected each endpoint once; remove the one that is named twice.")
            for urls in (
                ['"http://127.0.0.1:8545"', '"http://127.0.0.1:8545/"'],
                ['"https://node.example/SECRET"', '"env:NODE"', '"https://Node.example:443/SECRET/"'],
                ['"http://node.example"', '"HTTP://node.example:80"'],
                ['"env:NODE"', '"env:NODE"'],
            )
        ),
    ],
)
def test_a_list_of_endpoints_that_is_wrong_is_refused_and_not_repeated(
    folder: Path, urls: list[str], sentence: str
) -> None:
    assert problem(folder, several(*urls)) == sentence


@pytest.mark.parametrize(("quorum", "is_possible"), [(1, True), (2, True), (3, False)])
def test_a_quorum_that_can_never_be_met_is_refused(folder: Path, quorum: int, is_possible: bool) -> None:
    text = several('"http://127.0.0.1:8545"', '"env:NODE"').replace("[chain]", f"[chain]\nquorum = {quorum}")
    if is_possible:
        assert load(folder, text).chain.quorum == quorum
    else:
        assert problem(folder, text) == (
            "keeper.toml: [chain]: quorum = 3 endpoints can never agree, because rpc_url names 2; name more "
            "endpoints, or lower quorum."
        )


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1/SECRET", "node.example/SECRET", "http:///SECRET", "http://[SECRET", ""]
)
def test_something_that_is_no_url_is_refused_and_not_repeated(folder: Path, url: str) -> None:
    assert problem(folder, MINIMAL.replace("http://127.0.0.1:8545", url)) == (
        'keeper.toml: [chain] rpc_url: expected "env:NAME", "file:PATH" or a http or https URL.'
    )


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("http://127.0.0.1:8545/", "http://127.0.0.1:8545"),
        ("https://user:SECRET@node.example", "https://node.example/…"),
        ("https://node.example?key=SECRET", "https://node.example/…"),
        ("https://node.example:SECRET", "(not a URL)"),
    ],
)
def test_a_url_is_cut_to_its_host(url: str, shown: str) -> None:
    assert redact_url(url) == shown


# Units ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("30s", 30), ("1.5m", 90), ("1 H", 3_600), (" 2d ", 172_800), ("1_000s", 1_000)]
)
def test_a_duration_in_seconds(text: str, seconds: int) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["30", "s", "-1s", "1.s", ".5m", "1 week", "0.5s", "1e3s", 30, None, True])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="expected a duration with its unit"):
        parse_seconds(text)


def test_a_block_time_in_milliseconds() -> None:
    assert parse_milliseconds("250ms") == 250
    assert parse_milliseconds("0.25s") == 250
    with pytest.raises(ValueError, match="finer than the keeper counts"):
        parse_milliseconds("0.0001s")


def test_a_percentage_in_basis_points() -> None:
    assert [parse_bps(text) for text in ("12%", "0.5%", "0.01%", "100 %")] == [1_200, 50, 1, 10_000]
    with pytest.raises(ValueError, match="finer than the keeper counts"):
        parse_bps("0.001%")


def test_an_amount_in_wei() -> None:
    assert [parse_wei(text) for text in ("1 wei", "0.1gwei", "2 Gwei", "1.000000000000000001 ETH")] == [
        1, 100_000_000, 2_000_000_000, 1_000_000_000_000_000_001,
    ]  # fmt: skip


@pytest.mark.parametrize("value", ["", "x", "NaN", "inf", 0, -1, 1000, "1.0000000000000000001", 1.5, True, None])
def test_what_is_no_health(value: object) -> None:
    with pytest.raises(ValueError, match=re.escape("expected a health factor such as 1.05")):
        parse_health(value)


# What there is to configure -------------------------------------------------------------------------------------------


def test_every_key_says_what_it_is_for_and_its_default_is_valid_where_it_stands(folder: Path) -> None:
    keys = all_keys()
    by_section: dict[str, list[str]] = {}
    for key in keys:
        assert key.description
        assert not key.description.endswith(".")
        if key.default is not None:
            by_section.setdefault(key.section, []).append(f"{key.name} = {key.default}")
    chain = "\n".join(by_section.pop("[chain]"))
    text = MINIMAL.replace("[guard]", f"{chain}\n[guard]")
    for section, lines in by_section.items():
        text += "\n".join([section, *lines, ""])

    assert load(folder, text) == load(folder, MINIMAL)
    assert [key.name for key in keys if key.section == "[chain]" and key.is_required] == ["rpc_url", "chain_id"]
    assert len(by_section) >= 6
