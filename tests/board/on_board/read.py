"""The lines of the files `given["paths"]`; of one that is not there, or that is no text, none."""

import json

for path in given["paths"]:
    try:
        with open(path) as file:
            for line in file:
                print(json.dumps({"path": path, "line": line.rstrip("\n")}))
    except (OSError, UnicodeError):
        pass
