"""The link of a board: connection, frames, faults, bounds, and a clean end."""

import socket
import time

import pytest
from link_support import Host, deaf, deliver, raw, say, silent, unused_port

from otalink.frame import encode_frame
from otalink.message import format_message


def said(host, text):
    return f"SAID {text.format(f'127.0.0.1:{host.port}')}"


def test_texts_go_both_ways(run_link):
    with Host(say("one", "zwei ä € 😀", "")) as host:
        lines = run_link(
            host,
            """
            link = start()
            await link.send("first")
            await link.send("zwei ä € 😀")
            for _ in range(3):
                print("got", await link.receive())
            await link.close()
            """,
        )
    assert lines == [said(host, "connected to {}"), "got one", "got zwei ä € 😀", "got "]
    assert host.texts == ["first", "zwei ä € 😀"]


@pytest.mark.parametrize("profile", ["utf-16-le", "utf-8"])
def test_the_wire_has_the_frames_of_note_70_and_nothing_else(run_link, profile):
    texts = ["ABCDEFGHIJ", "", "x" * 1500, '{"otalinked":1}', "a@b;c"]
    with Host(lambda session: session.read_all()) as host:
        run_link(
            host,
            f"""
            link = start(profile={profile!r}, message=None)
            await link.connected.wait()
            for text in {texts!r}:
                await link.send(text)
            await link.send({encode_frame("bytes", profile)!r})
            await link.close()
            """,
        )
    sent = [*texts, encode_frame("bytes", profile)]
    assert host.wire == b"".join(encode_frame(data, profile) for data in sent)
    if profile == "utf-16-le":
        assert host.wire.startswith("@00010A80D6516ABCDEFGHIJ;".encode("utf-16-le"))


def test_texts_are_iterated_until_the_link_is_closed(run_link):
    with Host(say("a", "b", "end")) as host:
        lines = run_link(
            host,
            """
            link = start(message=None)
            async for text in link:
                print(text)
                if text == "end":
                    await link.close()
            print(await link.receive())
            """,
        )
    assert lines == ["a", "b", "end", "None"]


# A connection that cannot be had, or breaks


def test_what_cannot_be_reached_is_said_once_and_tried_again_until_it_is_there(run_link):
    port = unused_port()
    lines = run_link(
        ("127.0.0.1", port),
        """
        link = start()
        await asyncio.sleep(2)
        print(link.connected.is_set())
        await link.close()
        """,
    )
    assert lines == [
        f"SAID cannot reach 127.0.0.1:{port} (connection refused): is the host's `otalink peer` running, "
        "is the network up?",
        "False",
    ]


def test_a_name_that_is_not_known_is_said(run_link):
    lines = run_link(
        ("no-such-host.invalid", 3377),
        """
        link = start()
        await asyncio.sleep(0.2)
        await link.close()
        """,
    )
    assert lines == [
        "SAID cannot reach no-such-host.invalid:3377: its name cannot be looked up: is it right, is the network up?"
    ]


def test_tries_come_at_growing_bounded_and_different_times(run_link):
    lines = run_link(
        ("127.0.0.1", unused_port()),
        """
        link = make(retry=(1, 60))
        for failures in (1, 2, 3, 6, 7, 8, 100, 100000):
            found = [link._delay(failures) for _ in range(200)]
            most = min(1000 << min(failures - 1, 20), 60000)
            assert all(most // 2 <= delay <= most for delay in found), (failures, min(found), max(found))
            assert len(set(found)) > 100
        await link.close()
        """,
    )
    assert lines == []


def test_a_host_that_hangs_up_at_once_is_not_hammered(run_link):
    """Only a connection that proved good lets the delays begin anew."""
    with Host(lambda session: None) as host:
        lines = run_link(
            host,
            """
            link = start(retry=(0.1, 0.4))
            await asyncio.sleep(2.2)
            await link.close()
            """,
        )
        # At 0, and then after at most 0.1, 0.2, 0.4, 0.4 ... at least half of that.
        assert 5 <= len(host.sessions) <= 14
    assert lines == [said(host, "connected to {}"), said(host, "{} closed the link: connecting anew")]


