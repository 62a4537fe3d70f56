"""Which modules and functions there are: `given` has those to look for, as "module" and "module.name"."""

import json

lacking = []
for wanted in given["names"]:
    module, _, name = wanted.partition(".")
    try:
        found = __import__(module)
    except ImportError:
        lacking.append(wanted)
        continue
    if name and not hasattr(found, name):
        lacking.append(wanted)
print(json.dumps({"lacking": lacking}))
