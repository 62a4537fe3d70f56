"""otalink's own messages at the peer (docs/link.md): delivery, who is who, reports, and what may be asked."""

import asyncio
import contextlib
import itertools
import json
import random
import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from otalink.message import format_message, parse_message
from otalink.secret import is_proven, prove_board
from otalink_host.connection import LinkOptions
from otalink_host.fleet import Fleet, FleetError
from otalink_host.peer import AskError, Client, Handled, Handler, Peer, Report
from otalink_host.peer_client import PeerClient

LOOPBACK = "127.0.0.1"
SECRET = "correct-horse-battery"
SECRETS = {"board-1": SECRET, "board-2": "another-secret"}
SEQUENCE = "0123456789abcdef"
HELLO = {
    "board": "board-1",
    "challenge": "c" * 32,
    "name": "thermostat",
    "version": "1.0.0.2",
    "state": "confirmed",
    "platform": "esp32",
    "otalink_version": "0.1.0",
}


class Noted(Handler):
    """Notes what is handed over."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.reports: list[Report] = []
        self.identities: list[tuple[str, bool]] = []
        self.reasons: list[str] = []

    def text(self, client: Client, text: str) -> Handled:
        self.texts.append(text)
        return None

    def identified(self, client: Client) -> Handled:
        assert client.hello is not None
        self.identities.append((client.hello.board, client.is_verified))
        return None

    def report(self, client: Client, report: Report) -> Handled:
        self.reports.append(report)
        return None

    def disconnected(self, client: Client, reason: str) -> Handled:
        self.reasons.append(reason)
        return None


class Board:
    """What a board says, and hears."""

    def __init__(self, link: PeerClient) -> None:
        self.link = link

    def say(self, kind: str, **fields: object) -> None:
        self.link.send(format_message(kind, **fields))

    def keep(self, number: int, data: str, sequence: str = SEQUENCE) -> None:
        self.say("keep", sequence=sequence, id=number, data=data)

    async def hear(self, timeout: float = 5) -> tuple[str, dict[str, Any]]:
        return parse_message(await asyncio.wait_for(anext(self.link), timeout))

    async def acknowledged(self, number: int) -> None:
        """Returns when all up to `number` is acknowledged."""
        while True:
            kind, fields = await self.hear()
            assert (kind, fields["sequence"]) == ("ack", SEQUENCE)
            if fields["id"] >= number:
                assert fields["id"] == number
                return

    async def hello(self, secret: str | None = SECRET, **changes: object) -> str:
        """Says who it is, and proves it by `secret`; returns the peer's challenge."""
        hello = {**HELLO, **changes}
        self.say("hello", **hello)
        kind, fields = await self.hear()
        assert kind == "welcome"
        challenge = str(fields["challenge"])
        if secret is not None:
            self.say("proof", mac=prove_board(secret, str(hello["board"]), challenge, str(hello["challenge"])))
        return challenge

    async def settled(self) -> None:
        """Returns when the peer has taken all that was said."""
        self.say("ping")
        while (await self.hear())[0] != "pong":
            pass


@asynccontextmanager
async def board_at(peer: Peer) -> AsyncIterator[Board]:
    async with PeerClient(LOOPBACK, peer.port) as link:
        yield Board(link)


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), 60))


def peer_for(handler: Handler | None = None, **changes: Any) -> Peer:
    return Peer(handler or Noted(), **{"address": LOOPBACK, "port": 0, **changes})


async def until(holds: Callable[[], bool], timeout: float = 5) -> None:
    deadline = time.monotonic() + timeout
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


# --- heartbeat, and what is none of otalink's messages


def test_a_ping_is_answered() -> None:
    async def main() -> None:
        async with peer_for() as peer, board_at(peer) as board:
            board.say("ping")
            assert await board.hear() == ("pong", {})

    run(main)


