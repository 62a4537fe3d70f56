"""What is kept until the host has acknowledged it: none is lost, none comes twice, the order stays."""

import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from link_support import Host, deliver, raw

from otalink.frame import encode_frame
from otalink.message import format_message, is_message, parse_message

FIRMWARE = Path(__file__).parents[2] / "firmware"
COUNT = 10000


def numbers(count, start=0):
    return [str(number) for number in range(start, count)]


def cutting(host, seconds, stopping, seed=70):
    """Breaks all connections at random moments, `seconds` apart at the most, until the test ends."""
    chance = random.Random(seed)
    while not (stopping.wait(chance.uniform(0, seconds)) or host.stopping.is_set()):
        host.cut()


def test_a_kept_text_is_numbered_and_escaped_and_sent_until_it_is_acknowledged(run_link):
    def forgetful(session):
        for _ in range(3):
            session.deliver(session.receive(), acknowledge=False)

    with Host(forgetful, deliver) as host:
        lines = run_link(
            host,
            """
            link = start(message=None)
            for text in ("a@b;c", "zwei ä € 😀\\n\\"", ""):
                await link.send(text, keep=True)
            print(await link.flush(10), link.counts["kept"], link.counts["out"])
            await link.close()
            """,
        )
    assert host.delivered == ["a@b;c", 'zwei ä € 😀\n"', ""]
    assert lines == ["True 0 6"]
    frames = host.wire.decode("utf-16-le")
    assert frames.count("@") == frames.count(";") == 6


def test_a_host_that_acknowledges_nothing_gets_a_window_of_texts_and_plain_ones_go_on(run_link):
    seen = []

    def never(session):
        while (text := session.receive()) is not None:
            seen.append(parse_message(text)[1]["id"] if is_message(text) else text)

    with Host(never) as host:
        run_link(
            host,
            """
            link = make(message=None, window=3)
            await link.send("first")
            for number in range(10):
                await link.send("x", keep=True)
            await link.send("behind")
            asyncio.create_task(link.run())
            await until(lambda: link.counts["out"] == 5)
            await asyncio.sleep(0.2)
            await link.close(0.1)
            """,
        )
    assert seen == ["first", 1, 2, 3, "behind"]


def test_plain_texts_keep_their_place_between_kept_ones(run_link):
    seen = []

    def listen(session):
        while (text := session.receive()) is not None:
            seen.append(text if not is_message(text) else parse_message(text)[1]["data"])
            session.deliver(text)

    with Host(listen) as host:
        run_link(
            host,
            """
            link = start(message=None, window=2, queue=30)
            await link.connected.wait()
            for number in range(20):
                await link.send(str(number), keep=number % 3 == 0)
            await link.flush()
            await link.close()
            """,
        )
    assert [text for text in seen if int(text) % 3 == 0] == numbers(20)[::3]
    assert [text for text in seen if int(text) % 3] == [text for text in numbers(20) if int(text) % 3]


def test_connections_cut_at_random_lose_nothing_double_nothing_and_keep_the_order(run_link):
    with Host(deliver) as host:
        stopping = threading.Event()
        host.start(cutting, host, 0.06, stopping)
        try:
            lines = run_link(
                host,
                f"""
                link = start(message=None, retry=(0.01, 0.02), window=20, queue=40)
                for number in range({COUNT}):
                    await link.send(str(number), keep=True)
                print(await link.flush(30), link.counts["kept"])
                await link.close()
                """,
                timeout=80,
            )
        finally:
            stopping.set()
    assert lines == ["True 0"]
    assert host.delivered == numbers(COUNT)
    assert len(host.sessions) > 20


def test_a_host_that_has_more_than_a_window_of_what_a_restart_sends_again_is_believed(run_link):
    def has_all(session):
        while (text := session.receive()) is not None:
            session.say("ack", sequence=parse_message(text)[1]["sequence"], id=20)

    with Host(has_all) as host:
        lines = run_link(
            host,
            """
            from otalink.outbox_file import OutboxFile

            # What an earlier run of the program has left; who knows how much of it was sent.
            store = OutboxFile("outbox", 32768)
            for number in range(20):
                store.append(str(number))
            link = start(message=None, file="outbox", window=2)
            print(await link.flush(5), link.counts["kept"], link.counts["ignored"])
            await link.close(0)
            """,
        )
    assert lines == ["True 0 0"]


