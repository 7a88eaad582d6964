#!/usr/bin/env bash
# All tests, in JOBS processes; tests/support/lanes.py says which process runs what. With ARGS, pytest gets these too.
# AGENTJOBS_REQUIRE names the tiers that must run. AGENTJOBS_DURATIONS names the table of seconds in .cache/durations.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
[[ -n ${ARGS:-} ]] || export AGENTJOBS_DURATIONS=${AGENTJOBS_DURATIONS:-all}
export PYTHONDONTWRITEBYTECODE= # hundreds of processes import the package: it is compiled once
# shellcheck disable=SC2086
exec .venv/bin/pytest -n "${JOBS:-4}" ${ARGS:-}
