#!/bin/sh
# Installs Debian's Prometheus and Alertmanager, which integration tests use; says so and goes on where it cannot.
missing=""
for name in prometheus prometheus-alertmanager; do
  command -v "$name" >/dev/null 2>&1 || missing="$missing $name"
done
[ -n "$missing" ] || exit 0
if command -v apt-get >/dev/null 2>&1; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo="sudo -n"
  # The packages would start servers of their own at once; the tests start theirs on free ports.
  export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1
  # shellcheck disable=SC2086 -- one word for each package
  $sudo apt-get update -qq >/dev/null 2>&1 &&
    $sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 && exit 0
fi
echo "$missing could not be installed: the tests that need it will say so and skip" >&2
