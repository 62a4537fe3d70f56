"""The updater alone, where the application does not start any more: it joins the network of the settings by itself."""

import pytest
from updater_support import Server, publish

# A radio is what no machine of the tests has.
NETWORK = """
import sys

class WLAN:
    joined = []
    def __init__(self, interface):
        assert interface == "station"
    def active(self, on):
        assert on
    def isconnected(self):
        return bool(self.joined) and {answers}
    def connect(self, ssid, password):
        self.joined.append((ssid, password))

class Network:
    STA_IF = "station"
    WLAN = WLAN

sys.modules["network"] = Network()
"""

RUN = """
from otalink.board import join

async def attempt_join(wifi):
    try:
        print(await join(wifi, 0.3), Network.WLAN.joined)
    except ImportError as error:
        print("ImportError")

await attempt_join(settings["wifi"])
await attempt_join(settings["wifi"])
"""


@pytest.fixture
def server(tmp_path):
    publish(tmp_path / "served", {"app_1.0.0.1.py": b"VERSION = 1\n"})
    with Server(tmp_path / "served") as server:
        yield server


def test_the_network_is_joined_once(board, server):
    lines = board.run(server, RUN, NETWORK.format(answers=True), wifi={"ssid": "shop", "password": "secret"})
    assert lines == ["True [('shop', 'secret')]"] * 2


def test_a_network_that_does_not_answer_is_waited_for_and_no_more(board, server):
    lines = board.run(server, RUN, NETWORK.format(answers=False), wifi={"ssid": "shop"})
    assert lines == ["False [('shop', None)]", "False [('shop', None), ('shop', None)]"]


def test_a_board_without_wifi_says_so(board, server):
    assert board.run(server, RUN, wifi={"ssid": "shop"}) == ["ImportError"] * 2


# The board restarts by leaving the script, and its settings lie beside it.
RECOVER = """
import json
import otalink.board, otalink.updater

class ResetError(BaseException):
    pass

class Machine:
    def reset(self):
        raise ResetError

sys.modules["machine"] = Machine()
settings = json.load(open("otalink.json"))
join, Updater = otalink.board.join, otalink.updater.Updater
otalink.board.join = lambda wifi: join(wifi, 0.2)
otalink.updater.Updater = lambda: Updater(settings, root="board")
try:
    import otalink.recovery
except ResetError:
    print("restarted", Network.WLAN.joined)
"""


@pytest.mark.parametrize("answers", [True, False])
def test_recovery_joins_the_network_and_looks_for_a_release(board, server, on_board, answers):
    # This writes the settings.
    board.run(server, "print(make().installed())", wifi={"ssid": "shop", "password": "secret"}, restart="reset")
    lines = on_board(NETWORK.format(answers=answers) + RECOVER).lines
    assert lines[0].startswith("otalink: the application does not start: looking for a release every 60 s")
    assert any("is committed; restarting" in line for line in lines), lines
    assert any("the Wi-Fi network shop cannot be joined" in line for line in lines) == (not answers)
    assert lines[-1] == "restarted [('shop', 'secret')]"
