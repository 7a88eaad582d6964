#!/usr/bin/env bash
# All tests: the tiers that need no cluster of pods in JOBS processes, then those that share one, in one process.
# With ARGS, pytest gets these instead.  AGENTJOBS_REQUIRE names the tiers that must run.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
jobs=${JOBS:-2}
if [[ -n ${ARGS:-} ]]; then
  # shellcheck disable=SC2086
  exec .venv/bin/pytest -n "$jobs" $ARGS
fi
required=${AGENTJOBS_REQUIRE:-}
without_pods=$(tr ',' '\n' <<<"$required" | grep -vx ' *pods *' | paste -sd,)
started=$SECONDS
AGENTJOBS_REQUIRE=$without_pods .venv/bin/pytest -n "$jobs" --ignore=tests/pods
first=$?
echo "tiers without pods: $((SECONDS - started)) s" >&2
started=$SECONDS
[[ ,${required// /}, == *,pods,* ]] && required=pods || required=
AGENTJOBS_REQUIRE=$required .venv/bin/pytest tests/pods
second=$?
echo "tier pods: $((SECONDS - started)) s" >&2
exit $((first | second))
