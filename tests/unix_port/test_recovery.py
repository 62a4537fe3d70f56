"""The updater alone, where the application does not start any more: it brings the network up by itself."""

from pathlib import Path

import pytest
from updater_support import Server, publish

# The board restarts by leaving the script, and its settings lie beside it.
RECOVER = """
sys.path.append({here!r})
import json
import radio
from radio import air
module = radio.use("esp32")
import otalink.network, otalink.updater
otalink.network.TIMES_MS[:] = 200, 10, 40, 10, 10

class ResetError(BaseException):
    pass

class Machine:
    fed = 0
    def reset(self):
        raise ResetError
    def WDT(self, timeout):
        self.timeout = timeout
        return self
    def feed(self):
        self.fed += 1

machine = sys.modules["machine"] = Machine()
settings = json.load(open("otalink.json"))
Updater = otalink.updater.Updater
otalink.updater.Updater = lambda: Updater(settings, root="board")
{before}
try:
    import otalink.recovery
except ResetError:
    print("restarted", [entry[1:] for entry in air.log if entry[0] == "connect"][-1:], machine.fed > 10)
"""
HERE = str(Path(__file__).parent)


@pytest.fixture
def server(tmp_path):
    publish(tmp_path / "served", {"app_1.0.0.1.py": b"VERSION = 1\n"})
    with Server(tmp_path / "served") as server:
        yield server


def recover(board, server, on_board, before="pass", **changes):
    # This writes the settings.
    board.run(server, "print(make(message=None).installed())", restart="reset", **changes)
    return on_board(RECOVER.format(here=HERE, before=before)).lines


WIFI = {"ssid": "shop", "password": "secret"}


def test_recovery_joins_the_network_and_looks_for_a_release(board, server, on_board):
    lines = recover(board, server, on_board, wifi=WIFI)
    assert lines[0].startswith("otalink: the application does not start: looking for a release every 60 s")
    assert lines[1] == "in the Wi-Fi network shop as 192.168.4.7"
    assert any("is committed; restarting" in line for line in lines), lines
    assert lines[-1] == "restarted [('shop', 'secret')] False"


def test_recovery_waits_for_a_network_that_is_not_there(board, server, on_board):
    lines = recover(board, server, on_board, "air.go_away(600)", wifi=WIFI)
    assert lines[1] == "there is no Wi-Fi network shop here: is its access point on, and its name right?"
    assert lines[2] == "in the Wi-Fi network shop as 192.168.4.7"
    assert lines[-1].startswith("restarted")


def test_recovery_without_a_network_in_the_settings_touches_none(board, server, on_board):
    lines = recover(board, server, on_board)
    assert any("is committed; restarting" in line for line in lines), lines
    assert lines[-1] == "restarted [] False"


FED_WHILE_IT_WAITS = """
async def wait():
    fed = machine.fed
    while machine.fed < fed + 2:
        await otalink.network.asyncio.sleep_ms(20)
otalink.network.wait = wait
"""


def test_recovery_feeds_the_watchdog_that_the_application_would(board, server, on_board):
    lines = recover(board, server, on_board, FED_WHILE_IT_WAITS, watchdog=8)
    assert lines[-1] == "restarted [] True"
