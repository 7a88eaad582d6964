#!/usr/bin/env bash
# Makes .venv and installs into it what locks/dev.txt names, each file checked by its hash, and this project. The lock is whole, so
# pip looks for no dependencies: it would ask for google-auth[pyopenssl] without a version, and refuse that.
# Does nothing when neither the lock nor pyproject.toml has changed since the last time. PYTHON names the interpreter to use.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
stamp=.venv/.installed
log=.venv/install.log

fail() { printf 'agentjobs: %s\n' "$@" >&2; exit 1; }

recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

choose_python() {
  local candidate
  if [[ -n ${PYTHON:-} ]]; then
    command -v "$PYTHON" >/dev/null || fail "PYTHON=$PYTHON: no such command"
    recent "$PYTHON" || fail "PYTHON=$PYTHON is $("$PYTHON" -V 2>&1); Python 3.11 or newer is needed"
    echo "$PYTHON"; return
  fi
  for candidate in python3 python3.14 python3.13 python3.12 python3.11; do
    if command -v "$candidate" >/dev/null && recent "$candidate"; then echo "$candidate"; return; fi
  done
  if command -v python3 >/dev/null; then
    fail "python3 is $(python3 -V 2>&1), and Python 3.11 or newer is needed." \
         "Install one and name it: make PYTHON=/path/to/python3.11"
  fi
  fail "no python3 on PATH. Install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)"
}

if [[ -f $stamp && ! pyproject.toml -nt $stamp && ! locks/dev.txt -nt $stamp ]]; then exit 0; fi

python=$(choose_python)
started=$SECONDS
if [[ ! -x .venv/bin/python ]]; then
  "$python" -c 'import ensurepip, venv' 2>/dev/null ||
    fail "$("$python" -V) has no venv module with pip. Debian and Ubuntu keep it in a package of its own:" \
         "  apt-get install python3-venv"
  echo "agentjobs: making .venv with $("$python" -V)"
  "$python" -m venv .venv
fi

total=$(grep -c '^[A-Za-z0-9]' locks/dev.txt)
echo "agentjobs: installing about $total packages into .venv (a minute or two on a fresh machine); log: $log"
# pip prints a line per package; each twentieth becomes a line of progress.
install() { .venv/bin/python -m pip install --disable-pip-version-check --progress-bar off "$@"; }
if ! { install --no-deps --require-hashes -r locks/dev.txt && install --no-deps --no-build-isolation -e .; } 2>&1 | tee "$log" |
     awk -v total="$total" '
       /^Collecting |^Requirement already satisfied: [a-zA-Z0-9_.-]+[^ ]* in/ { if (++n % 20 == 0 && n <= total) { printf "agentjobs:   %d of about %d looked up\n", n, total; fflush() } }
       /^Installing collected packages/ { print "agentjobs:   unpacking them"; fflush() }'
then
  tail -n 20 "$log" >&2
  fail "pip failed; its whole output is in $log. Mend the cause and run the same command again."
fi
touch "$stamp"
echo "agentjobs: .venv is ready ($((SECONDS - started)) s)"