@pytest.mark.parametrize(
    "text",
    [
        '{"otalink":',
        '{"otalink":1}',
        '{"otalink":"keep"}',
        '{"otalink":"keep","sequence":"0123456789abcdef","id":true,"data":"x"}',
        '{"otalink":"keep","sequence":"0123456789abcdef","id":9223372036854775808,"data":"x"}',
        '{"otalink":"keep","sequence":"0123456789abcdef","id":0,"data":"x"}',
        '{"otalink":"keep","sequence":"../../etc/passwd","id":1,"data":"x"}',
        '{"otalink":"keep","sequence":"0123456789abcdef","id":1,"data":["x"]}',
        '{"otalink":"hello","board":"a\\nb","challenge":"' + "c" * 32 + '"}',
        '{"otalink":"hello","board":"\\ud800","challenge":"' + "c" * 32 + '"}',
        '{"otalink":"hello","board":"board-1","challenge":"c"}',
        '{"otalink":"report"}',
        '{"otalink":"report","event":{"a":1}}',
        '{"otalink":"report","event":"' + "1" * 5000 + '","percent":' + "1" * 5000 + "}",
        '{"otalink":' + "[" * 50_000,
    ],
)
def test_what_only_looks_like_a_message_does_nothing_and_the_connection_goes_on(text: str) -> None:
    async def main() -> None:
        handler = Noted()
        async with peer_for(handler) as peer, board_at(peer) as board:
            board.link.send(text)
            await board.settled()
            assert peer.clients[0].odd == 1
            assert (handler.texts, handler.reports, handler.identities) == ([], [], [])

    run(main)


@pytest.mark.parametrize("kind", ["welcome", "ask", "ack", "pong", "something new", "proof", "answer"])
def test_messages_of_other_kinds_are_passed_over(kind: str) -> None:
    async def main() -> None:
        handler = Noted()
        async with peer_for(handler, secrets=SECRETS) as peer, board_at(peer) as board:
            board.say(kind, id=1, mac="0" * 64, more=[1])
            await board.settled()
            assert (handler.texts, handler.reports, handler.identities) == ([], [], [])

    run(main)


# --- delivery


def test_each_kept_message_is_delivered_once_in_order_and_acknowledged() -> None:
    async def main() -> None:
        handler = Noted()
        async with peer_for(handler) as peer:
            async with board_at(peer) as board:
                board.keep(1, "one")
                board.keep(2, 'two @; "é😀"')
                board.keep(1, "one")
                board.keep(2, "again, and not the same")
                board.keep(3, "three")
                await board.acknowledged(3)
            async with board_at(peer) as board:
                board.keep(2, "two")
                await board.acknowledged(3)
                # A gap is the board's own affair.
                board.keep(7, "seven")
                await board.acknowledged(7)
                # Another numbering is another one's.
                board.keep(1, "other", sequence="f" * 16)
                assert await board.hear() == ("ack", {"sequence": "f" * 16, "id": 1})
        assert handler.texts == ["one", 'two @; "é😀"', "three", "seven", "other"]
        assert peer.repeated == 3

    run(main)


def test_what_was_delivered_is_remembered_across_a_restart(tmp_path: Path) -> None:
    async def main() -> None:
        handler = Noted()
        for first in (1, 3):
            with Fleet(tmp_path / "fleet.db") as fleet:
                async with peer_for(handler, fleet=fleet) as peer, board_at(peer) as board:
                    for number in range(1, first + 2):
                        board.keep(number, str(number))
                    await board.acknowledged(first + 1)
        assert handler.texts == ["1", "2", "3", "4"]

    run(main)


def test_a_message_whose_handler_fails_is_not_acknowledged_and_comes_again(caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Noted):
        fails = True

        def text(self, client: Client, text: str) -> None:
            if text == "two" and self.fails:
                self.fails = False
                raise RuntimeError("the disk is full")
            self.texts.append(text)

    async def main() -> None:
        handler = Failing()
        async with peer_for(handler) as peer:
            async with board_at(peer) as board:
                for number, text in enumerate(("one", "two", "three"), 1):
                    board.keep(number, text)
                heard = [parse_message(text) async for text in board.link]
                assert [fields["id"] for kind, fields in heard] == [1]
            async with board_at(peer) as board:
                for number, text in enumerate(("two", "three"), 2):
                    board.keep(number, text)
                await board.acknowledged(3)
        assert handler.texts == ["one", "two", "three"]

    run(main)
    assert "the disk is full" in caplog.text


