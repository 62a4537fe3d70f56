"""The recorder: note 70's form, and JSON lines."""

import json
import os
import time
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from otalink.frame import CRC_ERROR
from otalink.message import format_message
from otalink_host.errors import UserError
from otalink_host.recorder import Recorder

CLIENT = SimpleNamespace(address="192.168.0.55:50112", board="board-1")


def record_some(recorder: Recorder) -> None:
    recorder.received(CLIENT, "21.5")
    recorder.sent(CLIENT, "thank you")
    recorder.fault(CLIENT, CRC_ERROR, b"@\0")
    recorder.received(CLIENT, format_message("keep", sequence="0" * 16, id=1, data="é😀\n2"))
    recorder.delivered("é😀\n2")


def test_note_70s_form_has_the_texts_that_came_apart_by_an_empty_line(tmp_path: Path) -> None:
    path = tmp_path / "received.txt"
    path.write_text("before\n\n")
    with Recorder(path) as recorder:
        record_some(recorder)
        # It is in the file at once.
        assert path.read_text("utf-8") == "before\n\n21.5\n\né😀\n2\n\n"


def test_json_lines_have_all_that_went_over_the_connection(tmp_path: Path) -> None:
    path = tmp_path / "frames.jsonl"
    with Recorder(path, as_json=True) as recorder:
        record_some(recorder)
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for line in lines:
        assert (line.pop("client"), line.pop("board")) == ("192.168.0.55:50112", "board-1")
        assert abs(datetime.fromisoformat(line.pop("time")).timestamp() - time.time()) < 60
    assert lines[:3] == [
        {"direction": "in", "text": "21.5"},
        {"direction": "out", "text": "thank you"},
        {"direction": "in", "fault": "wrong CRC", "data": "4000"},
    ]
    assert json.loads(lines[3]["text"])["data"] == "é😀\n2"
    assert len(lines) == 4


def test_a_file_that_cannot_be_had_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be recorded to \(No such file or directory\)"):
        Recorder(tmp_path / "no" / "file")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
def test_a_disk_that_is_full_is_said_once_and_ends_the_recording() -> None:
    with Recorder(Path("/dev/full")) as recorder:
        assert recorder.failure is None
        record_some(recorder)
        assert recorder.failure is not None
        assert "cannot be written to any more (No space left on device): nothing more is recorded" in recorder.failure
