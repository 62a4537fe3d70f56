"""The boot guard on MicroPython, with real littlefs: the states of docs/update.md, what counts, who runs main.py.

Modelled are `machine`, the clock, and the firmware's way from reset through boot.py to main.py.
"""

from pathlib import Path

import pytest

POWER_CUT = Path(__file__).parents[1] / "power_cut"
SOURCES = Path(__file__).parents[2] / "firmware" / "guard"

PRELUDE = f"""
sys.path.insert(0, {str(POWER_CUT)!r})
import gc, os, vfs
import board as boards
from board import ResetError, machine

BOOT = open({str(SOURCES / "boot.py")!r}).read()
GUARD = open({str(SOURCES / "otaguard.py")!r}).read()
SWAP = open({str(SOURCES / "otaswap.py")!r}).read()
PWRON, HARD, WDT, SLEEP, SOFT = 1, 2, 3, 4, 5
TRIALS = ("trial-0", "trial-1", "trial-2", "trial-3")

class Clock:
    ms = 100
    slept = []
    interrupted = False

    def ticks_ms(self):
        return self.ms

    def sleep(self, seconds):
        self.slept.append(seconds)
        if self.interrupted:
            raise KeyboardInterrupt

clock = Clock()

def write(path, content=""):
    for n, letter in enumerate(path):
        if letter == "/" and n:
            try:
                os.mkdir(path[:n])
            except OSError:
                pass
    with open(path, "w") as file:
        file.write(content)

def read(path):
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return None

def plan(state, lines="", deadline=600, number=1, end="end\\n"):
    head = f"otalink-plan {{number}}\\nname app\\nversion 2.0.0.0\\ndeadline {{deadline}}\\n"
    write("/.otalink/" + state, head + lines + end)

def state():
    return " ".join(sorted(name for name in os.listdir("/.otalink") if not name.startswith("log")))

def start(cause=PWRON):
    "One run of the board: how it ends. The firmware runs main.py unless boot.py failed."
    board.off()
    board.mount()
    machine.cause = cause
    sys.modules["time"] = clock
    boards._load_guard()
    names = {{"__name__": "__main__"}}
    try:
        for path in ("boot.py", "main.py"):
            if boards.exists(path):
                execfile(path, names)
        return "REPL"
    except ResetError:
        return "restart"
    except BaseException as error:
        return f"REPL after {{type(error).__name__}}"
    finally:
        globals()["last"] = names

sys.path[:] = ["", ".frozen", "/lib"]
board = boards.Board(bytearray(4096 * 60))
board.format()
board.mount()
write("/boot.py", BOOT)
write("/otaguard.py", GUARD)
write("/otaswap.py", SWAP)
write("/main.py", "print('main')\\nANSWER = 42\\n")
os.mkdir("/.otalink")
"""


@pytest.fixture
def boot(on_board):
    """Runs `body` on MicroPython, on a board that has the guard; gives the lines that it printed."""

    def run(body):
        return on_board(PRELUDE + body, heap="2m").lines

    return run


@pytest.mark.parametrize(
    ("before", "after", "end"),
    [
        ("committed", "trial-0", "restart"),
        ("swapping", "trial-0", "restart"),
        ("trial-0", "trial-1", "REPL"),
        ("trial-1", "trial-2", "REPL"),
        ("trial-2", "trial-3", "REPL"),
        ("trial-3", "reverted", "restart"),
        ("confirmed", "confirmed", "REPL"),
        ("reverting", "reverted", "restart"),
        ("reverted", "reverted", "REPL"),
        ("forgetting", "", "REPL"),
        ("broken", "broken", "REPL"),
    ],
)
def test_each_state_becomes_the_next(boot, before, after, end):
    lines = boot(f"plan({before!r})\nend = start()\nprint(end, state())")
    assert lines == ["main"] * (end == "REPL") + [f"{end} {after}".rstrip() if after else f"{end} "]


