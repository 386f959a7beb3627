#!/bin/sh
# Makes the checkout's own environment in .venv, from the locked requirements, and installs the checkout into it.
#
#   sh tools/setup.sh [--dev] [--system]
#
# --dev      with what tests and checks need
# --system   also the system packages (apt-get or dnf; as root)
# Quick when nothing has changed: a stamp holds the hash of what was installed.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
lock=requirements.lock
packages="crun conmon libnftables1"
for option in "$@"; do
    case "$option" in
        --dev) lock=requirements-dev.lock; packages="$packages iproute2 busybox-static curl" ;;
        --system) system=yes ;;
        *) echo "setup: unknown option $option (known: --dev, --system)" >&2; exit 2 ;;
    esac
done

say() { echo "setup: $*" >&2; }

install_packages() {
    if [ "$(id -u)" != 0 ]; then
        say "as root, run: apt-get install -y $*"
        return 1
    fi
    say "installing system packages: $*"
    if command -v apt-get >/dev/null; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 || {
            apt-get update -qq >/dev/null
            apt-get install -y -qq --no-install-recommends "$@" >/dev/null
        }
    elif command -v dnf >/dev/null; then
        dnf install -y -q $(echo "$*" | sed 's/libnftables1/nftables/; s/python3-venv/python3/; s/busybox-static/busybox/; s/iproute2/iproute/')
    else
        say "no apt-get and no dnf here: install $* by hand"
        return 1
    fi
}

if [ "${system:-}" = yes ]; then
    missing=""
    for package in $packages; do
        case "$package" in
            libnftables1) [ -n "$(find /usr/lib /usr/lib64 -maxdepth 2 -name libnftables.so.1 2>/dev/null)" ] || missing="$missing $package" ;;
            iproute2) command -v ip >/dev/null || missing="$missing $package" ;;
            busybox-static) command -v busybox >/dev/null || missing="$missing $package" ;;
            *) command -v "$package" >/dev/null || missing="$missing $package" ;;
        esac
    done
    [ -z "$missing" ] || install_packages $missing
fi

hash=$(cat pyproject.toml tools/build_definitions.py tools/enums.txt "$lock" | sha256sum | cut -c1-64)
stamp=.venv/.stamp-$lock
is_done() { [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$hash $root" ]; }
is_done && exit 0
# Another user's checkout: pip would stop half-way, at whichever file it may not replace first.
for place in . .venv; do
    if [ -e "$place" ] && [ ! -w "$place" ]; then
        owner=$(stat -c %U "$place")
        say "the environment of $root is not there or not up to date, and belongs to $owner: let $owner run ./pinnace version once, or use a checkout of your own"
        exit 1
    fi
done
# One at a time: a second first use waits for the first one's environment instead of clearing it away under it.
exec 9<tools/setup.sh
if ! flock -n 9; then
    say "waiting for another setup of this checkout"
    flock 9
    if is_done; then exit 0; fi
fi
python=${PYTHON:-python3}
command -v "$python" >/dev/null || install_packages python3 python3-venv
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    say "Python 3.11 or newer is needed; $python is $("$python" -V). Set PYTHON to another one."
    exit 1
}
"$python" -c 'import ensurepip' 2>/dev/null || install_packages python3-venv
say "installing the locked Python packages into .venv (about a minute, once)"
if ! .venv/bin/python -c '' 2>/dev/null; then
    "$python" -m venv --clear .venv # none yet, or its Python is gone
elif ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    .venv/bin/python -m ensurepip --default-pip >/dev/null # made by another tool: what is in it stays
fi
.venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --require-hashes --only-binary :all: -r "$lock"
.venv/bin/python -m pip install -qq --disable-pip-version-check --no-input --no-deps --no-build-isolation -e .
.venv/bin/python -m compileall -q src >/dev/null || true # the command line starts faster; also where nobody may write here later
echo "$hash $root" > "$stamp.new"
mv "$stamp.new" "$stamp" # whole or not at all: others read it without the lock
