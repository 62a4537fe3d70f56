"""What a link keeps in a file: whatever is cut off or torn, no text that was taken is lost."""

import textwrap
from pathlib import Path

import pytest

POWER_CUT = Path(__file__).parents[1] / "power_cut"

PRELUDE = """
import gc, os, sys
from otalink.errors import InstallError
from otalink.outbox_file import OutboxFile

PATH = {path!r}
POWER_CUT = {power_cut!r}

def all_texts(store):
    # (id, text) of all that would be sent on a new connection.
    store.rewind()
    found = []
    while store.sent < store.last:
        text = store.next()
        if text is None:
            break
        found.append((store.sent, text))
    return found

def read():
    with open(PATH, "rb") as file:
        return file.read()

def write(content):
    with open(PATH, "wb") as file:
        file.write(content)
"""


@pytest.fixture
def run_outbox(on_board):
    def run(body, path="outbox", timeout=60, heap="2m"):
        return on_board(
            PRELUDE.format(path=path, power_cut=str(POWER_CUT)) + textwrap.dedent(body), heap=heap, timeout=timeout
        ).lines

    return run


def test_texts_and_their_numbers_outlast_a_restart(run_outbox):
    lines = run_outbox(
        """
        texts = ["a", "zwei ä € 😀", "a\\nb\\r\\t\\x00\\x7f", "", "@;\\"\\\\", "x" * 1500]
        store = OutboxFile(PATH, 32768)
        print(len(store.sequence), [store.append(text) for text in texts])
        again = OutboxFile(PATH, 32768)
        print(again.sequence == store.sequence, again.damage)
        print(all_texts(again) == [(number + 1, text) for number, text in enumerate(texts)])
        again.acknowledge(4)
        print([number for number, _ in all_texts(again)])
        again.append("y")
        print([number for number, _ in all_texts(OutboxFile(PATH, 32768))])
        """
    )
    assert lines == ["16 [True, True, True, True, True, True]", "True None", "True", "[5, 6]", "[5, 6, 7]"]


def test_a_file_is_bounded_and_has_room_again_once_half_of_it_is_acknowledged(run_outbox):
    lines = run_outbox(
        """
        store = OutboxFile(PATH, 2048)
        count = 0
        while store.append("x" * 50):
            count += 1
        print(len(read()) <= 2048, count > 20)
        all_texts(store)
        store.acknowledge(2)
        print(store.append("x"))
        store.acknowledge(count - 5)
        before = len(read())
        print(store.append("x"), len(read()) < before)
        print([number - count for number, _ in all_texts(OutboxFile(PATH, 2048))])
        try:
            store.append("x" * 2048)
        except ValueError as error:
            print(error)
        # For as long as it is used it stays bounded, and takes new texts.
        largest = 0
        for number in range(2000):
            assert store.append("y" * (number % 90))
            store.next()
            store.acknowledge(store.sent)
            largest = max(largest, len(read()))
        print(largest <= 2048, sorted(os.listdir()))
        """
    )
    assert lines == [
        "True True",
        "False",
        "True True",
        "[-4, -3, -2, -1, 0, 1]",
        "the text takes 2066 bytes, and outbox only 2048 (file_size)",
        "True ['outbox', 'script.py']",
    ]


def test_a_file_that_ends_anywhere_has_every_text_that_is_whole(run_outbox):
    lines = run_outbox(
        """
        store = OutboxFile(PATH, 8192)
        for number in range(4):
            store.append("text %d" % number)
        content = read()
        sequence = store.sequence
        ends = [at + 1 for at in range(len(content)) if content[at] == 10]
        for junk in (b"", b"\\xff\\x00junk", b"\\n", b"00000000 5 0 \\"x\\"\\n"):
            for end in range(len(content) + 1):
                write(content[:end] + junk)
                if junk == b"\\n" and end + 1 in ends:
                    continue  # that makes it whole
                store = OutboxFile(PATH, 8192)
                whole = len([at for at in ends if at <= end]) - 1
                expected = [(number + 1, "text %d" % number) for number in range(max(whole, 0))]
                assert all_texts(store) == expected, (end, junk)
                assert (store.sequence == sequence) == (whole >= 0)
                assert (store.damage is None) == (whole >= 0)
                assert store.append("new")
                store = OutboxFile(PATH, 8192)
                assert all_texts(store) == expected + [(len(expected) + 1, "new")], (end, junk)
                assert store.damage is None
        """
    )
    assert lines == []


