"""A slice of `make power-cut`, which cuts everywhere; and the proof that these tests can fail."""

import shutil
from pathlib import Path

import pytest
from runner import FIRMWARE, SCENARIOS, cut

# Which of the operations are cut, so that the slice takes its share of seconds.
STRIDES = {name: (3 if name in ("again", "rollback", "guard-rollback") else 9) for name in SCENARIOS}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_power_cut_leaves_one_whole_release_and_nothing_else(scenario: str) -> None:
    counts = cut(scenario, doubles=True, stride=STRIDES[scenario])
    assert counts.lines == []
    assert counts.cuts >= 12
    assert counts.doubles >= 4


def test_every_scenario_is_cut() -> None:
    source = (Path(__file__).parent / "scenarios.py").read_text()
    listed = source.partition("ALL = {")[2].partition("}")[0]
    assert sorted(SCENARIOS) == sorted(line.split('"')[1] for line in listed.splitlines() if '"' in line)


WRONG = {
    "overwrites in place": (
        "update",
        "guard/otaswap.py",
        "        os.rename(new, path)\n",
        "        _copy(new, path)\n        _remove(new)\n",
    ),
    "forgets nothing": ("again", "guard/otaswap.py", 'for old in ("confirmed", "reverted"):', "for old in ():"),
    "lets the guard be missing": (
        "guard",
        "guard/otaswap.py",
        "_copy(path, old + _NEW)\n            os.rename(old + _NEW, old)",
        "os.rename(path, old)",
    ),
    "trusts a copy by its name": (
        "failing-guard",
        "guard/otaswap.py",
        "_copy(path, old + _NEW)\n            os.rename(old + _NEW, old)",
        "if not _exists(old):\n                _copy(path, old)",
    ),
    "leaves what another download has left": (
        "file-after-another",
        "otalink/begin.py",
        "            remove_staged(root, path)\n            continue\n",
        "            continue\n",
    ),
    "commits before the record is in its place": (
        "file-full",
        "otalink/commit.py",
        '    rename(root, INCOMING, INSTALLED + NEW_SUFFIX)\n    rename(root, PLAN, STATE_FOLDER + "/committed")\n',
        '    rename(root, PLAN, STATE_FOLDER + "/committed")\n    rename(root, INCOMING, INSTALLED + NEW_SUFFIX)\n',
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_wrong_firmware_is_found(fault: str, tmp_path: Path) -> None:
    scenario, name, right, wrong = WRONG[fault]
    firmware = tmp_path / "firmware"
    shutil.copytree(FIRMWARE, firmware)
    source = (firmware / name).read_text()
    assert source.count(right) == 1
    (firmware / name).write_text(source.replace(right, wrong))
    assert cut(scenario, doubles=False, stride=2, firmware=firmware).bad > 0


def test_fat_does_not_hold_what_an_update_needs() -> None:
    assert cut("update", doubles=False, file_system="VfsFat").bad > 0
