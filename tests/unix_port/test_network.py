"""The network of the settings, brought up and kept up: with a radio that is a stand-in, and all else as it is."""

import textwrap
from pathlib import Path

import pytest
from link_support import Host, script
from updater_support import Server, publish

HERE = str(Path(__file__).parent)
# Short, so that tests are.
QUICK = """
import sys
sys.path.append({here!r})
import radio
from radio import air
module = radio.use({port!r})
import otalink.network
from otalink.board_setup import check as checked
otalink.network.TIMES_MS[:] = 200, 10, 40, 10, 10
"""
START = """
lines = []
settings = {"wifi": {"ssid": "shop", "password": "secret"}}

def use(wifi=None, **more):
    settings["wifi"].update(wifi or {})
    settings.update(more)
    otalink.network.use(checked(settings), lines.append)

def log(kind):
    return [entry[1:] for entry in air.log if entry[0] == kind]
"""
BOTH = pytest.mark.parametrize("port", ["esp32", "rp2"])


@pytest.fixture
def run(on_board):
    """Runs the body of `async def main()` on a board of a port; gives the lines that it printed."""

    def run(port, body, heap="512k"):
        prelude = QUICK.format(here=HERE, port=port) + START
        body = textwrap.dedent(body) + "\notalink.network.stop()"
        return on_board(prelude + script(("127.0.0.1", 1), body), heap=heap).lines

    return run


@BOTH
def test_a_network_is_joined_and_its_address_said_once(run, port):
    lines = run(
        port,
        """
        use()
        print(await otalink.network.up(), await otalink.network.up(), lines)
        print(log("connect"), ("active", True) in air.log)
        """,
    )
    assert lines == ["True True ['in the Wi-Fi network shop as 192.168.4.7']", "[('shop', 'secret')] True"]


@BOTH
def test_the_country_and_the_host_name_come_ahead_of_the_radio_and_the_power_save_behind(run, port):
    lines = run(
        port,
        """
        use({"country": "KR", "power_save": False}, link={"board": "Shop 1 / left"})
        await otalink.network.up()
        order = [entry[0] for entry in air.log]
        print(log("country"), log("hostname"), order.index("country") < order.index("active"))
        print(order.index("hostname") < order.index("connect"), ([("pm", 0)],) in log("config"))
        """,
    )
    assert lines == ["[('KR',)] [('Shop-1---left',)] True", "True True"]


@BOTH
def test_an_open_network_is_joined_without_a_password(run, port):
    lines = run(
        port,
        """
        air.networks["open"] = None
        otalink.network.use(checked({"wifi": {"ssid": "open"}}), lines.append)
        print(await otalink.network.up(), log("connect"))
        """,
    )
    assert lines == ["True [('open', None)]"]


@BOTH
def test_a_board_that_is_in_the_network_already_is_left_alone(run, port):
    lines = run(
        port,
        """
        module.station.active(True)
        module.station.connect("shop", "secret")
        await until(module.station.isconnected)
        use()
        print(await otalink.network.up(), log("connect"))
        """,
    )
    assert lines == ["True [('shop', 'secret')]"]


@pytest.mark.parametrize(("port", "status"), [("esp32", 15), ("esp32", 202), ("esp32", 204), ("rp2", -3)])
def test_a_wrong_password_is_said_once_and_tried_again(run, port, status):
    lines = run(
        port,
        f"""
        air.networks["shop"] = "another"
        air.status = {status}
        use()
        print(await otalink.network.up(0.05))
        await until(lambda: len(log("connect")) > 3)
        print(lines)
        air.networks["shop"], air.status = "secret", None
        print(await otalink.network.up(), lines[1:])
        """,
    )
    refused = "the Wi-Fi network shop refuses the password: put the right one under wifi in /otalink.json"
    assert lines == ["False", f"['{refused}']", "True ['in the Wi-Fi network shop as 192.168.4.7']"]


