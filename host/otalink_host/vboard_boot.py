"""Runs on the virtual board, under MicroPython: what a board does between its reset and its REPL.

Mounts the flash as `/`, puts `machine` together, runs boot.py and main.py; the interpreter's own REPL follows.
Arguments: flash descriptor, blocks in it, control descriptor, reset cause, unique id, then any of "format",
"boot.py" and "main.py". It may leave no name of its own behind, nor the host's file system within reach.
"""

# mypy: ignore-errors


def start():
    import _thread
    import binascii
    import gc
    import io
    import os
    import sys
    import time

    import machine
    import micropython
    import vfs

    del globals()["start"]
    flash_fd, blocks, control_fd, cause = [int(argument) for argument in sys.argv[1:5]]
    unique_id = binascii.unhexlify(sys.argv[5])
    todo = sys.argv[6:]
    # Opened by descriptor while the host's file system is still mounted. Neither file buffers: what
    # littlefs writes is in the host's file at once, so that a kill is a power cut.
    flash = open(flash_fd, "r+b")  # noqa: SIM115 - both stay open until the reset
    control = open(control_fd, "wb")  # noqa: SIM115

    class Flash:
        # Finalisers come through here with the heap locked: nothing in it may allocate.
        seek = flash.seek
        read = flash.readinto
        write = flash.write
        erased = b"\xff" * 512

        def readblocks(self, block, buf, offset=0):
            self.seek(block * 4096 + offset)
            self.read(buf)

        def writeblocks(self, block, buf, offset=0):
            self.seek(block * 4096 + offset)
            self.write(buf)

        def ioctl(self, operation, argument):
            if operation == 4:
                return blocks
            if operation == 5:
                return 4096
            if operation == 6:
                # Without a loop: between two rounds a timer's callback would come into the middle of littlefs.
                write = self.write
                erased = self.erased
                self.seek(argument * 4096)
                write(erased), write(erased), write(erased), write(erased)
                write(erased), write(erased), write(erased), write(erased)
            return 0

    class Timer:
        # A thread that sleeps; the callback comes in the program's own, as on a board.
        ONE_SHOT = 0
        PERIODIC = 1

        def __init__(self, number=-1, **options):
            self.round = 0
            if options:
                self.init(**options)

        def init(self, mode=PERIODIC, period=-1, callback=None):
            self.deinit()
            _thread.start_new_thread(self.run, (self.round, mode, period, callback))

        def deinit(self):
            self.round += 1

        def run(self, number, mode, period, callback):
            while True:
                time.sleep_ms(period)
                if self.round != number:
                    return
                try:  # noqa: SIM105 - MicroPython has no contextlib
                    micropython.schedule(callback, self)
                except RuntimeError:  # the queue is full: this time is left out
                    pass
                if mode == self.ONE_SHOT:
                    return

    class WDT:
        # The supervisor has the clock: it resets the board that does not feed it.
        def __init__(self, number=0, timeout=5000):
            self.line = f"wdt{timeout}\n"
            self.feed()

        def feed(self):
            control.write(self.line)

    def reset(kind):
        # It ends in the supervisor's kill: no handler, no `finally` and no finaliser has a say in it.
        micropython.kbd_intr(-1)
        control.write(kind)
        while True:
            time.sleep(1)

    def show(error):
        try:
            text = io.StringIO()
            sys.print_exception(error, text)
            for line in text.getvalue().split("\n"):
                if line and "vboard_boot.py" not in line:
                    print(line)
        except MemoryError:
            sys.print_exception(error)

    def run(name):
        try:
            os.stat(name)
        except OSError:
            return True
        try:
            execfile(name)  # noqa: F821 - MicroPython has it
            return True
        except SystemExit:
            reset(b"soft\n")
        except BaseException as error:
            show(error)
        return False

    # The built-in module is read-only, so a class goes before it.
    names = {name: getattr(machine, name) for name in dir(machine) if not name.startswith("__")}
    names["PWRON_RESET"] = 1  # the ESP32 port's numbers
    names["HARD_RESET"] = 2
    names["WDT_RESET"] = 3
    names["DEEPSLEEP_RESET"] = 4
    names["SOFT_RESET"] = 5
    names["reset"] = lambda: reset(b"hard\n")
    names["reset_cause"] = lambda: cause
    names["unique_id"] = lambda: unique_id
    names["Timer"] = Timer
    names["WDT"] = WDT
    names["freq"] = lambda: 160_000_000
    sys.modules["machine"] = type("machine", (), names)

    vfs.umount("/")
    sys.path[:] = ["", ".frozen", "/lib"]
    sys.argv.clear()
    try:
        device = Flash()
        if "format" in todo:
            vfs.VfsLfs2.mkfs(device)
        try:
            system = vfs.VfsLfs2(device)
        except OSError:  # somebody has formatted it anew
            system = vfs.VfsFat(device)
        vfs.mount(system, "/")
        os.chdir("/")
    except OSError as error:
        print(f"vboard: the flash holds no file system that mounts: {error}")
        todo = []
    os.putenv("MICROPYINSPECT", "1")  # the REPL comes after this script, however that ends
    gc.collect()
    control.write(b"ready\n")
    try:
        # As on the ESP32: after a boot.py that failed, main.py does not run.
        if "boot.py" in todo and run("boot.py") and "main.py" in todo:
            run("main.py")
    except KeyboardInterrupt as error:  # one that came between the two
        show(error)


start()
