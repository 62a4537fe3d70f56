"""Writes the files `given["files"]`, text by path."""

for path, text in given["files"].items():
    with open(path, "w") as file:
        file.write(text)