@BOTH
def test_a_network_that_is_not_there_is_waited_for(run, port):
    lines = run(
        port,
        """
        air.networks.clear()
        use()
        asyncio.create_task(otalink.network.up())
        await until(lambda: len(log("connect")) > 3)
        print(lines)
        air.networks["shop"] = "secret"
        print(await otalink.network.up(), lines[1:])
        """,
    )
    missing = "there is no Wi-Fi network shop here: is its access point on, and its name right?"
    assert lines == [f"['{missing}']", "True ['in the Wi-Fi network shop as 192.168.4.7']"]


@BOTH
def test_what_else_goes_wrong_is_said_with_the_drivers_number(run, port):
    lines = run(
        port,
        """
        air.delay, air.status = 10000, 77
        use()
        asyncio.create_task(otalink.network.up())
        await until(lambda: lines)
        print(lines)
        air.delay, air.status = 0, None
        await otalink.network.up()
        """,
    )
    assert lines == ["['the Wi-Fi network shop cannot be joined (status 77 of its driver)']"]


@BOTH
def test_a_network_that_is_lost_is_joined_again_as_often_as_that_is(run, port):
    lines = run(
        port,
        """
        use()
        for _ in range(3):
            await otalink.network.up()
            air.go_away(100)
            print(await otalink.network.up(0))
            await until(lambda: "lost" in lines[-1])
        await otalink.network.up()
        print([line.split(" ")[0] for line in lines if "there is no" not in line])
        """,
    )
    assert lines == ["False"] * 3 + ["['in', 'the', 'in', 'the', 'in', 'the', 'in']"]


def test_a_driver_that_fails_is_said_and_ends_nothing(run):
    lines = run(
        "esp32",
        """
        def fail(*arguments):
            raise OSError("Wifi Internal Error")
        connect, module.station.connect = module.station.connect, fail
        use()
        asyncio.create_task(otalink.network.up())
        await until(lambda: lines)
        await asyncio.sleep_ms(100)
        module.station.connect = connect
        print(await otalink.network.up(), lines)
        """,
    )
    assert lines == [
        "True ['the network cannot be joined: OSError: Wifi Internal Error', "
        "'in the Wi-Fi network shop as 192.168.4.7']"
    ]


def test_between_two_tries_it_waits_longer_and_longer_and_at_most_a_minute(run):
    lines = run(
        "rp2",
        """
        otalink.network.TIMES_MS[1:3] = 1000, 60000
        delays = [[otalink.network._delay(failures) for _ in range(50)] for failures in (1, 3, 7, 1000)]
        for found, most in zip(delays, (1000, 4000, 60000, 60000)):
            print(most // 2 <= min(found) < max(found) <= most)
        """,
    )
    assert lines == ["True"] * 4


def test_whoever_asks_shares_one_task_and_the_first_settings(run):
    lines = run(
        "rp2",
        """
        use()
        otalink.network.use(checked({"wifi": {"ssid": "another"}}), print)
        print(await asyncio.gather(*[otalink.network.up() for _ in range(5)]), log("connect"), len(lines))
        """,
    )
    assert lines == ["[True, True, True, True, True] [('shop', 'secret')] 1"]


def test_an_application_brings_the_network_up_by_the_settings_on_its_flash(run, tmp_path):
    (tmp_path / "s.json").write_text('{"wifi": {"ssid": "shop", "password": "secret"}}')
    lines = run("rp2", "print(await otalink.network.up(config='s.json'))")
    assert lines == ["in the Wi-Fi network shop as 192.168.4.7", "True"]
    (tmp_path / "s.json").write_text('{"name": "app"}')
    assert run("rp2", "print(await otalink.network.up(config='s.json'), air.log)") == ["True []"]
    (tmp_path / "s.json").write_text('{"wifi": {"ssid": ""}}')
    lines = run(
        "rp2",
        """
        try:
            await otalink.network.up(config="s.json")
        except ValueError as error:
            print(error)
        """,
    )
    assert lines == ['s.json: wifi must be an object of texts, as in {"ssid": "shop", "password": "..."}']


def test_a_port_without_a_network_module_is_taken_to_be_in_one(run):
    lines = run("rp2", "del sys.modules['network']\nuse()\nprint(await otalink.network.up(), lines)")
    assert lines == ['True ["this board\'s port has no network of its own: it is taken to be in one already"]']


