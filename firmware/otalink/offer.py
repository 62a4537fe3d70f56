"""What a folder offers to a board: the release, and where a plain one's files go. No network; `plain.py` has the rules.

With a key on the board only release files count, since nothing else is signed; without one the newest release does, in
either form, and the release file where both are the same version.
"""

from otalink.errors import ReleaseError, TransferError
from otalink.ftp_facts import parse_mlsd_line, parse_nlst_line
from otalink.plain import SUMS, choose, is_ordinary, parse_sums_line, select, target_path
from otalink.plan import check_folders
from otalink.version import format_version, is_wanted


class Release:
    """What a folder offers: `name`, `version` (four ints), and `label`, which has both for people.

    `versioned` is the name of its versioned file, `size` the bytes of that and `sums_size` those of SHA256SUMS, None
    where the listing does not say them. `files` is a list of [path, filename on the server, digest or None, size in
    bytes or None], sorted by path, and None for a release file, whose header lies on the flash; `mark` is the folder's
    fingerprint, or the SHA-256 of that header. It has no methods: see phase.py.
    """


def decide(job):
    """Decides what `job.listing` offers to a board that has the version `job.installed`, and says it.

    `job.found` is the Release, without its files; None when the folder offers none, or none that the board's policy
    wants. Gives the steps that follow; see phase.go. Raises ReleaseError when the folder does not say clearly what it
    offers.
    """
    config, installed, name = job.config, job.installed, job.config.name
    leave = "ftp_session ftp_listing listing.leave"
    files, _ = _parse(job.listing)
    versioned, version, messages, is_file = _choose(sorted(files), name, config.keys)
    if versioned is None:
        if messages:
            raise ReleaseError(f"no release of {name} in the folder: {messages[0]}")
        job.say(f"no release of {name} on {config.host} in {config.folder}")
        return leave
    label = f"{name} {format_version(version)}"
    here = "no release" if installed is None else format_version(installed)
    if installed == version:
        messages.append(f"{label} is the latest version")
    elif not is_wanted(config.policy, installed, version):
        line = f"the server offers {label}, older than {here} here"
        if config.keys:
            # Whoever puts it there may want a fault back that was mended since.
            job.say(*messages)
            raise ReleaseError(line)
        messages.append(line)
    elif label == job.failed:
        messages.append(f"the board went back from {label}: not tried again until another is offered")
    else:
        messages.append(f"{label} is offered, {here} is here")
        job.found = release = Release()
        release.name, release.version, release.versioned, release.label = name, version, versioned, label
        release.size, release.sums_size = files[versioned], files.get(SUMS)
        release.files = None if is_file else []
    job.say(*messages)
    # While a release is on trial the listing is all that is read: what is half published must not keep it from being
    # confirmed.
    if job.found is None or job.on_trial:
        return leave
    if is_file:
        return "ftp_session staging header.bring; release signature admit.admit"
    return "ftp_session folder.read; plain offer.place"


def _choose(filenames, name, keys):
    # As plain.select, and whether it is a release file.
    try:
        versioned, version, messages = choose(filenames, name, ("ota",))
        plain, plain_version, _ = choose(filenames, name)
    except ValueError as error:
        raise ReleaseError(str(error))
    newer = plain is not None and (version is None or plain_version > version)
    if keys and newer:
        line = f"{plain} is a plain folder's, which nobody signed, and this board has a key: publish a release file"
        if version is None:
            raise ReleaseError(line)
        messages.append(f"passed over: {line}")
    elif newer or version is None:
        versioned, version, messages = select(filenames, name)
        return versioned, version, messages, False
    return versioned, version, messages, True


def place(job):
    """Gives the Release `job.found` its files, from what was listed and read. Raises ReleaseError when they cannot all
    be, TransferError while they are being published."""
    release, sums = job.found, job.sums
    name, versioned = release.name, release.versioned

    def belongs(filename):
        return filename == versioned or is_ordinary(filename, name)

    sizes, folders = _parse(job.listing)
    job.listing = None
    found = {}
    if sums is not None:
        # From the end, so that what is done with takes no memory.
        sums.reverse()
        while sums:
            entry = parse_sums_line(sums.pop())
            if entry is not None and belongs(entry[0]):
                filename, digest = entry
                if filename in found:
                    raise ReleaseError(f"{SUMS} lists {filename} twice")
                found[filename] = digest, sizes.get(filename)
        if versioned not in found:
            # Published files come first, the versioned one last: somebody is at it.
            raise TransferError(f"{SUMS} does not list {versioned}: the folder is being published, or left half done")
    else:
        for filename, size, is_folder in job.told:
            sizes[filename] = size
            if is_folder:
                folders.append(filename)
        for filename in sorted(folders):
            if filename == versioned:
                raise ReleaseError(f"{filename} is a folder: a release is a file of that name")
            if belongs(filename):
                job.say(f"passed over {filename}: folders need a {SUMS} beside them")
        for filename, size in sizes.items():
            if belongs(filename) and filename not in folders:
                found[filename] = None, size
    release.files = []
    by_path = {}
    for filename, (digest, size) in found.items():
        path = target_path(filename, versioned)
        if path in by_path:
            raise ReleaseError(f"{by_path[path]} and {filename} would both be {path} on the board: remove one")
        by_path[path] = filename
        release.files.append([path, filename, digest, size])
    release.files.sort(key=lambda file: file[0])
    check_folders([file[0] for file in release.files])
    job.sums = job.told = None


def _parse(listing):
    # The files of a listing as a dict, size by name; and the folders, as a list. NLST tells only names.
    command, rows = listing
    files = {}
    folders = []
    for row in rows:
        if command == "NLST":
            filename = parse_nlst_line(row)
            if filename is not None:
                files[filename] = None
            continue
        entry = parse_mlsd_line(row)
        if entry is not None and entry[1] == "dir":
            folders.append(entry[0])
        elif entry is not None and entry[1] not in ("cdir", "pdir"):
            files[entry[0]] = entry[2]
    return files, folders