def test_a_message_is_acknowledged_when_its_handler_is_done_with_it() -> None:
    class Slow(Noted):
        def __init__(self) -> None:
            super().__init__()
            self.free = asyncio.Event()

        async def _later(self, text: str) -> None:
            await self.free.wait()
            self.texts.append(text)

        def text(self, client: Client, text: str) -> Handled:
            return self._later(text)

    async def main() -> None:
        handler = Slow()
        async with peer_for(handler) as peer, board_at(peer) as board, board_at(peer) as anew:
            board.keep(1, "one")
            board.keep(2, "two")
            with pytest.raises(asyncio.TimeoutError):
                await board.hear(0.2)
            # The board has connected anew, and sends again what is still being handled.
            anew.keep(1, "one")
            anew.keep(2, "two")
            anew.keep(3, "three")
            await asyncio.sleep(0.1)
            handler.free.set()
            await anew.acknowledged(3)
        assert handler.texts == ["one", "two", "three"]

    run(main)


def test_a_message_that_comes_on_two_connections_at_the_same_moment_is_delivered_once() -> None:
    class Later(Noted):
        def text(self, client: Client, text: str) -> Handled:
            return self._later(text)

        async def _later(self, text: str) -> None:
            self.texts.append(text)

    async def main() -> None:
        handler = Later()
        async with peer_for(handler) as peer, board_at(peer) as old, board_at(peer) as new:
            await until(lambda: len(peer.clients) == 2)
            for client in peer.clients:
                peer.frame(client, format_message("keep", sequence=SEQUENCE, id=1, data="once"))
            await old.acknowledged(1)
            await new.acknowledged(1)
        assert handler.texts == ["once"]

    run(main)


@pytest.mark.parametrize("kind", ["at once", "later"])
def test_connections_that_are_cut_at_random_lose_nothing_and_repeat_nothing(kind: str, tmp_path: Path) -> None:
    count = 2_000

    class Later(Noted):
        def text(self, client: Client, text: str) -> Handled:
            async def later() -> None:
                await asyncio.sleep(0)
                self.texts.append(text)

            return later() if kind == "later" else super().text(client, text)

    async def main() -> None:
        handler = Later()
        acknowledged = 0
        cuts = 0
        with Fleet(tmp_path / "fleet.db") as fleet:
            async with peer_for(handler, fleet=fleet) as peer:
                while acknowledged < count:
                    async with board_at(peer) as board:
                        for number in range(acknowledged + 1, min(acknowledged + 200, count) + 1):
                            board.keep(number, str(number))
                        for _ in range(choices.randrange(4)):
                            try:
                                acknowledged = max((await board.hear(0.5))[1]["id"], acknowledged)
                            except (StopAsyncIteration, asyncio.TimeoutError):
                                break
                        board.link.connection.abort()
                        cuts += 1
                await until(lambda: not peer.clients)
        assert handler.texts == [str(number) for number in range(1, count + 1)]
        assert cuts > 5

    choices = random.Random(70)
    run(main)


def test_the_memory_of_numberings_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otalink_host.peer.SEQUENCES_MAX", 10)

    async def main() -> None:
        async with peer_for() as peer, board_at(peer) as board:
            for number in range(50):
                board.keep(1, "x", sequence=f"{number:016x}")
            await board.settled()
            assert [len(known) for known in peer._sequences] == [0, 10]

    run(main)


def test_what_waits_behind_a_message_that_failed_is_not_delivered_before_it() -> None:
    class Failing(Noted):
        fails = True

        def text(self, client: Client, text: str) -> Handled:
            return self._later(text)

        async def _later(self, text: str) -> None:
            await asyncio.sleep(0.05)
            if text == "1" and self.fails:
                self.fails = False
                raise RuntimeError("the disk is full")
            self.texts.append(text)

    async def main() -> None:
        handler = Failing()
        async with peer_for(handler) as peer:
            async with board_at(peer) as board:
                for number in (1, 2, 3):
                    board.keep(number, str(number))
                assert [text async for text in board.link] == []
            async with board_at(peer) as board:
                for number in (1, 2, 3):
                    board.keep(number, str(number))
                await board.acknowledged(3)
        assert handler.texts == ["1", "2", "3"]

    run(main)