def test_without_a_plan_main_runs_and_nothing_is_written(boot):
    assert boot("print(start(), board.chip.writes)\nos.rmdir('/.otalink')\nprint(start(), board.chip.writes)") == [
        "main",
        "REPL 0",
        "main",
        "REPL 0",
    ]


@pytest.mark.parametrize("state", ["confirmed", "reverted", "broken"])
def test_an_idle_boot_costs_one_listing_and_no_write(boot, state):
    lines = boot(
        f"""
plan({state!r})
listed = []

class Os:
    def __getattr__(self, name):
        return getattr(os, name)

    def listdir(self, path):
        listed.append(path)
        return os.listdir(path)

sys.modules["os"] = Os()
end = start()
print(end, listed, board.chip.writes)
"""
    )
    assert lines == ["main", "REPL ['/.otalink'] 0"]


@pytest.mark.parametrize(
    ("cause", "after"),
    [("PWRON", "trial-2"), ("HARD", "trial-2"), ("WDT", "trial-2"), ("SOFT", "trial-1"), ("SLEEP", "trial-1")],
)
def test_a_tool_and_a_wake_are_no_boot_of_the_trial(boot, cause, after):
    lines = boot(f"plan('trial-1')\nstart({cause})\nprint(state(), board.chip.writes > 0)")
    assert lines[-1] == f"{after} {after == 'trial-2'}"


@pytest.mark.parametrize(("ms", "after"), [(900, "trial-2"), (60000, "trial-1")])
def test_where_the_port_knows_no_soft_reset_the_clock_does(boot, ms, after):
    """The rp2 has PWRON_RESET and WDT_RESET, and machine.reset() gives the second."""
    lines = boot(
        f"""
class Rp2:
    WDT_RESET = 3
    cause = 3

    def reset(self):
        raise ResetError

    def reset_cause(self):
        return self.cause

machine = sys.modules["machine"] = Rp2()
clock.ms = {ms}
plan("trial-1")
print(start(WDT), state())
os.remove("/.otalink/" + state())
print(start(WDT), state())
"""
    )
    assert lines == ["main", f"REPL {after}", "main", "REPL "]


@pytest.mark.parametrize(("ms", "after"), [(900, "trial-2"), (60000, "trial-1")])
def test_the_esp8266_calls_each_restart_soft(boot, ms, after):
    lines = boot(
        f"""
class Esp8266:
    platform = "esp8266"
    modules = sys.modules

sys.modules["sys"] = Esp8266()
clock.ms = {ms}
plan("trial-1")
print(start(SOFT), state())
"""
    )
    assert lines == ["main", f"REPL {after}"]


def test_three_unconfirmed_boots_go_back(boot):
    lines = boot(
        """
write("/a.py", "old")
write("/a.py.ota-new", "new")
plan("committed", "replace a.py\\n")
for _ in range(6):
    print(start(), state(), read("/a.py"))
"""
    )
    assert [line for line in lines if line != "main"] == [
        "restart trial-0 new",
        "REPL trial-1 new",
        "REPL trial-2 new",
        "REPL trial-3 new",
        "restart reverted old",
        "REPL reverted old",
    ]


def test_a_swap_keeps_the_old_files_and_going_back_brings_them_again(boot):
    lines = boot(
        """
write("/lib/a.py", "old"); write("/lib/a.py.ota-new", "new")
write("/x/y/b.py.ota-new", "added")
write("/gone/c.py", "deleted")
plan("committed", "replace lib/a.py\\nadd x/y/b.py\\ndelete gone/c.py\\n")
files = ("/lib/a.py", "/x/y/b.py", "/gone/c.py", "/lib/a.py.ota-old", "/gone/c.py.ota-old")
print(start(), [read(path) for path in files])
os.rename("/.otalink/trial-0", "/.otalink/reverting")
print(start(), [read(path) for path in files], boards.exists("/x"))
"""
    )
    assert lines == [
        "restart ['new', 'added', None, 'old', 'deleted']",
        "restart ['old', None, 'deleted', None, None] False",
    ]