def test_a_board_without_wifi_says_so(run):
    lines = run("rp2", "del module.WLAN\nuse()\nprint(await otalink.network.up(0.1), lines)")
    assert lines == ["False ['this board has no Wi-Fi: take wifi out of /otalink.json']"]


# Secrets


def test_the_password_of_the_network_may_stand_in_the_environment(run, monkeypatch):
    monkeypatch.setenv("WIFI_PASSWORD", "secret")
    lines = run("esp32", "use({'password': {'env': 'WIFI_PASSWORD'}})\nprint(await otalink.network.up())")
    assert lines == ["True"]


def test_a_password_that_is_not_where_the_settings_say_is_said_by_its_place(run):
    lines = run("esp32", "use({'password': {'env': 'OTALINK_NONE'}})\nprint(await otalink.network.up(0.1), lines)")
    assert lines == ["False ['wifi.password: env OTALINK_NONE is not there: put the secret there']"]


# Ethernet


PINS = """
class Pin:
    IN, OUT = 1, 3
    def __init__(self, number):
        self.number = number
    def __repr__(self):
        return f"pin {self.number}"

class SPI:
    def __init__(self, number, **options):
        self.text = f"spi {number} {sorted(options.items())}"
    def __repr__(self):
        return self.text

class machine:
    pass

machine.Pin, machine.SPI = Pin, SPI
sys.modules["machine"] = machine
# The cable, and what the driver was made with.
cable = {"in": True}
made = []

class Lan:
    def __init__(self, *arguments, **options):
        if options.get("phy_addr", 0) > 31:
            raise ValueError("invalid phy address")
        made.append((arguments, sorted(options.items())))
    def active(self, on):
        made.append(on)
    def isconnected(self):
        return cable["in"]
    def ifconfig(self):
        return ("10.0.0.5", "", "", "")

module.LAN = module.WIZNET5K = Lan
module.PHY_LAN8720 = 1

def plug(**ethernet):
    otalink.network.use(checked({"ethernet": ethernet}), lines.append)

"""


@pytest.fixture
def run_wired(run):
    return lambda body: run("esp32", PINS + textwrap.dedent(body))


def test_an_ethernet_is_made_of_the_settings(run_wired):
    lines = run_wired(
        """
        plug(phy="LAN8720", mdc=23, mdio=18, power=12, ref_clk=17, ref_clk_mode="out")
        print(await otalink.network.up(), lines, made)
        """
    )
    options = (
        "[('mdc', pin 23), ('mdio', pin 18), ('phy_addr', 0), ('phy_type', 1), ('power', pin 12), ('ref_clk', pin 17), "
        "('ref_clk_mode', 3)]"
    )
    assert lines == [f"True ['on the Ethernet as 10.0.0.5'] [((), {options}), True]"]


def test_an_ethernet_chip_on_spi_is_made_of_the_settings(run_wired):
    lines = run_wired(
        """
        plug(driver="WIZNET5K", spi={"id": 0, "sck": 18, "mosi": 19, "miso": 16, "baudrate": 20000000}, cs=17, reset=20)
        print(await otalink.network.up(), made)
        """
    )
    spi = "spi 0 [('baudrate', 20000000), ('miso', pin 16), ('mosi', pin 19), ('sck', pin 18)]"
    assert lines == [f"True [(({spi}, pin 17, pin 20), []), True]"]


def test_a_cable_that_is_out_is_said_and_waited_for(run_wired):
    lines = run_wired(
        """
        cable["in"] = False
        plug(phy="LAN8720", mdc=23, mdio=18)
        print(await otalink.network.up(0.5), lines)
        cable["in"] = True
        print(await otalink.network.up(), lines[1:])
        """
    )
    out = "no Ethernet: is the cable plugged in, and does somebody there give addresses (DHCP)?"
    assert lines == [f"False ['{out}']", "True ['on the Ethernet as 10.0.0.5']"]


