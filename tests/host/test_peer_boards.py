"""otalink's own messages at the peer (docs/link.md): delivery, who is who, reports, and what may be asked."""

import asyncio
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from otalink.message import format_message, parse_message
from otalink.secret import is_proven, prove_board
from otalink_host.errors import UserError
from otalink_host.fleet import Fleet
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
            assert len(peer._sequences) == 10

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
                with pytest.raises(AskError):
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
            await board.acknowledged(1)
            await asyncio.sleep(0.1)
            assert (handler.texts, handler.reports) == (["before"], [])
            await board.hello()
            await board.acknowledged(3)
            assert handler.texts == ["before", "after"]
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


def test_a_fleet_that_cannot_be_written_to_acknowledges_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        handler = Noted()
        with Fleet(tmp_path / "fleet.db") as fleet:
            async with peer_for(handler, fleet=fleet) as peer:
                works = fleet.delivered
                monkeypatch.setattr(fleet, "delivered", full)
                async with board_at(peer) as board:
                    board.keep(1, "one")
                    assert [text async for text in board.link] == []
                monkeypatch.setattr(fleet, "delivered", works)
                async with board_at(peer) as board:
                    board.keep(1, "one")
                    board.keep(2, "two")
                    await board.acknowledged(2)
        # It had been handed out, and is not again.
        assert handler.texts == ["one", "two"]

    def full(sequence: str, number: int) -> None:
        raise UserError("fleet.db cannot be used (database or disk is full)")

    run(main)
    assert caplog.text.count("disk is full") == 1


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
