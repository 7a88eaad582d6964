#!/usr/bin/env bash
# Checks of the sources that need no test. All of them run, with one line each.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=$PWD/.venv/bin
failed=()
output=$(mktemp)
generated=$(mktemp -d)
trap 'rm -rf "$output" "$generated"' EXIT

check() { # name command…
  local name=$1 started=$SECONDS; shift
  if "$@" >"$output" 2>&1; then
    printf 'ok      %-14s %3d s\n' "$name" $((SECONDS - started))
  else
    printf 'FAILED  %-14s %3d s: %s\n' "$name" $((SECONDS - started)) "$*"
    sed 's/^/        /' "$output"
    failed+=("$name")
  fi
}

same_crds() {
  "$bin/agentjobs" crds --directory "$generated" || return
  diff -ru crds "$generated" && diff -ru charts/agentjobs/files/crds "$generated" ||
    { echo "crds/ or the chart's copy is not what api/ generates: run make crds, and commit"; return 1; }
}

duplicates() {
  "$bin/pylint" --disable=all --enable=duplicate-code --min-similarity-lines=8 --ignore-imports=y \
    --ignore-comments=y --ignore-docstrings=y --ignore-signatures=y operator/agentjobs
}

go_format() {
  command -v gofmt >/dev/null || { echo "no gofmt here"; return 0; }
  local unformatted; unformatted=$(gofmt -l tools) && [[ -z $unformatted ]] || { echo "gofmt -w $unformatted"; return 1; }
}

check lint "$bin/ruff" check
check format "$bin/ruff" format --check
check types "$bin/mypy"
check imports "$bin/lint-imports"
check crds same_crds
check duplicates duplicates
check gofmt go_format
if ((${#failed[@]})); then
  echo "check: ${failed[*]} failed"
  exit 1
fi
echo "check: all good"
