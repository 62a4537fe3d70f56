"""The board's settings."""

from support import raised

from otalink.config import configure, load

LEAST = {"name": "app", "host": "server"}


def config(**changes):
    values = dict(LEAST)
    values.update(changes)
    return configure(values)


def test_what_is_not_set_has_a_default():
    settings = configure(LEAST)
    assert (settings.name, settings.host, settings.port, settings.folder) == ("app", "server", 21, "/")
    assert (settings.policy, settings.restart, settings.start_delay) == ("newer", "reset", 5)
    assert (settings.buffer, settings.attempts) == (None, 5)
    assert (settings.confirm_after, settings.trial_deadline) == (60, 600)
    assert settings.unknown == []


def test_what_is_set_is_taken():
    settings = config(port=2121, jitter=0, interval=0.5 + 1, policy="differs", restart="none", password="pä:ss wörd")
    assert (settings.port, settings.jitter, settings.interval) == (2121, 0, 1.5)
    assert (settings.policy, settings.restart, settings.password) == ("differs", "none", "pä:ss wörd")


def test_a_trial_without_a_deadline_may_last_as_long_as_it_likes():
    assert config(trial_deadline=0, confirm_after=86400).confirm_after == 86400


def test_a_key_that_is_not_known_is_noted_and_no_failure():
    assert config(zeal=1, colour="red").unknown == ["colour", "zeal"]


def test_what_belongs_to_the_link_is_known():
    assert config(link={"host": "h", "board": "press 3"}).unknown == []


def test_what_is_wrong_is_named_with_what_it_may_be():
    for key, value, reason in (
        ("port", "21", "port must be a number from 1 to 65535, not '21'"),
        ("port", 0, "port must be"),
        ("port", 65536, "port must be"),
        ("port", 21.5, "port must be"),
        ("port", True, "port must be"),
        ("port", None, "port must be"),
        ("port", [21], "port must be"),
        ("interval", 0, "interval must be a number from 1 to"),
        ("buffer", 100, "buffer must be a number from 512 to 65536, not 100"),
        ("retry_delay", 61, "retry_delay must be a number from 0 to 60, not 61"),
        ("trial_deadline", 0.5, "trial_deadline must be a number from 0 to 86400, not 0.5"),
        ("trial_deadline", 60, "confirm_after must be below trial_deadline, which is 60"),
        ("confirm_after", 600, "confirm_after must be below trial_deadline, which is 600"),
        ("name", "a_b", "name a_b"),
        ("name", "", "name must be text"),
        ("name", 5, "name must be text"),
        ("host", None, "host is missing"),
        ("host", ["h"], "host must be text"),
        ("folder", "", "folder must be text"),
        ("folder", "/a\r\nDELE x", "folder must not hold line ends"),
        ("policy", "older", "policy must be newer or differs, not 'older'"),
        ("keys", "5f0c93d1a6b27e84", "keys must be an object"),
        ("keys", ["5f0c93d1a6b27e84"], "keys must be an object"),
        ("keys", {"5F0C93D1A6B27E84": "AAAA"}, "keys: '5F0C93D1A6B27E84' is no key"),
        ("keys", {"5f0c": "AAAA"}, "keys: '5f0c' is no key"),
        ("keys", {"5f0c93d1a6b27e84": 5}, "is no key: put what `otalink keys export` prints"),
        ("watchdog", 0.5, "watchdog must be a number from 1 to 3600, not 0.5"),
        ("ntp", 5, "ntp must be the name of a time server such as pool.ntp.org, or null"),
        ("ntp", "", "ntp must be the name"),
        ("password", {"env": ""}, "password must be text, or say where it is"),
        ("password", {"nvs": "ftp"}, "password must be text, or say where it is"),
        ("password", {"nvs": "otalink/a/b"}, "password must be text, or say where it is"),
        ("password", {"nvs": "sixteen-letters-/x"}, "password must be text, or say where it is"),
        ("password", {"file": "x"}, "password must be text, or say where it is"),
        ("password", {"env": "A", "nvs": "b/c"}, "password must be text, or say where it is"),
        ("wifi", {"ssid": "shop", "password": {"env": 5}}, "wifi must be an object"),
        ("wifi", {"ssid": "shop", "country": "Korea"}, "wifi: country must be the two letters of a country"),
        ("wifi", {"ssid": "shop", "power_save": 1}, "wifi: power_save must be true or false"),
        ("wifi", {"ssid": "shop", "pasword": "x"}, "wifi: pasword is not known here: it may be ssid, password,"),
        ("ethernet", [], "ethernet must be an object"),
        ("ethernet", {"driver": "ENC28J60"}, "ethernet: driver must be LAN or WIZNET5K"),
        ("ethernet", {"phy": 8720}, "ethernet: phy must be text"),
        ("ethernet", {"mdc": "23"}, "ethernet: mdc must be a number: that of a pin, or the phy_addr"),
        ("ethernet", {"mdc": -1}, "ethernet: mdc must be a number"),
        ("ethernet", {"spi": 1}, "ethernet: spi must be an object of numbers"),
        ("ethernet", {"ref_clk_mode": "both"}, "ethernet: ref_clk_mode must be in or out"),
        ("wifi", "shop", "wifi must be an object"),
        ("wifi", {"password": "secret"}, "wifi must be an object"),
        ("wifi", {"ssid": ""}, "wifi must be an object"),
        ("wifi", {"ssid": "shop", "password": 12345678}, "wifi must be an object"),
        ("restart", "hard", "restart must be reset, soft or none, not 'hard'"),
    ):
        message = str(raised(ValueError, config, **{key: value}))
        assert reason in message, message


