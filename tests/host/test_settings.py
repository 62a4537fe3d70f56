"""otalink.toml: what it may say, and how what it may not say is reported."""

from dataclasses import replace
from pathlib import Path

import pytest

from otalink_host.accounts import create_server_folder
from otalink_host.errors import UserError
from otalink_host.settings import (
    DEFAULT_PASSIVE_PORTS,
    Account,
    AuditSettings,
    LockoutSettings,
    Settings,
    channel_of,
    check_virtual_path,
    folder_of,
    load_settings,
    plain_address,
)

GOOD = """\
[server]
port = 2121

[[account]]
name = "board"
folder = "releases"
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "releases").mkdir()
    return tmp_path / "otalink.toml"


def complaint(config: Path, text: str) -> str:
    config.write_text(text)
    with pytest.raises(UserError) as error:
        load_settings(config)
    message = str(error.value)
    assert "\n" not in message
    return message


def test_the_file_that_init_writes_says_the_defaults(tmp_path: Path) -> None:
    create_server_folder(tmp_path)
    assert load_settings(tmp_path / "otalink.toml") == Settings(
        accounts=(Account("board", tmp_path / "releases", "/", "board"),),
        secrets=tmp_path / "otalink.secrets",
        hashes=tmp_path / "otalink.hashes",
        path=tmp_path / "otalink.toml",
        reports=tmp_path / "reports",
        audit=AuditSettings(tmp_path / "audit", tmp_path / "otalink.audit-key", 180, 4),
    )


def test_paths_are_relative_to_the_file_wherever_it_is_read_from(config: Path, tmp_path: Path) -> None:
    config.write_text('secrets = "x/y"\n' + GOOD)
    settings = load_settings(config)
    assert settings.accounts[0].folder == tmp_path / "releases"
    assert settings.secrets == tmp_path / "x" / "y"


def test_what_is_not_said_has_a_default(config: Path) -> None:
    config.write_text('[[account]]\nname = "board"\nfolder = "releases"\n')
    settings = load_settings(config)
    assert (settings.addresses, settings.port, settings.passive_ports) == (("0.0.0.0",), 2121, DEFAULT_PASSIVE_PORTS)
    assert settings.accounts[0].virtual_path == "/"


def test_every_value_arrives(config: Path) -> None:
    config.write_text(
        """\
