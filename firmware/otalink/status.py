"""What a board says of itself: to its host over the link (reporter.py), and to its FTP server (report.py)."""

from otalink import __version__
from otalink.board import platform
from otalink.journal import failed, state

# Lines of the boot guard's log that give no reason.
_NO_REASON = ("boot ", "went back from ")


def status(root, name, version):
    """What runs and how it came to, as a dict for JSON; docs/link.md says what its keys are.

    `name` is the application's, `version` four ints or None, `root` stands before every path.
    """
    root += "/"
    what = state(root)
    went_back = what == "reverted"
    return {
        "name": name,
        "version": text(version),
        "state": what if went_back or what == "trial" else "confirmed",
        "failed": failed(root).partition(" ")[2] if went_back else None,
        "reason": _reason(root) if went_back else None,
        "platform": platform(),
        "otalink_version": __version__,
    }


def text(version):
    """A version as it is written; None for None."""
    return ".".join(str(field) for field in version) if version else None


def _reason(root):
    # Why the board went back, as the boot guard's log has it: what was wrong last while the release was on trial.
    reason = asked = "it was asked to"
    try:
        with open(root + ".otalink/log") as log:
            for line in log:
                if line.startswith("on trial: "):
                    reason = asked
                elif not line.startswith(_NO_REASON) and (reason == asked or not line.endswith(": going back\n")):
                    reason = line.strip()
    except (OSError, ValueError):
        pass
    return reason
