#!/usr/bin/env bash
# Builds what a release consists of into dist/, and prints the commands that would publish it; nothing here publishes.
# The sources are those of the commit. The same commit gives the same bytes for wheel, sdist, chart and SBOM, not for images.
#   OUT     where to, default dist/, which is emptied; another folder must be empty or absent
#   DIRTY   1: build although the tree has changes that are not committed; they are in what is built
#   IMAGES  0: leave out the images; 1: fail where no Docker engine answers; default: build them where one does (25 or newer, or with skopeo)
#   PREFIX  and BASE_IMAGE: for the images, as in scripts/image.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bin=${BIN:-$PWD/.venv/bin}
out=${OUT:-dist}

say() { printf 'agentjobs: %s\n' "$@"; }
fail() { say "$@" >&2; exit 1; }

[[ -z ${PUBLISH:-} ]] || fail "PUBLISH=$PUBLISH: make release does not publish. It prints the commands; run those."
[[ ${IMAGES:-} =~ ^[01]?$ ]] || fail "IMAGES=$IMAGES: 0 leaves out the images, 1 demands them, absent builds them where Docker answers"
if [[ $out != dist && -d $out && -n $(ls -A "$out") ]]; then fail "OUT=$out: the folder is not empty; name an empty or a new one"; fi

version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] ||
  fail "pyproject.toml: version is \"$version\"; a release needs MAJOR.MINOR.PATCH, which both pip and Helm take"
agrees() { # file, the version in it
  [[ $2 == "$version" ]] || fail "$1 says \"$2\", pyproject.toml says version \"$version\"; write the latter into $1"
}
agrees "charts/agentjobs/Chart.yaml, version," "$(sed -n 's/^version: *//p' charts/agentjobs/Chart.yaml)"
agrees "charts/agentjobs/Chart.yaml, appVersion," "$(sed -n 's/^appVersion: *//p' charts/agentjobs/Chart.yaml)"
agrees "operator/agentjobs/__init__.py, __version__," "$(sed -n 's/^__version__ = "\(.*\)"/\1/p' operator/agentjobs/__init__.py)"

commit=$(git rev-parse HEAD) || fail "no commit here: a release is built from one"
changes=$(git status --porcelain)
if [[ -n $changes && ${DIRTY:-} != 1 ]]; then
  fail "the tree has changes that are not committed; commit them, or build with them: DIRTY=1 make release" "$changes"
fi
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
say "release $version of commit ${commit:0:12}${changes:+, with changes that are not committed}"

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
made=$stage/made
mkdir "$made" "$stage/source" "$stage/unpacked"
# what git knows or would add, and nothing that it ignores
git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
  [[ ! -e $file && ! -L $file ]] || printf '%s\0' "$file"
done | tar --create --null --no-recursion --files-from=- | tar --extract --directory "$stage/source"

# the wheel is built from the sdist, so that both have the same sources
build() { # target folder
  (cd "$2" && "$bin/python" -m hatchling build --target "$1" --directory "$made") > "$stage/log" 2>&1 || fail "hatchling failed:" "$(<"$stage/log")"
}
build sdist "$stage/source"
tar --extract --gzip --file "$made/agentjobs-$version.tar.gz" --directory "$stage/unpacked"
build wheel "$stage/unpacked/agentjobs-$version"
wheel=agentjobs-$version-py3-none-any.whl

"$bin/python" scripts/release_records.py "$made/$wheel" locks/wheel.txt > "$made/${wheel%.whl}.sbom.json"

left_out=()
chart=agentjobs-$version.tgz
if helm=$(command -v "${HELM_BIN:-helm}"); then
  "$helm" package "$stage/source/charts/agentjobs" --version "$version" --app-version "$version" --destination "$stage" > "$stage/log" 2>&1 ||
    fail "helm package failed:" "$(<"$stage/log")"
  # Helm 3 writes the time of packing into the archive; the same files with the commit's time
  mkdir "$stage/chart"
  tar --extract --touch --gzip --file "$stage/$chart" --directory "$stage/chart"
  # Chart.yaml must be the first: `helm push` reads it
  (cd "$stage/chart" && { echo agentjobs/Chart.yaml; find agentjobs -type f ! -path agentjobs/Chart.yaml | LC_ALL=C sort; } |
    tar --create --format=ustar --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner --mode=0644 --files-from=-) |
    gzip --no-name --best > "$made/$chart"
else
  left_out+=("the chart: no \`helm\` on PATH, and HELM_BIN names none")
fi

images=()
engine=$(docker version --format '{{.Server.Version}}' 2>/dev/null) || engine=
if [[ ${IMAGES:-} == 0 ]]; then missing="IMAGES=0"
elif [[ -z $engine ]]; then missing="no Docker engine answers; start one, or see DOCKER_HOST"
elif ((${engine%%.*} < 25)) && ! command -v skopeo >/dev/null; then
  missing="Docker $engine saves no OCI archives; that takes 25 or newer, or skopeo on PATH"
else missing=
fi
if [[ -n $missing ]]; then
  [[ ${IMAGES:-} != 1 ]] || fail "IMAGES=1, and $missing"
  left_out+=("the images: $missing")
else
  TAG=$version RECORDS=$made bash scripts/image.sh || fail "the images could not be built (above); IMAGES=0 leaves them out"
  for name in agentjobs agentjobs-worker; do
    archive=$made/$name-$version.oci.tar
    docker image save --output "$stage/saved.tar" "${PREFIX:-}$name:$version"
    if tar --list --file "$stage/saved.tar" oci-layout >/dev/null 2>&1; then
      mv "$stage/saved.tar" "$archive"
    else # an older Docker, or one whose store is its own
      skopeo copy --quiet "docker-archive:$stage/saved.tar" "oci-archive:$archive:$version" ||
        fail "docker image save wrote no OCI archive (Docker $engine), and skopeo made none of it; IMAGES=0 leaves out the images"
    fi
    images+=("$name")
  done
fi

(cd "$made" && LC_ALL=C sha256sum -- *) > "$stage/SHA256SUMS"
mv "$stage/SHA256SUMS" "$made"
[[ $out != dist ]] || rm -rf dist
mkdir -p "$out"
cp "$made"/* "$out"

say "in $out:"
(cd "$out" && du --apparent-size -h -- *) | sed 's/^/  /'
for reason in "${left_out[@]}"; do say "LEFT OUT: $reason"; done
[[ -z $changes ]] || say "NOT TO BE PUBLISHED: it was built from changes that are not committed"
say "nothing was published. To publish it (twine, helm and skopeo, logged in to your registry):"
{
  echo "git tag -a v$version -m $version $commit && git push origin v$version"
  echo "twine upload $out/$wheel $out/agentjobs-$version.tar.gz"
  [[ ! -f $out/$chart ]] || echo "helm push $out/$chart oci://REGISTRY/charts"
  for name in "${images[@]}"; do echo "skopeo copy oci-archive:$out/$name-$version.oci.tar docker://REGISTRY/$name:$version"; done
} | sed 's/^/  /'
