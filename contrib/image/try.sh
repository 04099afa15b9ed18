#!/usr/bin/env bash
# Does what the Dockerfile says, without Docker: `make image` runs it as root, and it says at its end what was seen.
# A bare Debian by debootstrap takes the place of the base image, from where apt on this machine has its packages;
# PIP is a pip that reaches packages. Everything is in the folder named, which is removed at the end. A second argument
# names a file for the tree of the image as a .tar.gz, which `docker import` reads.
set -euo pipefail
cd "$(dirname "$0")/../.."
trees=$(realpath -m "${1:?a folder for the trees}")
archive=${2:-}

fail() { echo "make image: $*" >&2; exit 1; }

((EUID == 0)) || fail "only root may make a Debian tree and go into it"
suite=$(sed -n 's/^ARG BASE=debian:\([a-z]*\)-slim\(@.*\)\?$/\1/p' contrib/image/Dockerfile)
[[ -n $suite ]] || fail "the Dockerfile names no base that is known here"
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $suite" 'Component: main' | head -1)
[[ -n $mirror ]] || fail "apt on this machine knows no Debian $suite; run apt-get update"

# All of it dies with this process, and mounts are seen by nobody else.
inside() {
  local tree=$1
  shift
  unshare --mount --pid --fork --kill-child --root="$tree" --wd=/ --mount-proc=/proc env -i PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
}

# The first process of the tree that a shell of ours, or unshare, waits for.
first_of() {
  local pid=$1
  until grep -q $'^NSpid:.*\t1$' "/proc/$pid/status"; do
    pid=$(cut -d ' ' -f 1 "/proc/$pid/task/$pid/children") || return 1
    [[ -n $pid ]] || return 1
  done 2>/dev/null
  echo "$pid"
}

rm -rf "$trees"
mkdir -p "$trees"
trap 'rm -rf "$trees"' EXIT
SECONDS=0
debootstrap --variant=minbase "$suite" "$trees/build" "$mirror" >"$trees/log" 2>&1 || { tail -20 "$trees/log" >&2; fail "debootstrap failed"; }
echo "A bare Debian $suite after $SECONDS s"
rm -rf "$trees"/build/var/{cache/apt/*,lib/apt/lists/*,log/*.log}
# Its apt reaches what ours reaches, in the same way.
apt-config dump | grep '^Acquire::' >"$trees/build/etc/apt/apt.conf.d/90ours"
cp -a "$trees/build" "$trees/run"
before=$(du -sm "$trees/run" | cut -f 1)

cp contrib/image/install.sh "$trees/build/tmp/"
cp contrib/image/install.sh "$trees/run/tmp/"
inside "$trees/build" sh /tmp/install.sh tools
# Our pip with the tree's Python: which files are needed depends on its version, how they are reached on this machine.
$PIP --python "$trees/build/usr/bin/python3" download -qq --only-binary :all: --require-hashes \
  --dest "$trees/build/wheels" -r requirements/demo.lock

# COPY . /src, as much of it as Dockerfile.dockerignore leaves.
mkdir "$trees/build/src"
git ls-files -z --cached --others --exclude-standard -- restbroker 'requirements/*.lock' hatch_build.py dev/__init__.py dev/tools/__init__.py dev/tools/man_pages.py docs/configuration.md \
  pyproject.toml README.md LICENSE \
  | xargs -0 cp --parents --target-directory="$trees/build/src"
inside "$trees/build" LOCK=demo WHEELS=/wheels sh /tmp/install.sh build /src
inside "$trees/run" sh /tmp/install.sh run
cp -a "$trees/build/opt/restbroker" "$trees/run/opt/"
echo "Installed after $SECONDS s"
if [[ -n $archive ]]; then
  # Before it runs here, and without what is this machine's: its names, and where its apt has packages from.
  tar --create --gzip --sort=name --numeric-owner --mtime="@$(git log -1 --format=%ct)" --file "$archive" \
    --directory "$trees/run" --exclude=./etc/apt/{apt.conf.d/90ours,sources.list} --exclude=./etc/{hostname,resolv.conf} \
    --exclude='./proc/*' --exclude='./tmp/*' .
fi

# As the image is used: its user, its environment, and nothing that it may write to but /tmp.
restbroker() {
  inside "$trees/run" PYTHONDONTWRITEBYTECODE=1 RESTBROKER_HEALTHBIND=127.0.0.1:18090 "${settings[@]}" \
    setpriv --reuid=10001 --regid=10001 --clear-groups --no-new-privs --bounding-set=-all tini -g -- restbroker "$@"
}
settings=()
[[ $(restbroker --version) == "restbroker "* ]] || fail "it does not tell its version"
for needless in cc make pip3 /opt/restbroker/bin/pip redis-server; do
  if inside "$trees/run" sh -c "command -v $needless" >&2; then fail "$needless has no place in the image"; fi
done
restbroker demo | tail -1
restbroker run 2>"$trees/refused" && fail "it runs without a configuration"
grep -q "RestQueue: is missing" "$trees/refused" || fail "it does not say what is missing in its configuration"

# As a container has it: the first process, whose health is asked, and which ends when it is told to. It needs no Redis.
settings=(RESTBROKER_RESTQUEUE=rest RESTBROKER_TOKEN=of-this-try RESTBROKER_REDISURL=redis://127.0.0.1:9/0)
restbroker run >"$trees/broker" 2>&1 &
waited=$!
trap 'kill -KILL "$(first_of "$waited")" 2>/dev/null || true; rm -rf "$trees"' EXIT
for _ in {1..60}; do
  restbroker health >"$trees/health" && break
  sleep 0.5
done
grep -q '"alive": *true' "$trees/health" || { cat "$trees/health" "$trees/broker" >&2; fail "it does not say that it lives"; }
kill -TERM "$(first_of "$waited")"
ended=0
wait "$waited" || ended=$?
((ended == 0)) || { cat "$trees/broker" >&2; fail "it ended with $ended when it was told to end"; }

# Told to end at any instant of its start, from its first process on.
for _ in {1..20}; do
  restbroker run >"$trees/broker" 2>&1 &
  waited=$!
  until first=$(first_of "$waited") && [[ $(<"/proc/$first/comm") == tini ]]; do :; done 2>/dev/null
  sleep "$((RANDOM % 2)).$((RANDOM % 1000))"
  kill -TERM "$first"
  timeout 60 tail --pid="$waited" -f /dev/null || fail "it went on when it was told to end during its start"
  ended=0
  wait "$waited" || ended=$?
  ((ended == 0 || ended == 143)) || { cat "$trees/broker" >&2; fail "it ended with $ended when it was told to end during its start"; }
done

echo "Tried after $SECONDS s; the image adds $(($(du -sm "$trees/run" | cut -f 1) - before)) MiB to a bare Debian," \
  "$(du -sm "$trees/run/opt/restbroker" | cut -f 1) of them restbroker with what it needs."
