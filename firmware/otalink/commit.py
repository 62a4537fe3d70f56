"""The commit of what is staged: the plan of the update, which the boot guard carries out when the board restarts.

It takes constant memory, however many files there are: the record of what is installed and that of what is staged are
read side by side, and the plan (docs/update.md) is written line by line. What differs is what is staged: the download
that came to its end has left `PATH.ota-new` of exactly those files. `root`, which ends in a slash, stands before every
path.
"""

from otalink.files import kind_of, recorded, rename
from otalink.flash import on_flash
from otalink.journal import check_idle, release_of
from otalink.layout import GUARD, INCOMING, INSTALLED, NEW_SUFFIX, PLAN, PLAN_FORMAT, STATE_FOLDER
from otalink.plan import REMOVE, hidden_by, steps
from otalink.version import format_version, parse_version


def commit(root, deadline, say):
    """Commits what is staged by one rename. `begin.check` comes before it.

    `deadline` is how many seconds a boot of the trial may last without being confirmed; 0 for ever. `say` takes lines
    for the user. Gives up the way back to the release before this one. Raises InstallError, with nothing committed,
    while another update is on or when the flash fails; ValueError when nothing has been staged.
    """
    check_idle(root)
    if kind_of(root, INCOMING) != "file":
        raise ValueError("nothing is staged: download a release first")
    file = on_flash(PLAN, "written", open, root + PLAN, "wb")
    try:
        for line in _plan(root, deadline, say):
            on_flash(PLAN, "written", file.write, line.encode())
    finally:
        on_flash(PLAN, "written", file.close)
    rename(root, INCOMING, INSTALLED + NEW_SUFFIX)
    rename(root, PLAN, STATE_FOLDER + "/committed")


def _plan(root, deadline, say):
    # Yields the plan's lines.
    name, _, version = release_of(root, "incoming").partition(" ")
    # In the one form that a release which failed is known by.
    version = format_version(parse_version(version))
    yield f"otalink-plan {PLAN_FORMAT}\nname {name}\nversion {version}\n"
    yield f"deadline {deadline}\n{_action(root, INSTALLED)} {INSTALLED}\n"
    # Sources that stand beside compiled files, until it is known whether they stay.
    sources = []
    for step, found in steps(recorded(root, INSTALLED), recorded(root, INCOMING, True)):
        path = found[0]
        while sources and sources[0] < path:
            _say(say, sources.pop(0))
        if path in GUARD:
            continue
        if step == REMOVE:
            if path in sources:
                sources.remove(path)
            if kind_of(root, path) == "file":
                yield f"delete {path}\n"
            continue
        source = hidden_by(path)
        if source is not None and kind_of(root, source) is not None:
            sources.append(source)
        if kind_of(root, path + NEW_SUFFIX) is not None:
            yield f"{_action(root, path)} {path}\n"
    for source in sources:
        _say(say, source)
    for path in GUARD:
        if kind_of(root, path + NEW_SUFFIX) is not None:
            yield f"copy {path}\n"
    yield "end\n"


def _say(say, source):
    say(f"{source} hides {source[:-2]}mpy: MicroPython imports the source; remove it")


def _action(root, path):
    return "add" if kind_of(root, path) is None else "replace"