def fill(peer: Peer, frames: int = 20_000) -> None:
    """Sends to all, who take nothing at present, until their queues are full."""
    for _ in range(frames):
        if not peer.broadcast("x" * 2000):
            return
    pytest.fail("the queue is never full")


@pytest.mark.parametrize("count", [8, 500])
def test_what_is_delivered_while_the_queue_is_full_is_acknowledged(count: int) -> None:
    async def main() -> None:
        handler = Noted()
        async with peer_for(handler) as peer, board_at(peer) as board:
            await until(lambda: len(peer.clients) == 1)
            board.link.connection.pause()
            fill(peer)
            for number in range(1, count + 1):
                board.keep(number, str(number))
                board.say("ping")
                if number % 50 == 0:
                    await asyncio.sleep(0.02)
            await until(lambda: len(handler.texts) == count)
            (client,) = peer.clients
            assert len(client._own) <= 64
            board.link.connection.resume()
            kinds = []
            acknowledged = 0
            while acknowledged < count:
                text = await asyncio.wait_for(anext(board.link), 5)
                if text.startswith("{"):
                    kind, fields = parse_message(text)
                    kinds.append(kind)
                    acknowledged = fields.get("id", acknowledged)
            assert "pong" in kinds
            assert client.counters.unsent == 1

    run(main)


def test_who_takes_no_acknowledgements_of_ever_more_numberings_is_disconnected() -> None:
    async def main() -> None:
        handler = Noted()
        async with peer_for(handler) as peer, board_at(peer) as board:
            await until(lambda: len(peer.clients) == 1)
            board.link.connection.pause()
            fill(peer)
            for number in range(1_000):
                board.keep(1, "x", sequence=f"{number:016x}")
            await until(lambda: peer.clients[0].is_closing)
            assert len(peer.clients[0]._acks) < 600
            board.link.connection.abort()
            await until(lambda: handler.reasons == ["it takes no acknowledgements"])

    run(main)


def test_a_client_that_has_heard_a_boards_numbering_cannot_use_it_up() -> None:
    async def main() -> None:
        handler = Noted()
        async with peer_for(handler, secrets=SECRETS, verify_timeout=0.2) as peer:
            for secret, changes in (("wrong-secret", {}), (SECRETS["board-2"], {"board": "board-2"})):
                async with board_at(peer) as thief:
                    thief.keep(1 << 60, "evil")
                    await thief.hello(secret, **changes)
                    await thief.acknowledged(1 << 60)
            async with board_at(peer) as thief:
                thief.keep(1 << 61, "evil too, of one that never says hello")
                await thief.acknowledged(1 << 61)
            async with board_at(peer) as board:
                board.keep(5, "real")
                await board.hello()
                await board.acknowledged(5)
        assert handler.texts[-1] == "real"

    run(main)


def test_numberings_of_strangers_push_out_none_of_a_boards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("otalink_host.peer.SEQUENCES_MAX", 10)

    async def main() -> None:
        handler = Noted()
        async with peer_for(handler, secrets=SECRETS) as peer, board_at(peer) as board, board_at(peer) as stranger:
            await board.hello()
            board.keep(1, "once")
            await board.acknowledged(1)
            await stranger.hello(board="board-99")
            for number in range(50):
                stranger.keep(1, "x", sequence=f"{number:016x}")
            await stranger.settled()
            board.keep(1, "once")
            await board.acknowledged(1)
        assert handler.texts.count("once") == 1
        assert handler.texts.count("x") == 50

    run(main)


def test_what_waits_for_a_proof_is_bounded() -> None:
    async def main() -> None:
        handler = Noted()
        options = LinkOptions(receive_limit=10_000)
        async with peer_for(handler, secrets=SECRETS, options=options) as peer, board_at(peer) as board:
            for number in range(1, 5):
                board.keep(number, "x" * 4_000)
            await board.acknowledged(4)
            assert handler.texts == ["x" * 4_000] * 4

    run(main)


# --- who is who