def test_after_a_good_connection_the_next_one_comes_soon(run_link):
    def once(session):
        session.send("good")

    with Host(once) as host:
        run_link(
            host,
            """
            link = start(retry=(0.05, 60), message=None)
            for _ in range(12):
                await link.receive()
            await link.close()
            """,
        )
        assert len(host.sessions) >= 12


def test_a_host_that_restarts_in_mid_stream_is_found_again(run_link):
    count = 300

    def run(session):
        for _ in range(50):
            session.deliver(session.receive())
        # It goes, and comes back on the same port.
        if len(host.sessions) < 5:
            host.hang_up()
            time.sleep(0.1)
            host.listen()
            return
        deliver(session)

    with Host(run) as host:
        lines = run_link(
            host,
            f"""
            link = start()
            for number in range({count}):
                await link.send(str(number), keep=True)
            assert await link.flush(20)
            await link.close()
            """,
        )
    assert host.delivered == [str(number) for number in range(count)]
    assert lines.count(said(host, "connected to {}")) >= 4


def test_a_half_open_connection_is_noticed_and_made_again(run_link):
    with Host(silent, deliver) as host:
        lines = run_link(
            host,
            """
            link = start(heartbeat=0.3)
            await until(lambda: link.counts["connections"] == 2)
            await asyncio.sleep(1.5)
            print(link.counts["connections"], link.connected.is_set())
            await link.close()
            """,
        )
        pings = encode_frame(format_message("ping"))
        assert bytes(host.sessions[0].raw) in (pings * 2, pings * 3)
        assert host.own.count(("ping", {})) >= 2
    assert lines[1:] == [
        said(host, "{} has gone silent: connecting anew"),
        said(host, "connected to {}"),
        "2 True",
    ]


def test_a_deadline_alone_sends_nothing(run_link):
    with Host(silent, deliver) as host:
        run_link(
            host,
            """
            link = start(deadline=0.4)
            await until(lambda: link.counts["connections"] == 2)
            await link.close()
            """,
        )
        assert host.wire == b""


def test_a_connection_on_which_something_comes_is_alive_without_pings(run_link):
    def chat(session):
        for number in range(12):
            session.send(str(number))
            time.sleep(0.1)
        session.wait()

    with Host(chat) as host:
        run_link(
            host,
            """
            link = start(heartbeat=0.5)
            for _ in range(12):
                await link.receive()
            print(link.counts)
            await link.close()
            """,
        )
        assert host.wire == b""
        assert len(host.sessions) == 1


def test_an_application_that_holds_everything_up_does_not_lose_its_connection(run_link):
    half = encode_frame("whole")

    def run(session):
        session.socket.sendall(half[:20])
        time.sleep(0.3)
        session.socket.sendall(half[20:])
        deliver(session)

    with Host(run) as host:
        lines = run_link(
            host,
            """
            link = start(heartbeat=0.2, message=None)
            await until(lambda: link.connected.is_set())
            await asyncio.sleep_ms(100)
            time.sleep(4)
            print(await link.receive(), link.counts["in"])
            await asyncio.sleep(0.5)
            print(link.counts["connections"])
            await link.close()
            """,
        )
    assert lines == ["whole [1, 0, 0, 0]", "1"]


# What is no frame


def test_half_a_frame_does_not_hold_up_what_comes_after_a_pause(run_link):
    frame = encode_frame("good")

    def run(session):
        session.socket.sendall(encode_frame("x" * 50)[:70])
        time.sleep(3.5)
        session.socket.sendall(frame)
        deliver(session)

    with Host(run) as host:
        lines = run_link(
            host,
            """
            link = start(message=None)
            print(await link.receive(), link.counts["in"], link.counts["connections"])
            await link.close()
            """,
        )
    assert lines == ["good [1, 1, 0, 0] 1"]


GARBAGE = {
    "garbage": (b"\xff\x00garbage;;@@@;", [1, 0, 0, 1]),
    "an odd byte": (b"x", [1, 0, 0, 1]),
    "a wrong CRC": ("@00003AAAAAAAAabc;".encode("utf-16-le"), [1, 0, 1, 0]),
    "a length that is wrong": ("@00002352441C2abc;".encode("utf-16-le"), [1, 1, 0, 0]),
    "a length over the limit": ("@99999352441C2abc;".encode("utf-16-le"), [1, 1, 0, 0]),
    "no text": (encode_frame(b"\x00\xd8"), [1, 0, 0, 1]),
}