def test_a_flash_that_fails_is_an_error_of_send_and_the_link_goes_on(run_link):
    with Host(deliver) as host:
        lines = run_link(
            host,
            """
            os.mkdir("folder")
            link = start(message=None, file="folder/outbox")
            await link.send("a", keep=True)
            assert await link.flush(10)
            os.rename("folder", "moved")
            try:
                await link.send("b", keep=True)
            except InstallError as error:
                print(error)
            await link.send("plain")
            os.rename("moved", "folder")
            await link.send("c", keep=True)
            print(await link.flush(10), link.counts["connections"])
            await link.close()
            """,
        )
    assert lines == ["folder/outbox cannot be written: is the flash full?", "True 1"]
    assert host.delivered == ["a", "c"]
    assert host.texts == ["plain"]


def test_a_file_that_is_damaged_is_said_and_the_link_goes_on(run_link):
    with Host(deliver) as host:
        lines = run_link(
            host,
            """
            with open("outbox", "w") as file:
                file.write("something else")
            link = make(file="outbox")
            await link.send("a", keep=True)
            with open("outbox", "w") as file:
                file.write("something else")
            asyncio.create_task(link.run())
            await until(lambda: link.counts["kept"] == 0)
            await link.send("b", keep=True)
            print(await link.flush(10))
            await link.close()
            """,
        )
    assert lines == [
        "SAID outbox is no outbox: it is begun anew",
        f"SAID connected to 127.0.0.1:{host.port}",
        "SAID outbox is damaged: 1 texts that were kept are lost",
        "True",
    ]
    assert host.delivered == ["b"]


# Acknowledgements that are none

ACKS = {
    "of another sequence": {"sequence": "0123456789abcdef", "id": 1},
    "of no sequence": {"id": 1},
    "of something not sent": {"sequence": None, "id": 3},
    "giant": {"sequence": None, "id": 10**400},
    "negative": {"sequence": None, "id": -1},
    "true": {"sequence": None, "id": True},
    "a text": {"sequence": None, "id": "1"},
    "a fraction": {"sequence": None, "id": 1.5},
    "a list": {"sequence": [], "id": []},
}


def test_an_acknowledgement_that_cannot_be_is_passed_over(run_link):
    def lie(session):
        kept = [parse_message(session.receive())[1] for _ in range(2)]
        for fields in ACKS.values():
            is_ours = "sequence" in fields and fields["sequence"] is None
            session.say("ack", **(fields | {"sequence": kept[0]["sequence"]} if is_ours else fields))
        session.send("lied")
        assert session.receive() == "go on"
        session.say("ack", sequence=kept[0]["sequence"], id=1)
        session.say("ack", sequence=kept[0]["sequence"], id=1)
        session.send("told")

    with Host(lie, deliver) as host:
        lines = run_link(
            host,
            """
            link = start(message=None)
            await link.send("a", keep=True)
            await link.send("b", keep=True)
            print(await link.receive(), link.counts["kept"], link.counts["ignored"])
            await link.send("go on")
            print(await link.receive(), link.counts["kept"])
            print(await link.flush(10))
            await link.close()
            """,
        )
    assert lines == [f"lied 2 {len(ACKS)}", "told 1", "True"]
    assert host.delivered == ["b"]


HOSTILE = [
    '{"otalink":"pong"}',
    '{"otalink":',
    '{"otalink":"ack"',
    '{"otalink":"ack"}',
    '{"otalink":5}',
    '{"otalink":null}',
    '{"otalink":{"otalink":[]}}',
    '{"otalink":"ack","id":' + "9" * 1400 + "}",
    '{"otalink":' + "[" * 1400,
    '{"otalink":"ask","id":1,"what":"restart","mac":"0"}',
    '{"otalink":"keep","sequence":"x","id":1,"data":"x"}',
    '{"otalink":"ack","sequence":"\\ud800","id":1e999}',
    '{"otalink":""}',
]