@pytest.mark.parametrize(
    ("before", "settings", "said"),
    [
        ("del module.LAN", 'phy="LAN8720"', "this board has no driver LAN: its firmware knows WIZNET5K and WLAN"),
        ("pass", 'phy="LAN1"', "LAN does not start: '_Network' object has no attribute 'PHY_LAN1'"),
        ("pass", 'phy="LAN8720", phy_addr=40', "LAN does not start: invalid phy address"),
    ],
)
def test_an_ethernet_that_this_board_has_not_is_one_line(run_wired, before, settings, said):
    lines = run_wired(f"{before}\nplug({settings})\nprint(await otalink.network.up(0.2))\nprint(*lines)")
    assert lines == ["False", f"ethernet: {said}"]


# What needs the network


NEW = {"app_1.0.0.2.py": bytes(range(256)) * 2000}


@pytest.fixture
def folder(tmp_path):
    publish(tmp_path / "served", NEW)
    return tmp_path / "served"


WIFI = {"ssid": "shop", "password": "secret"}


def test_an_updater_waits_for_the_network_before_it_looks(board, folder):
    with Server(folder) as server:
        lines = board.run(
            server,
            """
            updater = make()
            task = asyncio.create_task(updater.run())
            air.go_away(300)
            while not any("committed" in line for line in updater.messages):
                await asyncio.sleep_ms(10)
            task.cancel()
            otalink.network.stop()
            """,
            QUICK.format(here=HERE, port="esp32"),
            wifi=WIFI,
            jitter=0,
        )
        assert lines[0] == "there is no Wi-Fi network shop here: is its access point on, and its name right?"
        assert lines[1] == "in the Wi-Fi network shop as 192.168.4.7"
        assert lines[2] == "app 1.0.0.2 is offered, no release is here"


def test_a_download_goes_on_once_a_network_that_was_lost_is_there_again(board, folder):
    size = len(NEW["app_1.0.0.2.py"])
    gone = []

    def during(name, sent):
        # The server is out of reach for as long as the network is away, or nearly so.
        if name.startswith("app") and sent > size // 2 and not gone:
            gone.append(sent)
            server.go_down(0.7)

    with Server(folder, during=during) as server:
        lines = board.run(
            server,
            """
            def lose(done, total):
                if done > total // 4 and air.away is None:
                    air.go_away(1500)

            updater = make(progress=lose)
            task = asyncio.create_task(updater.run())
            while not any("committed" in line for line in updater.messages):
                await asyncio.sleep_ms(10)
            task.cancel()
            otalink.network.stop()
            """,
            QUICK.format(here=HERE, port="rp2"),
            wifi=WIFI,
            jitter=0,
            attempts=1,
        )
    assert gone
    assert "the network is lost: joining it again" in lines
    assert lines.count("in the Wi-Fi network shop as 192.168.4.7") == 2
    assert lines[-1].startswith("app 1.0.0.2 is committed")
    assert 0 < server.sent["app_1.0.0.2.py"] < 2 * size


def test_a_link_waits_for_the_network(run):
    with Host() as host:
        lines = run(
            "esp32",
            f"""
            air.go_away(300)
            settings["link"] = {{"host": "127.0.0.1", "port": {host.port}, "retry": [0.01, 0.02]}}
            link = otalink.Link.from_config(settings, message=lines.append)
            asyncio.create_task(link.run())
            await link.connected.wait()
            await link.close()
            print("\\n".join(lines))
            """,
        )
        address = f"127.0.0.1:{host.port}"
    assert lines == [
        "there is no Wi-Fi network shop here: is its access point on, and its name right?",
        "in the Wi-Fi network shop as 192.168.4.7",
        f"connected to {address}",
    ]


def test_without_settings_of_a_network_nothing_of_it_is_loaded(board, folder):
    with Server(folder) as server:
        lines = board.run(
            server,
            """
            updater = make(message=None)
            task = asyncio.create_task(updater.run())
            while not any("committed" in line for line in updater.messages):
                await asyncio.sleep_ms(10)
            task.cancel()
            print([name for name in sys.modules if "board" in name or "network" in name])
            """,
            jitter=0,
        )
    assert lines == ["[]"]
