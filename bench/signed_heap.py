"""The heap that an update by a signed release file needs: one as a board may get it, and one of a thousand files."""

from collections.abc import Mapping
from pathlib import Path

from bench.board import BLOCK, Board
from bench.children import child
from bench.heap import must_update, passes, search, settings, smallest
from bench.release_files import Publisher, digests, mix, small
from bench.report import Aim, Table
from otalink_host.build import Built

FILES = 50
AIM_KIB, LIMIT_KIB = 64, 96
FEW, MANY = 10, 1000
AIM_MORE_KIB = 1
# Of 2 MiB, as an ESP32 with a flash of 4 MiB has it; and of 16 MiB, since a small file takes a whole block.
BLOCKS, BLOCKS_FOR_MANY = 512, 4096


class _Boards:
    """Makes boards for which a release is offered that replaces all of their files."""

    def __init__(self, work: Path, port: int, served: Path) -> None:
        self.board = Board(work / "modules")
        self._publisher = Publisher(work, served)
        self._settings = {**settings(port), "keys": self._publisher.keys}

    def make(self, image: Path, files: Mapping[str, bytes], new: Mapping[str, bytes], blocks: int) -> Built:
        """Makes the flash `image` with `files` installed by an update, and publishes `new`."""
        installed = self._publisher.publish("1.0.0.1", files)
        self.board.make_flash(image, self._settings, blocks)
        must_update(self.board, image, digests(installed))
        return self._publisher.publish("1.0.0.2", new)


def measure(work: Path) -> list[Table]:
    """Finds the smallest heaps for whole updates from power-on, the boot guard's swap included."""
    served, image = work / "served", work / "flash.img"
    served.mkdir()
    with child("ftp_server", served, 0) as server:
        boards = _Boards(work, server.port, served)
        board = boards.board
        built = boards.make(image, mix(FILES, 1), mix(FILES, 2), BLOCKS)
        needed = search(board, image, digests(built), (AIM_KIB, LIMIT_KIB))
        expected = digests(boards.make(image, small(FEW, 1), small(FEW, 2), BLOCKS))
        few = smallest(board, image, expected)
        expected = digests(boards.make(image, small(MANY, 1), small(MANY, 2), BLOCKS_FOR_MANY))
        same = passes(board, image, expected, few + AIM_MORE_KIB, 1)
        many = few + AIM_MORE_KIB if same else smallest(board, image, expected, 1)
    content = sum(file.size for file in built.files)
    modules = sum(file.path.endswith(".mpy") for file in built.files)
    encodings = [file.encoding for file in built.files]
    return [
        Table(
            f"Heap: a signed update of {len(built.files)} files, {content // 1000} KB in all",
            ("", "heap"),
            [
                *needed.rows(),
                (f"the smallest for {FEW} files of 100 bytes", f"{few} KiB"),
                (f"the smallest for {MANY:,} files of 100 bytes", f"at most {many} KiB" if same else f"{many} KiB"),
            ],
            [
                Aim(f"the update passes in {AIM_KIB} KiB", needed.passes[AIM_KIB]),
                Aim(f"it passes in {LIMIT_KIB} KiB, the limit", needed.passes[LIMIT_KIB]),
                Aim(f"{MANY:,} files take at most {AIM_MORE_KIB} KiB more than {FEW}", same),
            ],
            [
                "From power-on to the end of the swap, as the plain update; all files are replaced. Of the "
                f"{len(encodings)} files {modules} are modules as .mpy, and {encodings.count('deflate')} are "
                f"compressed; the release file has {built.size:,} bytes, and a signature of 3,072 bits. The flash has "
                f"{BLOCKS * BLOCK // 2**20} MiB.",
                f"The last two rows are of other boards, where files are so small that their number alone counts; "
                f"{MANY:,} files were tried once in each heap, on a flash of {BLOCKS_FOR_MANY * BLOCK // 2**20} MiB.",
            ],
            {**needed.data(), "few_kib": few, "many_kib": many, "content": content, "release_file": built.size},
        )
    ]
