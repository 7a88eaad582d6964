#!/usr/bin/env bash
# Checks of the sources that need no test. All of them run, side by side, with one line each. The longest begins first.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=$PWD/.venv/bin
outputs=$(mktemp -d)
generated=$(mktemp -d)
trap 'rm -rf "$outputs" "$generated"' EXIT
names=()

check() { # name command…
  local name=$1; shift
  names+=("$name")
  {
    local started=$SECONDS
    if "$@" >"$outputs/$name" 2>&1; then
      printf 'ok      %-14s %3d s\n' "$name" $((SECONDS - started))
    else
      printf 'FAILED  %-14s %3d s: %s\n%s\n' "$name" $((SECONDS - started)) "$*" "$(sed 's/^/        /' "$outputs/$name")"
      touch "$outputs/$name.failed"
    fi
  } &
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

check duplicates duplicates
check lint "$bin/ruff" check
check format "$bin/ruff" format --check
check types "$bin/mypy"
check imports "$bin/lint-imports"
check crds same_crds
check gofmt go_format
wait
failed=()
for name in "${names[@]}"; do
  [[ -e $outputs/$name.failed ]] && failed+=("$name")
done
if ((${#failed[@]})); then
  echo "check: ${failed[*]} failed"
  exit 1
fi
echo "check: all good"