@pytest.mark.parametrize("kind", GARBAGE)
def test_a_fault_is_counted_and_reported_and_the_connection_goes_on(run_link, kind):
    data, counts = GARBAGE[kind]
    with Host(raw(data, encode_frame("good"))) as host:
        lines = run_link(
            host,
            """
            faults = []

            def fault(result, view):
                faults.append(result)
                raise ValueError("a fault of the application's own")

            link = start(message=None, fault=fault)
            print(await link.receive())
            print(link.counts["in"], link.counts["connections"], len(faults))
            await link.close()
            """,
        )
    assert lines == ["good", f"{counts} 1 1"]


def test_a_header_of_99999_and_then_nothing_takes_no_memory_and_ends(run_link):
    def run(session):
        session.socket.sendall("@9999900000000".encode("utf-16-le"))
        time.sleep(0.2)
        session.send("good")
        session.socket.sendall("@0150000000000".encode("utf-16-le"))
        time.sleep(3.5)
        session.send("again")
        deliver(session)

    with Host(run) as host:
        lines = run_link(
            host,
            """
            link = start(message=None)
            print(await link.receive(), await link.receive(), link.counts["in"])
            await link.close()
            """,
        )
    assert lines == ["good again [2, 2, 0, 0]"]


@pytest.mark.parametrize("ending", ["closes", "resets"])
def test_a_host_that_closes_in_mid_frame_loses_that_frame_only(run_link, ending):
    def run(session):
        session.send("whole")
        session.socket.sendall(encode_frame("cut")[:-5])
        time.sleep(0.1)
        if ending == "resets":
            session.reset()

    with Host(run, say("next")) as host:
        lines = run_link(
            host,
            """
            link = start(message=None)
            print(await link.receive(), await link.receive(), link.counts["in"])
            await link.close()
            """,
        )
    assert lines == ["whole next [2, 1, 0, 0]"]


@pytest.mark.parametrize(("texts", "ended"), [([], [0, 1, 0, 0]), (["a", "b", "c"], [2, 0, 0, 0])])
def test_what_one_connection_has_begun_does_not_go_on_in_the_next(run_link, texts, ended):
    """Whether or not the inbox has room, at its end, for what came whole."""
    frame = encode_frame("begun")

    def begin(session):
        session.socket.sendall(b"".join(map(encode_frame, texts)) + frame[:32])
        session.read_all()

    with Host(begin, raw(frame[32:], encode_frame("next"))) as host:
        lines = run_link(
            host,
            f"""
            link = make(message=None, queue=2)
            link._is_received = True
            task = asyncio.create_task(link.run())
            await link.connected.wait()
            await asyncio.sleep(0.2)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                pass
            print(link.counts["in"])
            asyncio.create_task(link.run())
            for _ in range({len(texts) + 1}):
                print(await link.receive())
            print(link.counts["in"])
            await link.close()
            """,
        )
    assert lines == [str(ended), *texts, "next", f"[{len(texts) + 1}, 1, 0, 1]"]


def test_a_crc_without_its_leading_zeros_is_taken_on_request(run_link):
    frames = [encode_frame(str(number)).decode("utf-16-le") for number in range(1000)]
    frame = next(frame for frame in frames if frame[6] == "0")
    short = frame[:6] + frame[6:14].lstrip("0") + frame[14:]
    for takes, first in ((True, frame[14:-1]), (False, "good")):
        with Host(raw(short.encode("utf-16-le"), encode_frame("good"))) as host:
            lines = run_link(
                host,
                f"""
                link = start(message=None, short_crc={takes})
                print(await link.receive())
                await link.close()
                """,
            )
        assert lines == [first]


# Bounds


