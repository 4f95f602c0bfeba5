#!/bin/sh
# Installs Debian's Prometheus, which the integration tests scrape with; says so and goes on where it cannot.
command -v prometheus >/dev/null 2>&1 && exit 0
if command -v apt-get >/dev/null 2>&1; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo="sudo -n"
  # The package would start a server of its own at once; the tests start theirs on a free port.
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  $sudo apt-get update -qq >/dev/null 2>&1 &&
    $sudo apt-get install -y -qq --no-install-recommends prometheus >/dev/null 2>&1 && exit 0
fi
echo "prometheus could not be installed: the tests that need it will say so and skip" >&2