def test_a_board_that_proves_who_it_is_is_verified_and_comes_into_the_fleet(tmp_path: Path) -> None:
    async def main() -> None:
        handler = Noted()
        with Fleet(tmp_path / "fleet.db") as fleet:
            async with peer_for(handler, secrets=SECRETS, fleet=fleet) as peer, board_at(peer) as board:
                await board.hello()
                await board.settled()
                (client,) = peer.find("board-1")
                assert (client.is_verified, client.board) == (True, "board-1")
                assert str(client) == f"board-1 at {client.address}"
            (known,) = fleet.boards()
        assert handler.identities == [("board-1", True)]
        assert (known.name, known.application, known.version, known.state) == (
            "board-1",
            "thermostat",
            "1.0.0.2",
            "confirmed",
        )
        assert known.verified

    run(main)


@pytest.mark.parametrize("case", ["wrong secret", "no proof", "another's proof", "unknown name", "garbage"])
def test_a_client_that_proves_nothing_is_not_believed(case: str, tmp_path: Path) -> None:
    async def main() -> None:
        handler = Noted()
        with Fleet(tmp_path / "fleet.db") as fleet:
            async with peer_for(handler, secrets=SECRETS, fleet=fleet) as peer, board_at(peer) as board:
                if case == "wrong secret":
                    await board.hello("wrong-secret")
                elif case == "no proof":
                    await board.hello(None)
                elif case == "another's proof":
                    challenge = await board.hello(None)
                    board.say("proof", mac=prove_board(SECRETS["board-2"], "board-2", challenge, "c" * 32))
                elif case == "unknown name":
                    await board.hello(board="board-99")
                else:
                    await board.hello(None)
                    board.say("proof", mac=["é"])
                board.say("report", event="confirmed", version="9.9.9.9")
                board.link.send("data of its own")
                await board.settled()
                (client,) = peer.clients
                assert (client.is_verified, client.board) == (False, None)
                assert not peer.find("board-1")
                with pytest.raises(AskError):
                    await peer.ask("board-1", "restart")
                known = case in ("wrong secret", "no proof", "another's proof", "garbage")
                why = "has not proven who it is" if known else "no secret of it is known here"
                with pytest.raises(AskError, match=why):
                    await peer.ask(client, "restart")
                assert handler.texts == ["data of its own"]
            assert fleet.boards() == []
        assert not any(verified for _, verified in handler.identities)
        assert not any(report.verified for report in handler.reports)

    run(main)


def test_a_proof_that_was_recorded_is_of_no_use_again() -> None:
    async def main() -> None:
        handler = Noted()
        async with peer_for(handler, secrets=SECRETS) as peer:
            async with board_at(peer) as board:
                challenge = await board.hello()
                recorded = prove_board(SECRET, "board-1", challenge, "c" * 32)
                await board.settled()
            async with board_at(peer) as thief:
                assert await thief.hello(None) != challenge
                thief.say("proof", mac=recorded)
                await thief.settled()
                # One attempt is all that a challenge is good for.
                thief.say("proof", mac=recorded)
                await thief.settled()
                assert not peer.clients[0].is_verified
        assert handler.identities == [("board-1", True), ("board-1", False)]

    run(main)


def test_without_secrets_a_board_is_listed_and_not_verified(tmp_path: Path) -> None:
    async def main() -> None:
        with Fleet(tmp_path / "fleet.db") as fleet:
            async with peer_for(fleet=fleet) as peer, board_at(peer) as board:
                await board.hello(None)
                await board.settled()
                assert [(client.board, client.is_verified) for client in peer.clients] == [("board-1", False)]
                with pytest.raises(AskError, match="no secret of it is known here"):
                    await peer.ask("board-1", "check")
            assert [(known.name, known.verified) for known in fleet.boards()] == [("board-1", False)]

    run(main)


def test_a_board_that_calls_itself_by_anothers_address_gets_nothing_of_that_ones() -> None:
    async def main() -> None:
        async with peer_for() as peer, board_at(peer) as victim, board_at(peer) as thief:
            await until(lambda: len(peer.clients) == 2)
            for name in (peer.clients[0].address, LOOPBACK):
                await thief.hello(None, board=name)
                await thief.settled()
            assert peer.send(peer.clients[0].address, "for the first") == 1
            assert peer.send(LOOPBACK, "for both") == 2
            assert [await anext(victim.link) for _ in range(2)] == ["for the first", "for both"]
            assert await anext(thief.link) == "for both"

    run(main)