def test_a_commit_gives_up_the_way_back_before(boot):
    lines = boot(
        """
write("/gone/c.py.ota-old", "kept")
plan("confirmed", "delete gone/c.py\\n")
plan("committed", "")
print(start(), state(), boards.exists("/gone"))
"""
    )
    assert lines == ["restart trial-0 False"]


# main.py


def test_main_runs_once_in_the_names_of_the_repl(boot):
    lines = boot("print(start(), sorted(last), read('/main.py')[:5])")
    assert lines == ["main", "REPL ['ANSWER', '__name__'] print"]


@pytest.mark.parametrize("cause", ["PWRON", "SOFT"])
@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "SystemExit"])
def test_ctrl_c_and_exit_pass(boot, raised, cause):
    lines = boot(f"write('/main.py', 'raise {raised}')\nprint(start({cause}), clock.slept, state())")
    assert lines == [f"REPL after {raised} [] "]


def test_a_crash_is_shown_leaves_evidence_and_restarts(boot):
    lines = boot(
        "write('/main.py', 'x = 1\\n1 / 0')\nprint(start(), clock.slept, state())\nprint(read('/.otalink/crash'))\n"
        "print(start(HARD), state())\nprint(read('/.otalink/log'))"
    )
    assert lines[0].startswith("Traceback")
    assert "ZeroDivisionError: divide by zero" in lines
    assert lines[lines.index("restart [2] crash") + 1] == "ZeroDivisionError: divide by zero"
    assert lines[-3:] == ["restart crash crash-1", "ZeroDivisionError: divide by zero", ""]


def test_a_crash_that_leaves_no_memory_is_a_crash_too(boot):
    lines = boot("write('/main.py', 'x = []\\nwhile True:\\n    x.append(bytearray(1000))')\nprint(start(), state())")
    assert lines[-1] == "restart crash"


def test_what_is_no_exception_but_an_error_is_a_crash_too(boot):
    lines = boot(
        "write('/main.py', 'import asyncio\\nraise asyncio.CancelledError')\nsys.path[:] = ['', '.frozen']\n"
        "print(start(), state())"
    )
    assert lines[-1] == "restart crash"


def test_ctrl_c_after_a_crash_gives_the_repl(boot):
    lines = boot("write('/main.py', '1 / 0')\nclock.interrupted = True\nprint(start())")
    assert lines[-1] == "REPL after KeyboardInterrupt"


def test_a_crash_in_a_trial_is_no_evidence_but_a_boot(boot):
    lines = boot("write('/main.py', '1 / 0')\nplan('trial-0')\nprint(start(), state())\nprint(start(HARD), state())")
    assert [line for line in lines if "trial" in line] == ["restart crash trial-1", "restart crash trial-2"]


def test_a_crash_under_a_tool_is_the_tools(boot):
    lines = boot("write('/main.py', '1 / 0')\nprint(start(SOFT), state())")
    assert lines == ["REPL after ZeroDivisionError "]


def test_three_crashes_go_back_to_the_kept_release(boot):
    lines = boot(
        """
write("/main.py", "1 / 0")
write("/main.py.ota-old", "print('old')")
plan("confirmed", "replace main.py\\n")
for _ in range(5):
    print(start(HARD), state())
"""
    )
    ends = [line for line in lines if line.startswith(("restart", "REPL", "old"))]
    assert ends == [
        "restart confirmed crash",
        "restart confirmed crash crash-1",
        "restart confirmed crash crash-2",
        "restart reverted",
        "old",
        "REPL reverted",
    ]


def test_watchdog_resets_are_evidence(boot):
    lines = boot("plan('confirmed')\nfor _ in range(4):\n    print(start(WDT), state())")
    assert lines == [
        "main",
        "REPL confirmed crash-1",
        "main",
        "REPL confirmed crash-2",
        "restart reverted",
        "main",
        "REPL crash-1 reverted",
    ]