def test_damage_in_the_middle_is_said_and_no_number_is_used_twice(run_outbox):
    lines = run_outbox(
        """
        store = OutboxFile(PATH, 8192)
        for number in range(5):
            store.append("text %d" % number)
        content = read()
        at = content.find(b"text 2")
        write(content[:at] + b"TEXT" + content[at + 4:])
        again = OutboxFile(PATH, 8192)
        print(again.damage, again.sequence == store.sequence, all_texts(again))
        print(OutboxFile(PATH, 8192).sequence == again.sequence)
        # Under its feet.
        print(all_texts(store), store.damage, store.last - store.acknowledged)
        print(store.append("new"), all_texts(store))
        os.remove(PATH)
        print(all_texts(store), store.damage, store.append("newer"), all_texts(store))
        """
    )
    assert lines == [
        "outbox is damaged: texts that were kept are lost False [(1, 'text 0'), (2, 'text 1')]",
        "True",
        "[(1, 'text 0'), (2, 'text 1')] outbox is damaged: 3 texts that were kept are lost 0",
        "True [(6, 'new')]",
        "[] outbox is damaged: 1 texts that were kept are lost True [(7, 'newer')]",
    ]


def test_a_file_of_something_else_is_left_and_begun_anew_when_it_is_needed(run_outbox):
    lines = run_outbox(
        """
        for content in (b"", b"{}", b"x" * 5000, b"\\xff" * 3000 + b"\\n"):
            write(content)
            store = OutboxFile(PATH, 1024)
            print(store.damage, store.append("a"), all_texts(OutboxFile(PATH, 1024)))
        """
    )
    assert lines == ["outbox is no outbox: it is begun anew True [(1, 'a')]"] * 4


def test_a_flash_that_is_full_is_said_and_loses_nothing(run_outbox):
    lines = run_outbox(
        """
        sys.path.append(POWER_CUT)
        import vfs
        from flash import Flash
        image = bytearray(b"\\xff" * 4096 * 12)
        vfs.VfsLfs2.mkfs(Flash(image), progsize=256, readsize=256)
        vfs.mount(vfs.VfsLfs2(Flash(image), progsize=256, readsize=256), "/")
        store = OutboxFile("/outbox", 1000000)
        count = 0
        try:
            while store.append("x" * 500):
                count += 1
        except InstallError as error:
            print(error)
        print(count > 10, [number for number, _ in all_texts(store)] == list(range(1, count + 1)))
        store = OutboxFile("/outbox", 1000000)
        print([number for number, _ in all_texts(store)] == list(range(1, count + 1)))
        store.acknowledge(count)
        print(store.append("small"), all_texts(OutboxFile("/outbox", 1000000)) == [(count + 1, "small")])
        """
    )
    assert lines == ["/outbox cannot be written: is the flash full?", "True True", "True", "True True"]


def test_a_damaged_file_on_a_full_flash_is_said_and_written_anew_when_there_is_room(run_outbox):
    lines = run_outbox(
        """
        sys.path.append(POWER_CUT)
        import vfs
        from flash import Flash
        image = bytearray(b"\\xff" * 4096 * 12)
        vfs.VfsLfs2.mkfs(Flash(image), progsize=256, readsize=256)
        vfs.mount(vfs.VfsLfs2(Flash(image), progsize=256, readsize=256), "/flash")
        store = OutboxFile(PATH, 8192)
        for number in range(12):
            store.append("text %d " % number + "x" * 400)
        content = read()
        at = content.find(b"text 2")
        write(content[:at] + b"TEXT" + content[at + 4:])
        fillers = []
        try:
            while True:
                name = "/flash/filler-%d" % len(fillers)
                with open(name, "wb") as file:
                    file.write(b"x" * 4096)
                fillers.append(name)
        except OSError:
            os.remove(name)
        again = OutboxFile(PATH, 8192)
        print(again.damage)
        print(again.sequence != store.sequence, [number for number, _ in all_texts(again)])
        try:
            again.append("new")
        except InstallError as error:
            print(error)
        for name in fillers:
            os.remove(name)
        print(again.append("new"), [number for number, _ in all_texts(again)])
        last = OutboxFile(PATH, 8192)
        print(last.damage, last.sequence == again.sequence, [number for number, _ in all_texts(last)])
        """,
        path="/flash/outbox",
    )
    assert lines == [
        "/flash/outbox is damaged: texts that were kept are lost, and it cannot be written anew: is the flash full?",
        "True [1, 2]",
        "/flash/outbox cannot be written: is the flash full?",
        "True [1, 2, 3]",
        "None True [1, 2, 3]",
    ]