def test_what_a_hostile_host_says_is_bounded_and_ends_nothing(run_link):
    def attack(session):
        for text in HOSTILE * 40:
            session.send(text)
        session.send("end")
        deliver(session)

    with Host(attack) as host:
        lines = run_link(
            host,
            """
            link = start(message=None)
            await link.connected.wait()
            await link.send("kept", keep=True)
            gc.collect()
            before = gc.mem_alloc()
            print(await link.receive(), link.counts["connections"], link.counts["ignored"])
            gc.collect()
            print(gc.mem_alloc() - before < 3000)
            print(await link.flush(10))
            await link.close()
            """,
        )
    assert lines == [f"end 1 {40 * (len(HOSTILE) - 1)}", "True", "True"]
    assert host.delivered == ["kept"]


def test_a_host_that_never_pauses_does_not_hold_the_application_up(run_link):
    def flood(session):
        pongs = b"".join('@00018C90CFD12{"otalink":"pong"};'.encode("utf-16-le") for _ in range(1000))
        while True:
            session.socket.sendall(pongs)

    with Host(flood) as host:
        lines = run_link(
            host,
            """
            link = start(message=None)
            ticker = Ticker()
            ticking = asyncio.create_task(ticker.run())
            await asyncio.sleep(1)
            ticking.cancel()
            await link.close(0)
            print(ticker.gap < 200, sum(link.counts["in"]) > 1000)
            """,
        )
    assert lines == ["True True"]


# The service


def test_a_service_speaks_first_and_answers_what_is_its_own(run_link):
    def host_script(session):
        session.deliver(session.receive())
        session.say("welcome", challenge="c")
        session.say("ask", id=1, what="fail")
        session.say("ask", id=2, what="check")
        deliver(session)

    with Host(host_script) as host:
        lines = run_link(
            host,
            """
            from otalink.message import format_message

            class Service:
                def connected(self):
                    return [format_message("hello", board="b")]

                def message(self, kind, fields):
                    if fields.get("what") == "fail":
                        raise KeyError("x")
                    if kind == "ask":
                        return format_message("answer", id=fields["id"], done=True)

            link = make()
            link.service = Service()
            print(link.send_own(format_message("report", event="early")))
            asyncio.create_task(link.run())
            await link.send("plain")
            await link.connected.wait()
            print(link.send_own(format_message("report", event="offered")))
            print(link.send_own(format_message("report", event="applied"), keep=True))
            await link.flush()
            await asyncio.sleep(0.2)
            await link.close()
            """,
        )
    assert lines == [
        "False",
        f"SAID connected to 127.0.0.1:{host.port}",
        "True",
        "True",
        "SAID the link's service failed with KeyError: x",
    ]
    assert [kind for kind, _ in host.own] == ["hello", "report", "answer"]
    assert host.own[0] == ("hello", {"board": "b"})
    assert host.texts == ["plain"]
    assert [parse_message(text) for text in host.delivered] == [("report", {"event": "applied"})]


def test_answers_to_a_host_that_asks_without_end_and_never_reads_are_bounded(run_link):
    def flood(session):
        asks = encode_frame(format_message("ask", id=1)) * 100
        while True:
            session.socket.sendall(asks)

    with Host(flood) as host:
        lines = run_link(
            host,
            """
            class Service:
                def connected(self):
                    return ()

                def message(self, kind, fields):
                    return '{"otalink":"answer"}' + "x" * 1000

            link = make(message=None)
            link.service = Service()
            asyncio.create_task(link.run())
            await until(lambda: len(link._own) == 16)
            for _ in range(200):
                await asyncio.sleep_ms(2)
                assert len(link._own) <= 16, len(link._own)
            print(link.connected.is_set())
            await link.close(0)
            """,
        )
    assert lines == ["True"]


