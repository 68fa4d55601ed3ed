#!/usr/bin/env bash
# Make a virtual environment of exactly what a lock names, and put this checkout into it.
#   requirements/install.sh FOLDER LOCK [PYTHON]
set -euo pipefail
folder=$1 lock=$2 python=${3:-python3}
cd "$(dirname "$0")/.."
if command -v uv >/dev/null; then
  test -x "$folder/bin/python" || uv venv --quiet --python "$python" "$folder"
  install() { uv pip install --quiet --python "$folder/bin/python" --no-deps "$@"; }
else
  test -x "$folder/bin/python" || "$python" -m venv "$folder"
  install() { "$folder/bin/python" -m pip install --quiet --no-deps "$@"; }
fi
# Without --no-deps, what the lock does not name would come in whatever version the index has today.
install --requirement "$lock"
install --no-build-isolation --editable .