def test_with_nothing_kept_the_updater_runs_by_itself(boot):
    lines = boot(
        """
write("/otalink/__init__.py")
write("/otalink/recovery.py", "print('recovery')")
write("/main.py", "1 / 0")
for name in list(sys.modules):
    if name.startswith("otalink"):
        del sys.modules[name]
write("/.otalink/crash-3")
print(start(HARD), state())
print(start(SOFT), state())
"""
    )
    assert lines[0] == "recovery"
    assert lines[-2:] == ["restart crash crash-3", "REPL after ZeroDivisionError crash crash-3"]


def test_a_recovery_that_fails_leaves_main_its_chance(boot):
    lines = boot("write('/.otalink/crash-3')\nsys.path[:] = ['']\nsys.modules.pop('otalink', None)\nprint(start(HARD))")
    assert lines[-2:] == ["main", "REPL"]


def test_an_idle_boot_fits_in_64_kib_and_leaves_little_but_names(on_board):
    lines = on_board(
        f"""
import gc
sys.modules["machine"] = type("machine", (), {{"SOFT_RESET": 5, "reset_cause": lambda: 1}})
sys.path.insert(0, {str(SOURCES)!r})

def used():
    gc.collect()
    return gc.mem_alloc()

def boot():
    execfile({str(SOURCES / "boot.py")!r}, {{}})

used()
before = used()
boot()
once = used() - before
boot()
# Each name takes its place once.
print(once < 3000, used() - before - once < 300)
""",
        heap="64k",
    ).lines
    assert lines == ["True True"]


# The deadline

TIMER = """
class Timer:
    PERIODIC = 1
    made = []

    def __init__(self, number):
        if number not in numbers:
            raise ValueError("no such timer")
        self.number = number

    def init(self, **options):
        self.options = options
        Timer.made.append(self)

    def deinit(self):
        if not resets:  # a board that restarts does not come here
            print("stopped")

    def fire(self):
        resets.clear()
        self.options["callback"](self)
        for _ in range(100):  # in which the scheduler has its turn
            pass
        return "restart" if resets else "goes on"

resets = []
type(machine).reset = lambda self: resets.append(self)
type(machine).Timer = Timer
"""


@pytest.mark.parametrize(("numbers", "taken"), [("(-1,)", -1), ("(0, 1, 2, 3)", 3), ("(0, 1)", 1)])
def test_a_timer_ends_a_boot_of_the_trial(boot, numbers, taken):
    lines = boot(
        f"numbers = {numbers}\n{TIMER}\n"
        """
plan("trial-0", deadline=30)
start()
timer = Timer.made[0]
print(timer.number, timer.options["period"])
print(timer.fire())
print(read("/.otalink/log"))
os.rename("/.otalink/trial-1", "/.otalink/confirmed")
print(timer.fire())
"""
    )
    assert lines[1:3] == [f"{taken} 30000", "restart"]
    assert "app 2.0.0.0 was not confirmed in time" in lines
    assert lines[-2:] == ["stopped", "goes on"]


@pytest.mark.parametrize("case", ["plan('confirmed')", "plan('trial-0', deadline=0)"])
def test_without_a_deadline_there_is_no_timer(boot, case):
    assert boot(f"numbers = (-1,)\n{TIMER}\n{case}\nstart()\nprint(Timer.made)") == ["main", "[]"]


def test_no_timer_is_no_obstacle(boot):
    assert boot(f"numbers = ()\n{TIMER}\nplan('trial-0')\nprint(start(), state())") == ["main", "REPL trial-1"]


# What is broken