def test_without_a_service_what_is_its_own_is_passed_over(run_link):
    with Host(raw(), deliver) as host:
        host.scripts[0] = lambda session: (session.say("welcome", challenge="c"), session.send("x"), deliver(session))
        lines = run_link(
            host,
            """
            link = start(message=None)
            print(await link.receive(), link.counts["ignored"])
            await link.close()
            """,
        )
        assert host.wire == b""
    assert lines == ["x 1"]


# A board that dies

BOARD = """
import vfs
class Flash:
    # A chip in a file of the machine's, opened there before the board's flash is mounted.
    def __init__(self, path):
        self.file = open(path, "r+b")
    def readblocks(self, block, buf, offset=0):
        self.file.seek(block * 4096 + offset)
        self.file.readinto(buf)
    def writeblocks(self, block, buf, offset=0):
        self.file.seek(block * 4096 + offset)
        self.file.write(buf)
        self.file.flush()
    def ioctl(self, operation, argument):
        if operation == 4:
            return {blocks}
        if operation == 5:
            return 4096
        if operation == 6:
            return 0

chip = Flash({image!r})
try:
    system = vfs.VfsLfs2(chip, progsize=256, readsize=256)
except OSError:
    vfs.VfsLfs2.mkfs(chip, progsize=256, readsize=256)
    system = vfs.VfsLfs2(chip, progsize=256, readsize=256)
import otalink.link, otalink.outbox_file, otalink.link_setup, otalink.link_errors, asyncio
asyncio.StreamReader, asyncio.Event
vfs.mount(system, "/flash")

async def main():
    link = otalink.link.Link({host!r}, {port}, retry=(0.01, 0.05), message=None, file="/flash/outbox",
                             file_size=4096, window=5)
    asyncio.create_task(link.run())
    # Ids count from 1 without gaps: the last one tells how many were taken.
    number = link._outbox.store.last
    while number < {count}:
        await link.send(str(number), keep=True)
        number += 1
    assert await link.flush(20)
    await link.close()
    print("END", number)

asyncio.run(main())
"""


def test_a_board_that_is_killed_at_random_loses_nothing_that_send_had_taken(micropython, tmp_path):
    image = tmp_path / "flash"
    image.write_bytes(b"\xff" * 4096 * 64)
    count = 600
    chance = random.Random(18)
    kills = 0
    with Host(deliver) as host:
        stopping = threading.Event()
        host.start(cutting, host, 0.3, stopping)
        source = tmp_path / "board.py"
        source.write_text(
            f"import sys\nsys.path.insert(0, {str(FIRMWARE)!r})\n"
            + BOARD.format(blocks=64, image=str(image), host=host.host, port=host.port, count=count)
        )
        # While boards are killed, and connections cut.
        while True:
            board = subprocess.Popen(
                [micropython, "-X", "heapsize=256k", source],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            # After a time, or after some messages, so that a fast board is killed as well.
            deadline = time.monotonic() + chance.uniform(0.15, 0.5)
            enough = len(host.delivered) + chance.randint(1, count // 4)
            while board.poll() is None and time.monotonic() < deadline and len(host.delivered) < enough:
                time.sleep(0.002)
            killed = board.poll() is None
            board.send_signal(signal.SIGKILL)
            output, _ = board.communicate()
            if not killed or board.returncode != -signal.SIGKILL:
                assert board.returncode == 0, output
                assert output == f"END {count}\n"
                break
            kills += 1
        stopping.set()
    assert host.delivered == numbers(count)
    assert kills >= 3
    assert len(host.highest) == 1


@pytest.mark.parametrize("again", [False, True])
def test_what_was_acknowledged_before_a_clean_end_is_not_sent_again(run_link, again):
    with Host(deliver) as host:
        lines = run_link(
            host,
            f"""
            for count in (3, {2 if again else 0}):
                link = start(message=None, file="outbox")
                for number in range(count):
                    await link.send(str(number), keep=True)
                await link.connected.wait()
                await link.close()
                print(link.counts["out"])
            """,
        )
    assert lines == ["3", "2" if again else "0"]
    assert host.delivered == ["0", "1", "2", *(["0", "1"] if again else [])]
    assert list(host.highest.values()) == [5 if again else 3]