def test_of_two_connections_of_one_board_the_newer_verified_one_counts() -> None:
    async def main() -> None:
        handler = Noted()
        async with peer_for(handler, secrets=SECRETS) as peer, board_at(peer) as old, board_at(peer) as new:
            await old.hello()
            await old.settled()
            async with board_at(peer) as thief:
                await thief.hello("wrong-secret")
                await thief.settled()
                old.say("ping")
                assert (await old.hear())[0] == "pong"
            await new.hello()
            await new.settled()
            assert [text async for text in old.link] == []
            assert "the same board has connected anew" in handler.reasons
            assert peer.send("board-1", "for the new one") == 1
            assert await anext(new.link) == "for the new one"

    run(main)


def test_one_that_takes_a_boards_name_and_leaves_does_not_take_the_board_away() -> None:
    async def main() -> None:
        async with peer_for() as peer, board_at(peer) as board:
            await board.hello(None)
            for leaves in ("goes", "has another name"):
                async with board_at(peer) as other:
                    await other.hello(None)
                    await other.settled()
                    if leaves == "has another name":
                        await other.hello(None, board="board-2")
                        await other.settled()
                        assert peer.send("board-1", "while it is there") == 1
                        assert await anext(board.link) == "while it is there"
                await until(lambda: len(peer.clients) == 1)
                assert peer.send("board-1", leaves) == 1
                assert await anext(board.link) == leaves

    run(main)


@pytest.mark.parametrize("name", ["shop-1 (verified): thermostat 9", " shop-1", "shop-1 ", " ", "", "x" * 65])
def test_a_name_that_would_be_taken_for_more_than_a_name_is_refused(name: str) -> None:
    async def main() -> None:
        handler = Noted()
        async with peer_for(handler) as peer, board_at(peer) as board:
            board.say("hello", **{**HELLO, "board": name})
            await board.settled()
            assert (peer.clients[0].odd, handler.identities) == (1, [])

    run(main)


def test_a_board_that_went_back_says_from_what_and_why(tmp_path: Path) -> None:
    async def main() -> None:
        with Fleet(tmp_path / "fleet.db") as fleet:
            async with peer_for(secrets=SECRETS, fleet=fleet) as peer, board_at(peer) as board:
                await board.hello(state="reverted", failed="1.0.0.3", reason="it did not start\nat all")
                await board.settled()
                (known,) = fleet.boards()
                assert known.state == "reverted from 1.0.0.3: it did not start\\x0aat all"
                assert known.otalink == "0.1.0"

    run(main)


def test_a_board_that_says_hello_again_is_still_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        with Fleet(tmp_path / "fleet.db") as fleet:
            async with peer_for(secrets=SECRETS, fleet=fleet) as peer, board_at(peer) as board:
                await board.hello()
                await board.settled()
                await board.hello(version="1.0.0.3")
                await board.settled()
                assert peer.clients[0].is_verified
                assert fleet.boards()[0].version == "1.0.0.3"
                # Under another name it has to prove that.
                await board.hello(board="board-2", secret=SECRET)
                await board.settled()
                assert (peer.clients[0].is_verified, peer.find("board-1")) == (False, [])

    run(main)


# --- reports


def test_reports_reach_the_application_and_the_fleet(tmp_path: Path) -> None:
    async def main() -> None:
        handler = Noted()
        with Fleet(tmp_path / "fleet.db") as fleet:
            async with peer_for(handler, secrets=SECRETS, fleet=fleet) as peer, board_at(peer) as board:
                await board.hello()
                board.say("report", event="offered", version="1.0.0.3")
                board.say("report", event="download", percent=40)
                board.keep(1, format_message("report", event="rolled back", version="1.0.0.3", reason="it was slow"))
                await board.settled()
                (known,) = fleet.boards()
                assert (known.event, known.event_version, known.reason) == ("rolled back", "1.0.0.3", "it was slow")
                board.say("hello", **{**HELLO, "version": "1.0.0.4", "state": "trial"})
                board.keep(2, format_message("report", event="confirmed", version="1.0.0.4"))
                await board.settled()
                (known,) = fleet.boards()
                assert (known.event, known.version, known.state) == ("confirmed", "1.0.0.4", "confirmed")
        assert handler.reports == [
            Report("offered", "1.0.0.3", verified=True),
            Report("download", percent=40.0, verified=True),
            Report("rolled back", "1.0.0.3", reason="it was slow", verified=True),
            Report("confirmed", "1.0.0.4", verified=True),
        ]
        assert handler.texts == []

    run(main)


