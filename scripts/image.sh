#!/usr/bin/env bash
# Builds the images: agentjobs, agentjobs-worker and agentjobs-dev-postgres, tagged TAG (default: dev).
# The wheels are downloaded before `docker build`, so that this machine's pip settings (index, certificates, cache) count.
# dist/ (RECORDS names another folder) gets an SBOM and a provenance of each image.
#   BASE_IMAGE  a Python image, default that of the Dockerfile, by digest      PREFIX  before the names: registry.example/team/
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
base=${BASE_IMAGE:-$(sed -n 's/^ARG BASE_IMAGE=//p' Dockerfile)}
tag=${TAG:-dev}
prefix=${PREFIX:-}
# the classic builder: it also finds a base image that was loaded and not pulled
export DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0}

fail() { printf 'agentjobs: %s\n' "$@" >&2; exit 1; }

# any Python with pip will do, .venv's or this machine's
for python in ${PYTHON:-} .venv/bin/python python3 python3.14 python3.13 python3.12 python3.11 ""; do
  [[ -z $python ]] || { "$python" -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && break; }
done
[[ -n $python ]] || fail "no Python 3.11 or newer with pip, which downloads what the images are built from." \
  "Debian: apt-get install python3-pip. PYTHON names another one: PYTHON=/path/to/python3.11 make image"

command -v docker >/dev/null || fail "no docker on PATH; images are built with it"
docker version >/dev/null 2>&1 || fail "no Docker engine answers; start one, or see DOCKER_HOST"

docker image inspect "$base" >/dev/null 2>&1 || docker pull --quiet "$base" >/dev/null ||
  fail "the base image $base is not on this machine and cannot be pulled." \
       "BASE_IMAGE names another one, such as one that was loaded by its tag: BASE_IMAGE=${base%@*} make image"

# the wheels must fit the interpreter inside the base image, and its architecture
read -r version machine < <(docker run --rm --entrypoint python3 "$base" \
  -c 'import platform, sys; print("%d.%d" % sys.version_info[:2], platform.machine())')
platforms=()
for glibc in 36 35 34 31 28 27 26 24 17; do platforms+=(--platform "manylinux_2_${glibc}_$machine"); done
platforms+=(--platform "manylinux2014_$machine")

locks=(locks/image.txt locks/build.txt locks/dev-postgres.txt)
wanted=$(cat "${locks[@]}" <(echo "$version $machine") | sha256sum)
if [[ ! -f wheels/.complete || $(<wheels/.complete) != "$wanted" ]]; then
  echo "agentjobs: downloading wheels for Python $version on $machine"
  rm -rf wheels
  "$python" -m pip download --quiet --disable-pip-version-check --progress-bar off -d wheels --no-deps --require-hashes \
    --only-binary=:all: --python-version "$version" --implementation cp "${platforms[@]}" "${locks[@]/#/--requirement=}" ||
    fail "pip download failed (above)"
  echo "$wanted" > wheels/.complete
fi

# what writes the records, where this Python does not have it
records=.cache/image-records
if ! "$python" -c 'import cyclonedx.output.json' 2>/dev/null; then
  wanted=$(cat locks/records.txt <("$python" -V) | sha256sum)
  if [[ ! -f $records/.complete || $(<$records/.complete) != "$wanted" ]]; then
    rm -rf $records
    "$python" -m pip install --quiet --disable-pip-version-check --progress-bar off --target $records --no-deps --require-hashes \
      --only-binary=:all: -r locks/records.txt || fail "pip install failed (above)"
    echo "$wanted" > $records/.complete
  fi
  export PYTHONPATH=$PWD/$records${PYTHONPATH:+:$PYTHONPATH}
fi

release=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
revision=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
build() { # name arguments…
  local name=$prefix$1:$tag; shift
  echo "agentjobs: building $name"
  docker build --quiet --build-arg "BASE_IMAGE=$base" --tag "$name" "$@" . >/dev/null
  "$python" scripts/image_records.py "$name" "$base" "${2:-}" "${RECORDS:-dist}"
}
build agentjobs --target agentjobs --build-arg "VERSION=$release" --build-arg "REVISION=$revision"
build agentjobs-worker --target worker --build-arg "VERSION=$release" --build-arg "REVISION=$revision"
build agentjobs-dev-postgres -f docker/dev-postgres/Dockerfile
docker image ls --format 'agentjobs: {{.Repository}}:{{.Tag}} is {{.Size}}' | grep -E "${prefix}agentjobs(-worker|-dev-postgres)?:$tag " || true
