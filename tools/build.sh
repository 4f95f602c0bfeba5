#!/bin/sh
# Builds the real peers of the end-to-end tests into .tools/bin, each once: `make tools`, or `sh tools/build.sh NAME …`.
# What cannot be built is named and left out; the tests that need it say so and skip. Versions are pinned here and in
# collector-builder.yaml; a change there builds that tool anew.
set -u
cd "$(dirname "$0")/.."
TOOLS="$PWD/.tools"
PYTHON=${PYTHON:-python3}

CONTRIB=github.com/open-telemetry/opentelemetry-collector-contrib
OCB=go.opentelemetry.io/collector/cmd/builder@v0.159.0
# The module proxy does not serve 0.159.0 of this one.
TELEMETRYGEN=$CONTRIB/cmd/telemetrygen@v0.160.0
# Prometheus 3.13.2: the very version that the Collector's Prometheus receiver is made of, so that much is built once.
PROMETHEUS=github.com/prometheus/prometheus@v0.313.2
JAEGER=github.com/jaegertracing/jaeger@v1.76.0
KUSTOMIZE=sigs.k8s.io/kustomize/kustomize/v5@v5.8.2
COMPOSE=github.com/compose-spec/compose-go/v2@v2.16.2
ROTEL=rotel==0.0.1a15

# Neither a workspace that a module brings along nor one around the checkout counts.
export GOWORK=off GOFLAGS=-buildvcs=false CGO_ENABLED=0 GOBIN="$TOOLS/bin"

build_otelcol() {
  go run "$OCB" --config tools/collector-builder.yaml && mv .tools/otelcol/otelcol .tools/bin/otelcol
}
build_telemetrygen() { go install "$TELEMETRYGEN"; }
# Without service discoveries: the tests scrape fixed addresses.
build_prometheus() { build_within "$PROMETHEUS" ./cmd/prometheus -tags remove_all_sd -o "$GOBIN/prometheus"; }
build_promtool() { build_within "$PROMETHEUS" ./cmd/promtool -tags remove_all_sd -o "$GOBIN/promtool"; }
build_jaeger() { build_within "$JAEGER" ./cmd/all-in-one -o "$GOBIN/jaeger"; }
# `go install` refuses a module with replacements; within the module they hold.
build_within() {
  module=$1 package=$2
  shift 2
  directory=$(cd / && go mod download -json "$module" | sed -n 's/^.*"Dir": "\(.*\)",*$/\1/p') &&
    cd "$directory" && go build "$@" "$package"
}
build_kustomize() { go install "$KUSTOMIZE"; }
# What `docker compose config` reads a file with; it needs no Docker.
build_compose_spec() { build_within "$COMPOSE" ./cmd -o "$GOBIN/compose-spec"; }
build_rotel() {
  "$PYTHON" -m venv .tools/rotel && .tools/rotel/bin/python -m pip install --quiet "$ROTEL" &&
    ln -sf "$(echo "$TOOLS"/rotel/lib/python*/site-packages/rotel/rotel-agent)" .tools/bin/rotel
}

# What a tool is made of: another value builds it anew.
recipe() {
  case $1 in
    otelcol) echo "$OCB" && cat tools/collector-builder.yaml ;;
    telemetrygen) echo "$TELEMETRYGEN" ;;
    prometheus | promtool) echo "$PROMETHEUS" ;;
    jaeger) echo "$JAEGER" ;;
    kustomize) echo "$KUSTOMIZE" ;;
    compose-spec) echo "$COMPOSE" ;;
    rotel) echo "$ROTEL" ;;
    *) return 1 ;;
  esac
}

# Go's version as a number: 126 for 1.26.8, 0 where there is none.
go_version() {
  found=$(go env GOVERSION 2>/dev/null | sed -n 's/^go\([0-9]*\)\.\([0-9]*\).*/\1\2/p')
  echo "${found:-0}"
}

build() {
  name=$1
  if ! stamp=$(recipe "$name"); then
    echo "tools: there is no '$name'; there are: otelcol prometheus promtool jaeger telemetrygen kustomize compose-spec rotel" >&2
    exit 2
  fi
  stamp=$TOOLS/stamps/$name-$(printf '%s' "$stamp" | cksum | tr ' ' '-')
  [ -e "$stamp" ] && [ -x "$TOOLS/bin/$name" ] && return
  if [ "$name" != rotel ] && [ "$(go_version)" -lt 126 ]; then
    echo "tools: $name cannot be built: it needs Go 1.26 or newer" >&2
    return
  fi
  echo "tools: building $name …"
  start=$(date +%s)
  if (set -x && "build_$(echo "$name" | tr - _)") >"$TOOLS/logs/$name.log" 2>&1 && [ -x "$TOOLS/bin/$name" ]; then
    rm -f "$TOOLS/stamps/$name-"*
    seconds=$(($(date +%s) - start))
    echo "$seconds s" >"$stamp"
    echo "tools: $name built in $seconds s"
  else
    rm -f "$TOOLS/bin/$name"
    echo "tools: $name cannot be built (.tools/logs/$name.log): $(tail -n 1 "$TOOLS/logs/$name.log")" >&2
  fi
}

mkdir -p "$TOOLS/bin" "$TOOLS/stamps" "$TOOLS/logs"
[ $# -gt 0 ] || set -- otelcol prometheus promtool telemetrygen jaeger kustomize compose-spec rotel
for name; do build "$name"; done
