"""The time from an SNTP server, and the board's clock."""

import textwrap

import pytest
from time_server import MOMENT, TimeServer, answer

SCRIPT = """
import asyncio, os, sys, time
from otalink.errors import *
import otalink.board_clock
from otalink.board_clock import set_clock
otalink.board_clock.PORT = {port}

async def attempt(host="127.0.0.1", timeout=0.6):
    try:
        offset = await set_clock(host, timeout)
        print("behind by the right time" if abs(time.time() + offset - {moment}) < 120 else offset)
    except OtaError as error:
        print(type(error).__name__, error)

async def main():
{body}

def descriptors():
    return len(list(os.ilistdir("/proc/self/fd")))

at_first = descriptors()
asyncio.run(main())
assert descriptors() == at_first, "a socket is left"
"""


@pytest.fixture
def run(on_board):
    def run(server, body="await attempt()"):
        body = textwrap.indent(textwrap.dedent(body).strip(), "    ")
        return on_board(SCRIPT.format(port=server.port, moment=MOMENT, body=body)).lines

    return run


def test_a_board_without_a_clock_of_its_own_is_told_how_far_it_is_off_and_no_more(run):
    with TimeServer(answer) as server:
        lines = run(server, "before = time.time()\nawait attempt()\nprint(time.time() - before < 3600)")
    assert lines == ["behind by the right time", "True"]


def test_the_request_is_a_clients_and_says_nothing_of_the_board(run):
    with TimeServer(answer) as server:
        run(server, "await attempt()\nawait attempt()")
    for request in server.requests:
        assert request[0] == 0x23
        assert len(request) == 48
        assert request[1:40] == bytes(39)
    assert server.requests[0][40:] != server.requests[1][40:]


CLOCK = """
class RTC:
    def datetime(self, fields):
        print(fields[:6], fields[6] < 10, fields[7])

sys.modules["machine"] = type("machine", (), {"RTC": RTC})
"""
EPOCH_2000 = """
class Clock:
    def __getattr__(self, name):
        return getattr(time, name)
    def time(self):
        return time.time() - 946684800
    def gmtime(self, seconds):
        return time.gmtime(seconds + 946684800)
otalink.board_clock.time = Clock()
"""


@pytest.mark.parametrize("epoch", ["", EPOCH_2000])
def test_the_clock_is_set_whatever_year_it_counts_from(run, epoch):
    # (year, month, day, weekday from Monday = 0, hour, minute, second, subsecond), in UTC.
    moment = 1_767_323_045  # Friday, 2 January 2026, 03:04:05
    with TimeServer(lambda request: answer(request, moment)) as server:
        lines = run(server, CLOCK + epoch + "await set_clock('127.0.0.1')")
    assert lines == ["(2026, 1, 2, 4, 3, 4) True 0"]


def test_the_seconds_that_start_over_in_2036_are_understood(run):
    with TimeServer(lambda request: answer(request, 2_085_978_526)) as server:
        lines = run(server, CLOCK + "await set_clock('127.0.0.1')")
    # Half a minute into the second era (RFC 4330 section 3).
    assert lines == ["(2036, 2, 7, 3, 6, 28) False 0"]


WRONG = [
    (lambda request: answer(request)[:47], "its answer is cut off"),
    (lambda request: answer(request, origin=bytes(8)), "what came answers no request of this board"),
    (lambda request: answer(request, first=0x23), "what came is no server's answer"),
    (lambda request: answer(request, first=0x25), "what came is no server's answer"),
    (lambda request: answer(request, first=0xE4), "its own clock is not set"),
    (lambda request: answer(request, stratum=16), "its own clock is not set"),
    (lambda request: answer(request, seconds=0), "its answer has no time"),
    (lambda request: None, "it does not answer"),
]


@pytest.mark.parametrize(("reply", "reason"), WRONG)
def test_what_is_no_good_answer_sets_no_clock(run, reply, reason):
    with TimeServer(reply) as server:
        lines = run(server, CLOCK + "await attempt()")
    assert lines == [f"TransferError the time server 127.0.0.1 gives no time: {reason}"]
    assert len(server.requests) == 3


def test_a_good_answer_behind_forged_ones_counts(run):
    def reply(request):
        return [answer(request, 1, origin=b"\0" * 7 + bytes([number])) for number in range(3)] + [answer(request)]

    with TimeServer(reply) as server:
        assert run(server) == ["behind by the right time"]


def test_an_answer_to_an_earlier_request_does_not_count(run):
    def reply(request):
        # Late: when the next request is there already.
        before = server.requests[-2] if len(server.requests) > 1 else None
        return None if before is None else answer(before)

    with TimeServer(reply) as server:
        lines = run(server)
    assert lines[0].startswith("TransferError the time server 127.0.0.1 gives no time: ")


def test_a_lost_request_is_sent_again(run):
    with TimeServer(lambda request: answer(request) if len(server.requests) > 1 else None) as server:
        assert run(server) == ["behind by the right time"]
    assert len(server.requests) == 2


def test_a_server_that_does_not_want_to_be_asked_is_not_asked_again(run):
    with TimeServer(lambda request: answer(request, stratum=0, code=b"RA\nE")) as server:
        lines = run(server)
    assert lines == [
        "ProtocolError the time server 127.0.0.1 does not want to be asked (RAE): put another one under ntp"
    ]
    assert len(server.requests) == 1


def test_a_name_that_nobody_has_is_said(run):
    with TimeServer(answer) as server:
        lines = run(server, "await attempt('no-such-host.invalid')")
    assert lines == ["TransferError the time server no-such-host.invalid cannot be looked up: is its name right?"]


def test_a_port_where_nobody_is_is_said(run):
    with TimeServer(answer) as server:
        pass
    (line,) = run(server)
    assert line.startswith("TransferError the time server 127.0.0.1 gives no time: ")


ENSURE = """
import otalink.clock

class Unset:
    year = 2000
    def localtime(self):
        return (self.year,)

class RTC:
    def datetime(self, fields):
        print("set to", fields[0])
        Unset.year = fields[0]

sys.modules["machine"] = type("machine", (), {"RTC": RTC})
otalink.clock.time = Unset()
"""


def test_tls_has_the_clock_set_where_it_is_not_and_forgets_how(run):
    with TimeServer(answer) as server:
        lines = run(
            server,
            ENSURE + "print(await otalink.clock.ensure(None, 1))\n"
            "print(await otalink.clock.ensure('127.0.0.1', 1))\n"
            "print('otalink.board_clock' in sys.modules)\n"
            "print(await otalink.clock.ensure('127.0.0.1', 1))",
        )
    assert lines == ["False", "set to 2096", "True", "False", "True"]
    assert len(server.requests) == 1
