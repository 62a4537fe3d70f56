"""The updater's last step: the release is put in place and the board restarted."""

from otalink.board import restart as restart_board
from otalink.install import Installation
from otalink.plan import hidden_by


def commit(job, release, restart):
    """Puts the release in place and restarts the board. All code that this takes is here before: the release may bring
    another otalink. True when it did, and the board still runs the old one."""
    flash = Installation(job.buffer, job.root, [file[0] for file in release.files], job.staged)
    flash.commit()
    brought = False
    for path in [file[0] for file in release.files]:
        brought = brought or "/otalink/" in "/" + path
        source = hidden_by(path)
        if source is not None and flash.exists(source):
            job.say(f"{source} hides {path}: MicroPython imports the source; remove it")
    job.say(f"{release.label} is installed" + ("" if restart == "none" else "; restarting"))
    if restart != "none":
        try:
            restart_board(restart)
        except (AttributeError, ImportError):
            job.say(f"this board cannot restart by {restart}: restart it by hand")
    return brought