def test_a_host_that_never_reads_holds_up_only_what_goes_to_it(run_link):
    with Host(deaf) as host:
        lines = run_link(
            host,
            """
            link = start(message=None, queue=4)
            ticker = Ticker()
            ticking = asyncio.create_task(ticker.run())
            sent = 0
            async def send():
                nonlocal sent
                while True:
                    await link.send("x" * 1500)
                    sent += 1
            sending = asyncio.create_task(send())
            before = -1
            while sent != before:
                before = sent
                await asyncio.sleep(0.5)
            print(link.send_nowait("one more"), ticker.gap < 300)
            gc.collect()
            at_first = gc.mem_alloc()
            await asyncio.sleep(0.5)
            gc.collect()
            print(gc.mem_alloc() - at_first < 2000)
            sending.cancel()
            ticking.cancel()
            await asyncio.sleep_ms(5)
            began = time.ticks_ms()
            await link.close(0.3)
            print(time.ticks_diff(time.ticks_ms(), began) < 3000)
            """,
        )
    assert lines == ["False True", "True", "True"]


def test_a_full_outbox_refuses_or_waits_and_with_drop_oldest_gives_up_the_oldest(run_link):
    lines = run_link(
        ("127.0.0.1", unused_port()),
        """
        link = make(queue=3)
        print([link.send_nowait(str(n)) for n in range(5)], link.counts["dropped"])
        print([link.send_nowait(str(n), keep=True) for n in range(5)], link.counts["kept"])
        try:
            await asyncio.wait_for(link.send("waits"), 0.1)
        except asyncio.TimeoutError:
            print("waits")
        await link.close()
        link = make(queue=3, drop_oldest=True)
        print([link.send_nowait(str(n)) for n in range(5)], link.counts["dropped"])
        print([link._outbox.next() for n in range(4)])
        await link.close()
        """,
    )
    assert lines == [
        "[True, True, True, False, False] 0",
        "[True, True, True, False, False] 3",
        "waits",
        "[True, True, True, True, True] 2",
        "['2', '3', '4', None]",
    ]


def test_who_waits_for_room_is_told_that_the_link_is_closed(run_link):
    lines = run_link(
        ("127.0.0.1", unused_port()),
        """
        link = make(queue=1, message=None)
        await link.send("one")
        async def send():
            try:
                await link.send("two")
            except ValueError as error:
                print(error)
        task = asyncio.create_task(send())
        await asyncio.sleep_ms(10)
        await link.close()
        await task
        attempt(link.send_nowait, "three")
        """,
    )
    assert lines == ["the link is closed: make another", "ValueError the link is closed: make another"]


def test_a_full_inbox_holds_the_host_up_and_loses_nothing(run_link):
    def run(session):
        for number in range(3000):
            session.send(f"{number} " + "x" * 1400)
        deliver(session)

    with Host(run) as host:
        lines = run_link(
            host,
            """
            link = start(message=None, queue=3, heartbeat=0.3)
            number = 0
            async for text in link:
                assert text.startswith(str(number) + " "), (text[:10], number)
                number += 1
                if number == 10:
                    # The host is not dead because nobody listens to it.
                    await asyncio.sleep(1.5)
                if number == 3000:
                    break
            print(number, link.counts["connections"], link.counts["missed"])
            await link.close()
            """,
        )
    assert lines == ["3000 1 0"]


def test_a_full_inbox_holds_the_deadline(run_link):
    with Host(say(*"abcdef")) as host:
        lines = run_link(
            host,
            """
            link = start(message=None, queue=4, heartbeat=0.3)
            for text in "abcdef":
                assert await link.receive() == text
                if text == "a":
                    # Nothing is read and nobody asked meanwhile, and nothing more is there to be read afterwards.
                    await asyncio.sleep(1.5)
                    print(link.counts["out"])
            await asyncio.sleep(1.5)
            print(link.counts["connections"])
            await link.close()
            """,
        )
        assert len(host.sessions) == 1
        assert host.own.count(("ping", {})) >= 2
    assert lines == ["0", "1"]


def test_a_board_that_only_sends_is_not_held_up_by_what_it_does_not_receive(run_link):
    def run(session):
        for number in range(100):
            session.send(str(number))
        deliver(session)

    with Host(run) as host:
        lines = run_link(
            host,
            """
            link = start(message=None, queue=4)
            for number in range(50):
                await link.send(str(number), keep=True)
            print(await link.flush(10), link.counts["missed"])
            print(await link.receive())
            await link.close()
            """,
        )
    assert lines == ["True 96", "96"]
    assert host.delivered == [str(number) for number in range(50)]