CUTS = """
sys.path.append(POWER_CUT)
import vfs
from flash import HALF, JUNK, NOTHING, Flash, apply, tear

SIZE = 1500
GEOMETRY = {"progsize": 256, "readsize": 256}
image = bytearray(b"\\xff" * 4096 * 16)
vfs.VfsLfs2.mkfs(Flash(image), **GEOMETRY)
start = bytes(image)
record = []
vfs.mount(vfs.VfsLfs2(Flash(image, record), **GEOMETRY), "/flash")
store = OutboxFile(PATH, SIZE)
# What holds from the operation of this number on: (number, how many were taken, acknowledged).
history = []

def note():
    history.append((len(record), store.last, store.acknowledged))

note()
for number in range(1, 41):
    while not store.append("text %d " % number + "x" * (number % 5 * 20)):
        store.next()
        store.acknowledge(store.sent)
        note()
    note()
    if number % 3 == 0:
        while store.sent < store.last - number % 4:
            store.next()
        store.acknowledge(max(store.sent, store.acknowledged))
        note()
    if number % 13 == 0:
        store.tidy()
        note()
vfs.umount("/flash")
sequence = store.sequence

before = bytearray(start)
cuts = 0
for n, operation in enumerate(record):
    done = [entry for entry in history if entry[0] <= n][-1]
    for kind in (NOTHING, HALF, JUNK):
        image[:] = before
        tear(image, operation, kind)
        cuts += 1
        chip = Flash(image)
        vfs.mount(vfs.VfsLfs2(chip, **GEOMETRY), "/flash")
        store = OutboxFile(PATH, SIZE)
        where = (n, kind, done, store.last, store.acknowledged)
        _, taken, acknowledged = done
        assert store.damage is None, where
        assert store.last in (taken, taken + 1), where
        assert store.acknowledged <= acknowledged + 1, where
        assert not taken or store.sequence == sequence, where
        found = all_texts(store)
        assert [number for number, _ in found] == list(range(store.acknowledged + 1, store.last + 1)), where
        assert all(text.startswith("text %d " % number) for number, text in found), where
        # It goes on.
        while not store.append("after"):
            store.acknowledge(store.sent)
        expected = all_texts(store)
        assert expected[-1] == (store.last, "after"), where
        assert all_texts(OutboxFile(PATH, SIZE))[-len(expected):] == expected, where
        chip.off()
        vfs.umount("/flash")
    apply(before, operation)
    gc.collect()
print(cuts > 300, len(history) > 50)
"""


def test_a_power_cut_in_any_operation_loses_no_text_that_was_taken(run_outbox):
    lines = run_outbox(CUTS, path="/flash/outbox", heap="8m")
    assert lines == ["True True"]


OVERLOOKED = """
sys.path.append(POWER_CUT)
import vfs
from flash import HALF, JUNK, NOTHING, Flash, apply, tear

GEOMETRY = {"progsize": 256, "readsize": 256}

def mount(record=None):
    chip = Flash(image, record)
    vfs.mount(vfs.VfsLfs2(chip, **GEOMETRY), "/flash")
    return chip

image = bytearray(b"\\xff" * 4096 * 16)
vfs.VfsLfs2.mkfs(Flash(image), **GEOMETRY)
mount()
store = OutboxFile(PATH, 1500)
store.append("kept")
# Its name comes right ahead of the file's.
open("/flash/other", "w").close()
os.mkdir("/flash/folder")
vfs.umount("/flash")
before = bytearray(image)
record = []
mount(record)
os.rename("/flash/other", "/flash/folder/other")
vfs.umount("/flash")
overlooked = 0
for operation in record:
    for kind in (NOTHING, HALF, JUNK):
        image[:] = before
        tear(image, operation, kind)
        chip = mount()
        overlooked += "outbox" not in os.listdir("/flash")
        again = OutboxFile(PATH, 1500)
        assert (again.sequence, all_texts(again)) == (store.sequence, [(1, "kept")]), kind
        chip.off()
        vfs.umount("/flash")
    apply(before, operation)
print(overlooked > 0)
"""


def test_a_file_that_littlefs_overlooks_after_a_power_cut_in_a_rename_is_found(run_outbox):
    assert run_outbox(OVERLOOKED, path="/flash/outbox") == ["True"]
