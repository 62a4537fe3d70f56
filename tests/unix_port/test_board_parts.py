"""What board_*.py make of a port's hardware: the watchdog, the cause of a restart, secrets that stand elsewhere."""

import json

import pytest

# The watchdog as ports have it: the RP2040 and RP2350 refuse what is over a limit, the ESP8266 takes 5 s alone.
WATCHDOG = """
class WDT:
    def __init__(self, timeout):
        if not ({takes}):
            raise ValueError
        print("started", timeout)
    def feed(self):
        print("fed")

sys.modules["machine"] = type("machine", (), {{"WDT": WDT}})
from otalink.board_watchdog import watchdog
watchdog({seconds}).feed()
"""


@pytest.mark.parametrize(
    ("takes", "seconds", "started"),
    [
        ("True", 20, 20000),
        ("timeout <= 8388", 8, 8000),
        ("timeout <= 8388", 20, 8388),
        ("timeout <= 16777", 20, 16777),
        ("timeout == 5000", 20, 5000),
    ],
)
def test_the_watchdog_gets_the_seconds_that_its_port_takes(on_board, takes, seconds, started):
    lines = on_board(WATCHDOG.format(takes=takes, seconds=seconds)).lines
    bounded = [f"the watchdog resets this board after {started / 1000} s: it does not take {seconds} s"]
    assert lines == [f"started {started}", *(bounded if started != seconds * 1000 else []), "fed"]


def test_a_port_that_takes_no_such_watchdog_at_all_says_so(on_board):
    lines = on_board(WATCHDOG.format(takes="False", seconds=20)).lines
    assert lines == ["this board takes no watchdog of 20 s: it has none"]


def test_a_port_without_a_watchdog_says_so_and_takes_the_feeding(on_board):
    lines = on_board("from otalink.board_watchdog import watchdog\nprint(watchdog(8).feed())").lines
    assert lines == ["this board has no watchdog: the setting watchdog does nothing here", "None"]


UPDATER = """
class WDT:
    count = fed = 0
    def __init__(self, timeout):
        WDT.count += 1
    def feed(self):
        WDT.fed += 1

sys.modules["machine"] = type("machine", (), {"WDT": WDT})
import otalink
settings = {"name": "app", "host": "h", "watchdog": 8}
otalink.Updater(settings, message=None)
before = WDT.fed
updater = otalink.Updater(settings, message=None)
updater.feed()
print(WDT.count, WDT.fed > before)
"""


def test_the_setting_starts_one_watchdog_which_the_application_feeds(on_board):
    assert on_board(UPDATER).lines == ["1 True"]


def test_without_the_setting_feeding_does_nothing(on_board):
    body = "import otalink\nprint(otalink.Updater({'name': 'app', 'host': 'h'}, message=None).feed())"
    assert on_board(body).lines == ["None"]


# The restart


# What reset_cause() may give, with the numbers of ports/*/modmachine.c.
ESP32 = {"PWRON_RESET": 1, "HARD_RESET": 2, "WDT_RESET": 3, "DEEPSLEEP_RESET": 4, "SOFT_RESET": 5}
RP2 = {"PWRON_RESET": 1, "WDT_RESET": 3}


@pytest.mark.parametrize(
    ("names", "number", "word"),
    [
        (ESP32, 1, "power-on"),
        (ESP32, 2, "hard"),
        (ESP32, 3, "watchdog"),
        (ESP32, 4, "deepsleep"),
        (ESP32, 5, "soft"),
        (ESP32, 9, "unknown"),
        (RP2, 1, "power-on"),
        (RP2, 3, "watchdog"),
        ({}, 1, "unknown"),
    ],
)
def test_the_cause_of_a_restart_is_a_word(on_board, names, number, word):
    code = f"""
names = {names!r}
names["reset_cause"] = lambda: {number}
sys.modules["machine"] = type("machine", (), names)
from otalink.board_reset import cause
print(cause())
"""
    assert on_board(code).lines == [word]


def test_a_port_that_tells_no_cause_is_unknown(on_board):
    assert on_board("from otalink.board_reset import cause\nprint(cause())").lines == ["unknown"]


# Secrets


NVS = """
class NVS:
    blobs = {("otalink", "ftp"): "s3cret-Pä".encode(), ("otalink", "raw"): b"\\xff\\xfe", ("otalink", "none"): b""}
    def __init__(self, namespace):
        self.namespace = namespace
    def get_blob(self, key, buffer):
        if (self.namespace, key) not in self.blobs:
            raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
        value = self.blobs[self.namespace, key]
        buffer[: len(value)] = value
        return len(value)

sys.modules["esp32"] = type("esp32", (), {"NVS": NVS})
"""
LOAD = """
import otalink.config
try:
    found = otalink.config.load("s.json")
    print(found.password == "s3cret-Pä", found.server[3] == "s3cret-Pä")
except ValueError as error:
    print(error)
"""