def test_keys_are_known_by_their_ids():
    assert config().keys == {}
    assert config(keys={"5f0c93d1a6b27e84": "AAAA"}).keys == {"5f0c93d1a6b27e84": "AAAA"}


def test_a_wifi_network_may_be_open_or_have_a_password():
    assert config().wifi is None
    for wifi in ({"ssid": "shop"}, {"ssid": "shop", "password": "secret"}):
        assert config(wifi=wifi).wifi == wifi
        assert config(wifi=wifi).unknown == []


def test_an_ethernet_may_be_there_in_its_place():
    assert config().ethernet is None
    wired = {"driver": "WIZNET5K", "spi": {"id": 0, "sck": 18}, "cs": 17, "reset": 20}
    assert config(ethernet=wired).network == (None, wired, None)
    message = str(raised(ValueError, config, ethernet=wired, wifi={"ssid": "shop"}))
    assert message == "wifi and ethernet are both there: keep the one that the board uses"


def test_the_board_is_called_in_its_network_as_over_its_link_as_far_as_that_can_be():
    wifi = {"ssid": "shop"}
    for name, called in (("shop-1", "shop-1"), ("Halle 3/links", "Halle-3-links"), ("-ä-", None), ("x" * 40, "x" * 32)):
        assert config(wifi=wifi, link={"board": name}).network == (wifi, None, called), name
    assert config(wifi=wifi).network == (wifi, None, None)


def test_a_time_server_is_there_unless_none_is_wanted():
    assert config().ntp == "pool.ntp.org"
    assert config(ntp="192.168.1.1").ntp == "192.168.1.1"
    assert config(ntp=None).ntp is None


def test_tls_is_given_to_the_ftp_client():
    assert config().tls is None
    assert config().server[-1] is None
    assert config(tls={"ca": "/ca.der"}).server[-1] == ("/ca.der", "server", True, "pool.ntp.org", None)
    full = {"ca": "ca.der", "server_name": "updates.example", "data": "clear"}
    settings = config(tls=full, keys={"5f0c93d1a6b27e84": ""}, ntp=None)
    assert settings.tls == ("ca.der", "updates.example", False, None, None)
    assert settings.unknown == []


def test_tls_that_cannot_be_is_said():
    for tls, reason in (
        ([], 'tls must be an object, as in {"ca": "/ca.der"}'),
        ({}, "tls: ca must be the path of a certificate on the board, such as /ca.der"),
        ({"ca": ""}, "tls: ca must be the path"),
        ({"ca": "a", "server_name": ""}, "tls: server_name must be the name or address in the server's certificate"),
        ({"ca": "a", "server_name": None}, "tls: server_name must be"),
        ({"ca": "a", "data": "plain"}, "tls: data must be private or clear, not 'plain'"),
        ({"ca": "a", "name": "b"}, "tls: name is not known here: it may be ca, server_name, data"),
        ({"ca": "a", "data": "clear"}, "tls: data can be clear only on a board with keys: releases must be signed"),
    ):
        message = str(raised(ValueError, config, tls=tls))
        assert message.startswith(reason), message


def test_a_secret_may_be_elsewhere_which_is_only_checked_here():
    for reference in ({"env": "OTALINK_PASSWORD"}, {"nvs": "otalink/ftp"}):
        assert config(password=reference).password == reference
        assert config(wifi={"ssid": "shop", "password": reference}).wifi["password"] == reference


def test_the_password_is_in_no_message():
    for password in ("", 12345678, "s3cret\n", ["s3cret"]):
        message = str(raised(ValueError, config, password=password))
        assert message.startswith("password must"), message
        assert "s3cret" not in message
        assert "12345678" not in message


def test_settings_that_are_no_object_are_refused():
    for values in ([], "text", 5, None):
        assert "must be a JSON object" in str(raised(ValueError, configure, values))


def test_a_file_that_is_not_there_is_named():
    assert "nowhere.json cannot be read" in str(raised(ValueError, load, "nowhere.json"))