@pytest.mark.parametrize("state", ["committed", "swapping", "reverting"])
@pytest.mark.parametrize("how", ["end=''", "end='en'", "number=2", "number='x'"])
def test_a_plan_that_is_not_understood_is_put_aside(boot, state, how):
    lines = boot(
        f"write('/a.py', 'old')\nwrite('/a.py.ota-new', 'new')\nplan({state!r}, 'replace a.py\\n', {how})\n"
        "print(start(), state(), read('/a.py'))"
    )
    assert lines == ["main", "REPL broken old"]


def test_a_trial_with_a_broken_plan_goes_on_to_the_application(boot):
    lines = boot("write('/.otalink/trial-3', '')\nprint(start(), state())\nprint(start(), state())")
    assert lines == ["main", "REPL broken", "main", "REPL broken"]


def test_files_that_are_missing_stop_nothing(boot):
    lines = boot(
        "plan('committed', 'replace a.py\\nadd b/c.py\\ndelete d.py\\ncopy e.py\\n')\nprint(start(), state())\n"
        "os.rename('/.otalink/trial-0', '/.otalink/reverting')\nprint(start(), state())"
    )
    assert lines == ["restart trial-0", "restart reverted"]


def test_a_flash_too_full_for_the_copy_of_the_guard_goes_back(boot):
    lines = boot(
        """
write("/a.py", "old"); write("/a.py.ota-new", "new")
write("/otaguard.py.ota-new", GUARD + "# new\\n")
plan("committed", "replace a.py\\ncopy otaguard.py\\n")
try:
    for n in range(100):
        write(f"/filler{n}", "x" * 4000)
except OSError:
    os.remove(f"/filler{n}")
print(start(), state(), read("/a.py"), read("/otaguard.py") == GUARD)
print(sorted(name for name in os.listdir("/") if not name.startswith("filler")))
print(start(), state())
"""
    )
    assert lines == [
        "restart reverted old True",
        "['.otalink', 'a.py', 'boot.py', 'main.py', 'otaguard.py', 'otaswap.py']",
        "main",
        "REPL reverted",
    ]


@pytest.mark.parametrize("state", ["swapping", "trial-0", "trial-3"])
@pytest.mark.parametrize("guard", ["def boot(:", "def boot():\\n    raise ValueError('fault')", "import nowhere", ""])
def test_boot_py_puts_the_kept_guard_back(boot, guard, state):
    lines = boot(
        f"plan({state!r}, 'copy otaguard.py\\n')\nos.rename('/otaguard.py', '/otaguard.py.ota-old')\n"
        f"write('/otaguard.py', {guard!r}.replace(chr(92) + 'n', chr(10)))\n"
        "print(start(), state(), read('/otaguard.py') == GUARD)\nfor _ in range(2):\n    print(start(HARD), state())"
    )
    assert lines[0].startswith("Traceback")
    assert lines[-4:] == ["restart reverting True", "restart reverted", "main", "REPL reverted"]


def test_without_a_kept_guard_the_application_runs(boot):
    lines = boot("write('/otaguard.py', 'def boot(:')\nprint(start(), state())")
    assert lines[-2:] == ["main", "REPL "]


# What it takes


def test_the_log_is_bounded(boot):
    lines = boot(
        """
boards._load_guard()
import otaswap
for n in range(500):
    otaswap.log(f"line {n} of the log")
sizes = [os.stat("/.otalink/" + name)[6] for name in ("log", "log-1")]
print(sum(sizes) <= 2100, sum(sizes) >= 1000, read("/.otalink/log").endswith("line 499 of the log\\n"))
"""
    )
    assert lines == ["True True True"]


def test_a_plan_of_a_thousand_lines_takes_no_more_memory(boot):
    lines = boot(
        """
plan("committed", "".join(f"delete {'x' * 40}/{n}.py\\n" for n in range(1000)))
boards._load_guard()
gc.collect()
import otaguard
hog = [bytearray(1024) for _ in range((gc.mem_free() - 24000) // 1100)]
try:
    otaguard.boot()
except ResetError:
    hog = None
    print(state())
"""
    )
    assert lines == ["trial-0"]
