"""otalink.toml: what it may say, and how what it may not say is reported."""

from dataclasses import replace
from pathlib import Path

import pytest

from otalink_host.accounts import create_server_folder
from otalink_host.errors import UserError
from otalink_host.settings import (
    DEFAULT_PASSIVE_PORTS,
    Account,
    Settings,
    check_virtual_path,
    folder_of,
    load_settings,
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
        path=tmp_path / "otalink.toml",
        reports=tmp_path / "reports",
    )


def test_paths_are_relative_to_the_file_wherever_it_is_read_from(config: Path, tmp_path: Path) -> None:
    config.write_text('secrets = "x/y"\n' + GOOD)
    settings = load_settings(config)
    assert settings.accounts[0].folder == tmp_path / "releases"
    assert settings.secrets == tmp_path / "x" / "y"


def test_what_is_not_said_has_a_default(config: Path) -> None:
    config.write_text('[[account]]\nname = "board"\nfolder = "releases"\n')
    settings = load_settings(config)
    assert (settings.address, settings.port, settings.passive_ports) == ("0.0.0.0", 2121, DEFAULT_PASSIVE_PORTS)
    assert settings.accounts[0].virtual_path == "/"


def test_every_value_arrives(config: Path) -> None:
    config.write_text(
        """\
reports = "said"
[publishing]
unsigned = true
upload_max = 1000
[server]
address = "192.168.0.10"
port = 21
passive_ports = [40000, 40001]
masquerade_address = "203.0.113.7"
sessions = 7
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
        address="192.168.0.10",
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
        path=config,
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
        ('role = "printer"', 'allowed: "board"'),
    ],
)
def test_a_wrong_account_is_found_in_its_section(config: Path, line: str, allowed: str) -> None:
    key = line.split(maxsplit=1)[0]
    lines = [f"{k} = {v!r}" for k, v in {"name": "second", "folder": "releases"}.items() if k != key]
    text = "\n".join([GOOD, "[[account]]", line, *lines])
    message = complaint(config, text)
    assert message.startswith(f"{config}:9: {key} in [[account]] number 2 is ")
    assert allowed in message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 2121\n" + GOOD, ":1: prot is not known: known here: secrets, reports, server, publishing, account"),
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
    with pytest.raises(UserError, match="has several folders: say which with --to"):
        folder_of(two)
