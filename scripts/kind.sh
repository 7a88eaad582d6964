#!/usr/bin/env bash
# Creates a kind cluster, installs agentjobs and runs examples. After a change, run it again: it renews images and release.
#   KIND_CLUSTER  its name, default agentjobs      KIND_NODE_IMAGE  for kind's nodes, default kind's own
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
name=${KIND_CLUSTER:-agentjobs}
namespace=agentjobs

fail() { printf 'agentjobs: %s\n' "$@" >&2; exit 1; }
say() { printf '\n[%4d s] %s\n' $SECONDS "$*"; }

for program in docker kind kubectl helm; do
  command -v $program >/dev/null || fail "no $program on PATH; make kind needs docker, kind, kubectl and helm"
done
docker version >/dev/null 2>&1 || fail "no Docker engine answers"

say "building the images"
bash scripts/image.sh 2>&1 | grep --line-buffered '^agentjobs:'
# a tag by content, so that a cluster never runs an older image of the same tag
tag=dev-$(docker image inspect -f '{{.Id}}' agentjobs:dev | cut -c 8-19)
for image in agentjobs agentjobs-worker agentjobs-dev-postgres; do docker tag $image:dev "$image:$tag"; done
say "building a worker with the agents of examples/"
DOCKER_BUILDKIT=${DOCKER_BUILDKIT:-0} docker build --quiet --build-arg "BASE=agentjobs-worker:$tag" \
  --tag "example-worker:$tag" examples >/dev/null 2>&1

if ! kind get clusters 2>/dev/null | grep -qx "$name"; then
  say "creating the kind cluster $name"
  kind create cluster --name "$name" --wait 120s ${KIND_NODE_IMAGE:+--image "$KIND_NODE_IMAGE"}
fi
config=$(mktemp); trap 'rm -f "$config"' EXIT
kind get kubeconfig --name "$name" > "$config"
export KUBECONFIG=$config
kubectl -n kube-system rollout status deploy/coredns --timeout=120s >/dev/null
say "loading the images into its node"
kind load docker-image --name "$name" "agentjobs:$tag" "example-worker:$tag" "agentjobs-dev-postgres:$tag" 2>&1 | grep -v 'not yet present' || true

say "installing the chart"
kubectl create namespace $namespace --dry-run=client -o yaml | kubectl apply -f - >/dev/null
kubectl label --overwrite namespace $namespace pod-security.kubernetes.io/enforce=restricted >/dev/null
helm upgrade --install agentjobs charts/agentjobs --namespace $namespace --wait --timeout 5m \
  --set image.tag="$tag" \
  --set devPostgres.enabled=true --set devPostgres.image="agentjobs-dev-postgres:$tag" \
  --set pools.default.image.repository=example-worker --set pools.default.image.tag="$tag" \
  --set 'pools.default.modules={agents,planner}' --set 'pools.default.preload={agents,planner}' >/dev/null

say "running examples"
show() { printf '\n$ %s\n' "$*"; "$@"; }
examples=(-f examples/ -f examples/custom-worker/job.yaml)
kubectl delete --ignore-not-found "${examples[@]}" >/dev/null
show kubectl apply "${examples[@]}"
show kubectl wait --for=condition=Finished --timeout=90s agentjob/greeter agentjob/weather agentjob/booking agentjob/trip
show kubectl wait --for=condition=InputRequired --timeout=60s agentjob/refund
show kubectl get agentjobs
show kubectl get agentjob trip -o 'jsonpath={.status.result}'

cat <<END


Next (the cluster is the kubectl context kind-$name):
  kubectl get agentjobs -A -w
  kubectl describe agentjob booking         # failed twice, then answered
  kubectl get agentruns -A
  make venv; export PATH=$PWD/.venv/bin:\$PATH    # the plugin of kubectl
  kubectl agentjobs approve refund          # its tool waits for you
  kubectl agentjobs web -A                  # the dashboard
  kubectl -n $namespace get pods
  kubectl -n $namespace logs deploy/agentjobs-worker-default -f
  helm test agentjobs -n $namespace
  kind delete cluster --name $name          # when you are done
END
