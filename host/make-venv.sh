#!/bin/sh
# Makes the project's virtual environment: host/make-venv.sh DIRECTORY. PYTHON names the interpreter.
# Every version is pinned by hash in requirements.lock; the project itself is installed in place.
set -eu

venv=$1
python=${PYTHON:-python3}

fail() {
    printf 'otalink: %s\n' "$*" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 ||
    fail "no $python here: install Python 3.10 or later (Debian: apt install python3 python3-venv)"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    fail "$("$python" --version) is too old: name a Python 3.10 or later, as in: make PYTHON=python3.12"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "this Python cannot make virtual environments: apt install python3-venv"

printf 'Setting up %s with %s (the versions are those of requirements.lock) ...\n' "$venv" "$("$python" --version)"
# What is there already is kept if it runs: a change in requirements.lock costs only what has changed.
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$venv"
pip() {
    "$venv/bin/python" -m pip --quiet --disable-pip-version-check "$@"
}
pip install --require-hashes -r requirements.lock ||
    fail "pip could not install what requirements.lock names: see above; is a package index in reach?"
pip install --no-build-isolation --no-deps --editable . ||
    fail "pip could not install otalink itself: see above"
touch "$venv/.ready"
printf 'Set up.\n'