def test_what_cannot_be_sent_is_said_before_anything_is_queued(run_link):
    lines = run_link(
        ("127.0.0.1", unused_port()),
        r"""
        link = make()
        attempt(link.send_nowait, "x" * 1501)
        attempt(link.send_nowait, "x" * 1501, keep=True)
        attempt(link.send_nowait, "😀" * 751)
        attempt(link.send_nowait, '{"otalink":"ping"}')
        attempt(link.send_nowait, b'{\0"\0o\0t\0a\0l\0i\0n\0k\0"\0:\0')
        attempt(link.send_nowait, '{"otalink":', keep=True)
        attempt(link.send_nowait, b"odd")
        attempt(link.send_nowait, "\ud800")
        attempt(link.send_nowait, b"\0\xd8", keep=True)
        attempt(make(strict=True).send_nowait, "a;b")
        attempt(make(strict=True).send_nowait, "a;b", keep=True)
        attempt(make(limit=40000, profile="utf-8").send_nowait, "@" * 20000, keep=True)
        print(link._outbox.is_empty())
        """,
    )
    reserved = 'ValueError a text that begins with {"otalink": cannot be sent: it would be taken for otalink\'s own'
    assert lines == [
        "ValueError the text has 1501 characters, and this link takes 1500: send it in parts",
        "ValueError the text has 1501 characters, and this link takes 1500: send it in parts",
        "ValueError the text has 1502 characters, and this link takes 1500: send it in parts",
        reserved,
        reserved,
        reserved,
        "ValueError a payload of bytes must be whole UTF-16 code units: an even number",
        "ValueError the text holds half of a surrogate pair",
        "ValueError half of a surrogate pair",
        "ValueError the payload holds @ or ;, which a receiver of note 70 takes for a frame's begin and end",
        "gave True",
        "ValueError the text is too long to be kept: send it in parts",
        "True",
    ]


# The end


def test_close_sends_what_waits_and_a_cancelled_run_leaves_nothing(run_link):
    with Host() as host:
        run_link(
            host,
            """
            link = start(message=None)
            await link.connected.wait()
            for number in range(10):
                await link.send(str(number))
                await link.send(str(number), keep=True)
            await link.close()
            other = make(message=None)
            for seconds in (0, 0.001, 0.05):
                task = asyncio.create_task(other.run())
                await asyncio.sleep(seconds)
                task.cancel()
                try:
                    await task
                    print("not cancelled")
                except asyncio.CancelledError:
                    pass
            """,
        )
    assert host.texts == host.delivered == [str(number) for number in range(10)]


def test_a_link_that_is_closed_before_it_ran_or_while_it_waits_ends_at_once(run_link):
    lines = run_link(
        ("127.0.0.1", unused_port()),
        """
        link = make()
        await link.close()
        link = start(retry=(100, 100), message=None)
        await asyncio.sleep(0.2)
        began = time.ticks_ms()
        await link.close()
        print(time.ticks_diff(time.ticks_ms(), began) < 1000)
        await link.run()
        link = start()
        await link.close()
        link = start(message=None)
        await asyncio.sleep_ms(1)
        try:
            await link.run()
        except ValueError as error:
            print(error)
        await link.close()
        """,
    )
    assert lines == ["True", "the link runs already"]


def test_an_address_that_does_not_answer_is_given_up_in_time(run_link):
    # A backlog that is full: the system takes no connection any more.
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
            fillers.append(filler)
        try:
            lines = run_link(
                listener.getsockname(),
                """
                link = start(timeout=0.3)
                ticker = Ticker()
                ticking = asyncio.create_task(ticker.run())
                await asyncio.sleep(1)
                ticking.cancel()
                await link.close()
                print(ticker.gap < 200)
                """,
            )
        finally:
            for filler in fillers:
                filler.close()
    assert "(no answer): is the host's `otalink peer` running" in lines[0]
    assert lines[1:] == ["True"]