def test_a_kept_report_waits_until_its_sender_has_proven_who_it_is() -> None:
    async def main() -> None:
        handler = Noted()
        async with peer_for(handler, secrets=SECRETS) as peer, board_at(peer) as board:
            # As a link does that has just connected: what it keeps goes first, in its order.
            board.keep(1, "before")
            board.keep(2, format_message("report", event="applied", version="1.0.0.3"))
            board.keep(3, "after")
            board.link.send("not kept")
            await board.settled()
            assert (handler.texts, handler.reports) == (["not kept"], [])
            await board.hello()
            await board.acknowledged(3)
            assert handler.texts == ["not kept", "before", "after"]
            assert handler.reports == [Report("applied", "1.0.0.3", verified=True)]

    run(main)


@pytest.mark.parametrize("case", ["time", "number"])
def test_a_kept_report_of_who_proves_nothing_is_handed_over_as_such(case: str) -> None:
    async def main() -> None:
        handler = Noted()
        timeout = 0.3 if case == "time" else 60
        async with peer_for(handler, secrets=SECRETS, verify_timeout=timeout) as peer, board_at(peer) as board:
            count = 1 if case == "time" else 64
            for number in range(1, count + 1):
                board.keep(number, format_message("report", event="failed", reason="no server"))
            await board.acknowledged(count)
            assert handler.reports == [Report("failed", reason="no server")] * count

    run(main)


# --- asking


def test_a_board_is_asked_and_answers() -> None:
    async def main() -> None:
        async with peer_for(secrets=SECRETS) as peer, board_at(peer) as board:
            await board.hello()
            await board.settled()
            numbers = []
            for what, done, text in (("check", True, ""), ("restart", False, "an update is on")):
                asked = asyncio.ensure_future(peer.ask("board-1", what))
                kind, fields = await board.hear()
                assert (kind, fields["what"]) == ("ask", what)
                assert is_proven(fields["mac"], SECRET, "otalink ask", "board-1", "c" * 32, fields["id"], what)
                numbers.append(fields["id"])
                # What was not asked for is not taken for the answer.
                board.say("answer", id=fields["id"] + 1, done=True, text="")
                board.say("answer", id=fields["id"], done=done, text=text)
                answer = await asked
                assert (answer.done, answer.text) == (done, text)
            assert numbers == sorted(set(numbers))

    run(main)


def test_a_board_that_does_not_answer_or_goes_away_is_said() -> None:
    async def main() -> None:
        async with peer_for(secrets=SECRETS) as peer:
            with pytest.raises(AskError, match="board-1 is not connected"):
                await peer.ask("board-1", "check")
            async with board_at(peer) as board:
                await board.hello()
                await board.settled()
                with pytest.raises(AskError, match=r"board-1 at .* gave no answer in 0\.1 s"):
                    await peer.ask("board-1", "check", timeout=0.1)
                asked = asyncio.ensure_future(peer.ask("board-1", "restart"))
                await board.hear()
            with pytest.raises(AskError, match="went away before it answered"):
                await asked

    run(main)


def test_a_handler_may_ask_another_board_while_texts_come() -> None:
    class Asking(Noted):
        async def _ask(self, client: Client) -> None:
            answer = await peers[0].ask("board-1", "report")
            self.texts.append(answer.text)

        def text(self, client: Client, text: str) -> Handled:
            return self._ask(client)

    peers: list[Peer] = []

    async def main() -> None:
        handler = Asking()
        async with peer_for(handler, secrets=SECRETS) as peer, board_at(peer) as board:
            peers.append(peer)
            await board.hello()
            board.link.send("ask me")
            board.link.send("and again")
            for text in ("first", "second"):
                while True:
                    kind, fields = await board.hear()
                    if kind == "ask":
                        break
                board.say("answer", id=fields["id"], done=True, text=text)
            await until(lambda: handler.texts == ["first", "second"])

    run(main)


