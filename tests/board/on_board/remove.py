"""Removes the files and then the folders of `given`; those that are not there, or not empty, are passed over."""

import os

for remove, paths in ((os.remove, given["files"]), (os.rmdir, given["folders"])):
    for path in paths:
        try:
            remove(path)
        except OSError:
            pass