reports = "said"
hashes = "h"
[publishing]
unsigned = true
upload_max = 1000
[channels]
stable = "releases"
beta = "."
[lockout]
failures = 3
delay = 2
delay_max = 60
[server]
address = "192.168.0.10"
port = 21
passive_ports = [40000, 40001]
masquerade_address = "203.0.113.7"
sessions = 7
[audit]
folder = "../log"
key = "audit.key"
keep_days = 400
file_mib = 1
[[account]]
name = "board"
folder = "releases"
virtual_path = "//test/"
role = "board"
[[account]]
name = "other"
folder = "releases"
role = "publisher"
"""
    )
    settings = load_settings(config)
    assert settings == Settings(
        addresses=("192.168.0.10",),
        port=21,
        passive_ports=range(40000, 40002),
        masquerade_address="203.0.113.7",
        sessions=7,
        accounts=(
            Account("board", config.parent / "releases", "/test"),
            Account("other", config.parent / "releases", role="publisher"),
        ),
        secrets=config.parent / "otalink.secrets",
        unsigned=True,
        upload_max=1000,
        reports=config.parent / "said",
        hashes=config.parent / "h",
        channels=(("stable", config.parent / "releases"), ("beta", config.parent)),
        lockout=LockoutSettings(3, 2, 60),
        path=config,
        audit=AuditSettings(config.parent / "../log", config.parent / "audit.key", 400, 1),
    )


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ('address = "router"', "an IP address of this machine"),
        ("address = 7", "text in quotes"),
        ('port = "2121"', "a whole number from 0 to 65535, without quotes"),
        ("port = 65536", "a whole number from 0 to 65535"),
        ("port = true", "a whole number"),
        ("passive_ports = [30000]", "the first and the last port"),
        ("passive_ports = [30099, 30000]", "such as [30000, 30099]"),
        ("passive_ports = [80, 90]", "from 1024 to 65535"),
        ("passive_ports = 30000", "such as [30000, 30099]"),
        ('masquerade_address = "0.0.0.0"', "the IPv4 address at which boards reach this machine"),
        ('masquerade_address = "example.org"', "the IPv4 address"),
        ("sessions = 0", "a whole number from 1 to"),
    ],
)
def test_a_wrong_value_is_one_line_with_file_line_key_and_what_is_allowed(
    config: Path, line: str, allowed: str
) -> None:
    text = f'[[account]]\nname = "board"\nfolder = "releases"\n\n[server]\n\n{line}\n'
    message = complaint(config, text)
    assert message.startswith(f"{config}:7: {line.split(maxsplit=1)[0]} in [server] is ")
    assert allowed in message


@pytest.mark.parametrize(
    ("line", "allowed"),
    [
        ('name = "two words"', "1 to 32 letters, digits"),
        ('name = ""', "1 to 32 letters, digits"),
        ('folder = "nowhere"', "make it with: mkdir"),
        ('virtual_path = "test"', "/ or a path like /test"),
        ('virtual_path = "/../up"', "/ or a path like /test"),
        ('role = "root"', 'allowed: "board" or "publisher"'),
        ('channel = "stable"', "allowed: a channel of the section [channels]"),
        ("channels = []", "allowed: a list in [ ] of 1 or more"),
        ("channels = [1]", "text in quotes"),
        ('tls = "yes"', 'allowed: "control" or "full"'),
        ("tls = true", "text in quotes"),
        (
            'networks = ["192.168.0.1/16"]',
            "networks by address and prefix, no bit set behind it, such as 192.168.0.0/16",
        ),
        ('networks = ["example.org"]', "networks by address and prefix"),
        ("networks = []", "a list in [ ] of 1 or more"),
        ('disabled = "yes"', "true or false, without quotes"),
    ],
)
def test_a_wrong_account_is_found_in_its_section(config: Path, line: str, allowed: str) -> None:
    key = line.split(maxsplit=1)[0]
    rest = {"name": "second"} if key.startswith("channel") else {"name": "second", "folder": "releases"}
    lines = [f"{k} = {v!r}" for k, v in rest.items() if k != key]
    text = "\n".join([GOOD, "[[account]]", line, *lines])
    message = complaint(config, text)
    assert message.startswith(f"{config}:9: {key} in [[account]] number 2 is ")
    assert allowed in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "prot = 2121\n" + GOOD,
            ":1: prot is not known: known here: secrets, hashes",
        ),
        (GOOD.replace("port", "prot"), ":2: prot in [server] is not known: did you mean port?"),
        (GOOD + 'virtual_pth = "/"\n', ":7: virtual_pth in [[account]] number 1 is not known: did you mean virtual"),
        (GOOD + 'password = "x"\n', ":7: password in [[account]] number 1 is not known"),
        (GOOD + '"pass(word" = "x"\n', ":7: pass(word in [[account]] number 1 is not known"),
        ("[sever]\n" + GOOD[8:], ":1: sever is not known: did you mean server?"),
    ],
)
def test_an_unknown_key_is_an_error_that_guesses_what_was_meant(config: Path, text: str, said: str) -> None:
    assert said in complaint(config, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server]\n", "there is no [[account]]"),
        ('[[account]]\nfolder = "releases"\n', ":1: name in [[account]] number 1 is missing"),
        ('[[account]]\nname = "board"\n', ":1: folder in [[account]] number 1 is missing"),
        (GOOD + GOOD[GOOD.index("[[") :], ":8: name in [[account]] number 2 is 'board' twice"),
        ('[account]\nname = "board"\n', "account must be sections that each begin with the line [[account]]"),
        ("server = 1\n", "server must be a section that begins with the line [server]"),
        ("port 2121\n", "this is not TOML"),
    ],
)
def test_a_form_that_is_wrong_is_one_line(config: Path, text: str, said: str) -> None:
    assert said in complaint(config, text)


def test_no_file_says_how_to_make_one(config: Path) -> None:
    with pytest.raises(UserError, match="make one with `otalink init`"):
        load_settings(config)


def test_a_file_that_is_no_text_is_one_line(config: Path) -> None:
    config.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="cannot be read"):
        load_settings(config)


def test_a_virtual_path_is_brought_to_one_form() -> None:
    assert [check_virtual_path(path) for path in ("/", "//", "/test", "//test//", "/a/b/")] == [
        "/",
        "/",
        "/test",
        "/test",
        "/a/b",
    ]


def test_the_folder_to_publish_to_is_the_only_one_or_must_be_named(tmp_path: Path) -> None:
    one = Settings((Account("a", tmp_path), Account("b", tmp_path)), path=tmp_path / "otalink.toml")
    assert folder_of(one) == tmp_path
    two = replace(one, accounts=(Account("a", tmp_path), Account("b", tmp_path / "b")))
    with pytest.raises(UserError, match="has several folders: say which with --channel or --to"):
        folder_of(two)


CHANNELS = """\
[channels]
stable = "releases"
beta = "releases-beta"
"""


def account(config: Path, lines: str) -> Account:
    (config.parent / "releases-beta").mkdir(exist_ok=True)
    config.write_text(f'{CHANNELS}[[account]]\nname = "shop-1"\n{lines}')
    return load_settings(config).accounts[0]


def test_one_channel_is_seen_as_a_folder_is(config: Path) -> None:
    found = account(config, 'channel = "beta"\nvirtual_path = "/test"\n')
    assert found.mounts == {"/test": config.parent / "releases-beta"}
    assert found.folder == config.parent / "releases-beta"


def test_several_channels_are_folders_below_the_virtual_path(config: Path) -> None:
    releases, beta = config.parent / "releases", config.parent / "releases-beta"
    found = account(config, 'channels = ["stable", "beta"]\n')
    assert found.mounts == {"/stable": releases, "/beta": beta}
    assert account(config, 'virtual_path = "/a"\nchannels = ["beta"]\n').mounts == {"/a/beta": beta}
    settings = load_settings(config)
    assert settings.folders == [beta]
    assert channel_of(settings, "stable") == releases
    with pytest.raises(UserError, match=r"has no channel bta: it has stable, beta"):
        channel_of(settings, "bta")
    with pytest.raises(UserError, match=r"has no channel beta: write a section \[channels\]"):
        channel_of(replace(settings, channels=()), "beta")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[channels]\n"a b" = "releases"\n', ":2: a b in [channels] is no name for a channel: 1 to 32 letters, digits"),
        ('[channels]\nstable = "nowhere"\n', ":2: stable in [channels] is 'nowhere'; allowed: a folder that is there"),
        ("channels = 1\n", ":1: channels must be a section that begins with the line [channels]"),
        (
            CHANNELS + '[[account]]\nname = "x"\nchannel = "best"\n',
            ":6: channel in [[account]] number 1 is 'best'; allowed: a channel of the section [channels]: stable, beta",
        ),
        (
            CHANNELS + '[[account]]\nname = "x"\nfolder = "releases"\nchannels = ["beta"]\n',
            ":7: channels in [[account]] number 1 is one too many: folder says already what it sees",
        ),
        ("[lockout]\nfailures = 0\n", ":2: failures in [lockout] is 0; allowed: a whole number from 1 to 1000"),
        ("[lockout]\nsoon = 1\n", ":2: soon in [lockout] is not known"),
    ],
)
def test_a_wrong_channel_or_lockout_is_one_line(config: Path, text: str, said: str) -> None:
    (config.parent / "releases-beta").mkdir()
    rest = "" if "[[account]]" in text else GOOD
    assert said in complaint(config, text + rest)


@pytest.mark.parametrize(
    ("address", "network", "inside"),
    [
        ("192.168.7.9", "192.168.0.0/16", True),
        ("192.169.0.1", "192.168.0.0/16", False),
        ("::ffff:192.168.7.9", "192.168.0.0/16", True),
        ("192.168.7.9", "::ffff:192.168.0.0/112", True),
        ("fd00::1", "fd00::/8", True),
        ("fe80::1%eth0", "fe80::/10", True),
        ("fd00::1", "192.168.0.0/16", False),
        ("10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "::/0", False),
    ],
)
def test_an_account_logs_in_from_its_networks(config: Path, address: str, network: str, inside: bool) -> None:
    found = account(config, f'folder = "releases"\nnetworks = ["203.0.113.0/24", "{network}"]\n')
    assert found.may_come_from(plain_address(address)) is inside
    assert account(config, 'folder = "releases"\n').may_come_from(plain_address(address))