# --- a database that fails


@pytest.mark.parametrize("method", ["delivered", "commit"])
def test_a_fleet_that_cannot_be_written_to_acknowledges_nothing(
    method: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        handler = Noted()
        with Fleet(tmp_path / "fleet.db") as fleet:

            def full(*arguments: object) -> None:
                # What SQLite does of itself then.
                fleet._database.rollback()
                raise FleetError("fleet.db cannot be used (database or disk is full)")

            async with peer_for(handler, fleet=fleet) as peer:
                works = getattr(fleet, method)
                monkeypatch.setattr(fleet, method, full)
                for _ in range(3):
                    async with board_at(peer) as board:
                        board.keep(1, "one")
                        assert [text async for text in board.link] == []
                        assert handler.texts == ["one"]
                monkeypatch.setattr(fleet, method, works)
                assert fleet.last("", SEQUENCE) == 0
                peer._fleet_rests = 0
                async with board_at(peer) as board:
                    board.keep(1, "one")
                    await board.acknowledged(1)
                    assert fleet.last("", SEQUENCE) == 1
                    board.keep(2, "two")
                    await board.acknowledged(2)
        # It had been handed out, and is not again.
        assert handler.texts == ["one", "two"]

    run(main)
    assert caplog.text.count("disk is full") == 1


def test_a_database_that_another_program_holds_holds_up_nobody_for_long(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        path = tmp_path / "fleet.db"
        with Fleet(path, lock_timeout=0.3) as fleet, contextlib.closing(sqlite3.connect(path)) as other:
            async with peer_for(fleet=fleet) as peer, board_at(peer) as board, board_at(peer) as kept:
                other.execute("BEGIN IMMEDIATE")
                begun = time.monotonic()
                for number in range(20):
                    board.say("hello", **{**HELLO, "board": f"board-{number}"})
                await board.settled()
                # Not once for each of them.
                assert time.monotonic() - begun < 2
                kept.keep(1, "one")
                assert [text async for text in kept.link] == []
                other.rollback()
                peer._fleet_rests = 0
                await board.hello(None)
                await board.settled()
                assert [known.name for known in fleet.boards()] == ["board-1"]
                async with board_at(peer) as again:
                    again.keep(1, "one")
                    await again.acknowledged(1)

    run(main)
    assert caplog.text.count("is locked by another program") == 1


def test_a_fleet_that_is_full_is_said_once_and_acknowledges(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("otalink_host.fleet.BOARDS_MAX", 1)

    async def main() -> None:
        with Fleet(tmp_path / "fleet.db") as fleet:
            async with peer_for(fleet=fleet) as peer, board_at(peer) as board:
                for number in range(5):
                    await board.hello(None, board=f"board-{number}")
                    board.keep(number + 1, "x")
                    await board.acknowledged(number + 1)

    run(main)
    assert caplog.text.count("takes no more") == 1


# --- what the contract says, word by word


def test_messages_pass_where_the_sample_of_note_70_listens() -> None:
    async def main() -> None:
        async with peer_for(secrets=SECRETS) as peer, board_at(peer) as board:
            await board.hello()
            await board.settled()
            asked = asyncio.ensure_future(peer.ask("board-1", "check"))
            raw = await anext(board.link)
            assert raw.startswith('{"otalink":"ask"')
            assert not set("@;") & set(raw)
            board.say("answer", id=json.loads(raw)["id"], done=True, text="")
            await asked

    run(main)


def test_numbers_of_asks_rise_on_each_connection() -> None:
    async def main() -> None:
        async with peer_for(secrets=SECRETS) as peer:
            for _ in range(2):
                async with board_at(peer) as board:
                    await board.hello()
                    await board.settled()
                    numbers = []
                    for _ in range(3):
                        asked = asyncio.ensure_future(peer.ask("board-1", "report"))
                        numbers.append((await board.hear())[1]["id"])
                        board.say("answer", id=numbers[-1], done=True, text="")
                        await asked
                    assert all(one < two for one, two in itertools.pairwise(numbers))

    run(main)