@pytest.fixture
def load(on_board, tmp_path):
    """What becomes of a password in the settings, on a board."""

    def load(password, before=""):
        (tmp_path / "s.json").write_text(json.dumps({"name": "app", "host": "h", "password": password}))
        result = on_board(before + LOAD)
        assert "s3cret" not in result.output
        return result.lines

    return load


def test_a_password_comes_out_of_the_environment(load, monkeypatch):
    monkeypatch.setenv("OTALINK_PASSWORD", "s3cret-Pä")
    assert load({"env": "OTALINK_PASSWORD"}) == ["True True"]


def test_a_password_comes_out_of_nvs(load):
    assert load({"nvs": "otalink/ftp"}, NVS) == ["True True"]


@pytest.mark.parametrize(
    ("reference", "before", "said"),
    [
        ({"env": "OTALINK_NONE"}, "", "env OTALINK_NONE is not there: put the secret there"),
        (
            {"env": "X"},
            "import os\nsys.modules['os'] = object()",
            "this board has no environment variables: env X is for",
        ),
        ({"nvs": "otalink/ftp"}, "", "this board has no NVS: nvs otalink/ftp is for an ESP32"),
        ({"nvs": "otalink/ftq"}, NVS, "nvs otalink/ftq is not there: put the secret there"),
        ({"nvs": "otalink/none"}, NVS, "nvs otalink/none is not there: put the secret there"),
        ({"nvs": "otalink/raw"}, NVS, "nvs otalink/raw is no text in UTF-8: put it there as bytes of text"),
    ],
)
def test_a_secret_that_is_not_there_is_said_by_its_key_and_place(load, reference, before, said):
    (line,) = load(reference, before)
    assert line.startswith(f"s.json: password: {said}")


def test_a_secret_with_a_line_end_is_refused_and_not_shown(load, monkeypatch):
    monkeypatch.setenv("OTALINK_PASSWORD", "s3cret\r\nDELE x")
    assert load({"env": "OTALINK_PASSWORD"}) == ["s.json: password must not hold line ends or other control characters"]


def test_an_updater_without_its_password_says_where_it_is_missing_and_starts(on_board):
    lines = on_board(
        """
import json, otalink
with open("s.json", "w") as file:
    json.dump({"name": "app", "host": "h", "password": {"env": "OTALINK_NONE"}}, file)
print(otalink.Updater("s.json").config)
"""
    ).lines
    missing = "s.json: password: env OTALINK_NONE is not there: put the secret there; no updates until then"
    assert lines == [missing, "None"]


def test_the_secret_of_the_link_may_stand_elsewhere_too(on_board, monkeypatch):
    monkeypatch.setenv("LINK_SECRET", "s3cret-Pä")
    code = """
from otalink.link_setup import identity
def link(name):
    return {"link": {"host": "h", "board": "shop-1", "secret": {"env": name}}}
print(identity(link("LINK_SECRET")) == ("shop-1", "s3cret-Pä"))
try:
    identity(link("OTALINK_NONE"))
except ValueError as error:
    print(error)
"""
    assert on_board(code).lines == ["True", "link.secret: env OTALINK_NONE is not there: put the secret there"]


def test_what_shows_the_settings_shows_no_secret(on_board):
    code = """
import otalink
secret = "s3cret-Pä"
settings = {"name": "app", "host": "h", "password": secret, "wifi": {"ssid": "shop", "password": secret}}
settings["link"] = {"host": "h", "board": "shop-1", "secret": secret}
updater = otalink.Updater(settings)
link = otalink.Link.from_config(settings)
reporter = otalink.Reporter(link, updater, settings)
for found in (updater.config, updater, link, reporter, otalink.network):
    print(repr(found), str(found))
# Whatever else is wrong in the settings.
for key, value in (("password", [secret]), ("password", {"env": [secret]}), ("wifi", {"ssid": 5, "password": secret})):
    try:
        otalink.Updater(dict(settings, **{key: value}))
    except ValueError as error:
        print(error)
for value in (5, [secret], secret * 20, secret + "\\n"):
    settings["link"]["secret"] = value
    try:
        otalink.Reporter(link, updater, settings)
    except ValueError as error:
        print(error)
"""
    result = on_board(code)
    assert "s3cret" not in result.output
    assert len(result.lines) == 5 + 3 + 4
