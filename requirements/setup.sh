#!/usr/bin/env bash
# Makes the virtual environment .venv from the lock of the train that this machine can run, and
# installs penstock in it, editable. Run it as `make setup`. It takes
#   PYTHON  an interpreter, instead of the best one found
#   TRAIN   tf216 or tf221, instead of the one that glibc allows
#   VENV    a folder, instead of .venv
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${VENV:-.venv}
stamp=$venv/penstock-setup

die() {
    echo "make setup: $1" >&2
    exit 1
}

pythons_of() { # best first
    case $1 in
    tf216) echo 3.11 3.10 ;;
    tf221) echo 3.13 3.12 3.11 3.10 ;;
    *) die "TRAIN=$1 is not a dependency train: give tf216 or tf221." ;;
    esac
}

glibc() {
    getconf GNU_LIBC_VERSION 2>/dev/null | grep -oE '[0-9]+\.[0-9]+' || true
}

train_for() { # glibc version
    [ "$(uname -sm)" = "Linux x86_64" ] && [ -n "$1" ] ||
        die "TensorFlow Data Validation is published for Linux with glibc on x86-64 alone, and this is $(uname -sm); use a container or a virtual machine."
    # TFDV 1.21 comes as manylinux_2_39 wheels, 1.16 as manylinux_2_17.
    if [ "$(printf '%s\n' 2.39 "$1" | sort -V | head -n 1)" = 2.39 ]; then echo tf221; else echo tf216; fi
}

# The same for an interpreter and for a virtual environment made with it.
identity() { # interpreter
    "$1" -c 'import sys; print(sys.version.split()[0], sys.base_prefix)' 2>/dev/null || echo "does not run"
}

# What setup depends on: the same line again means that there is nothing to do.
state() { # train
    cat "requirements/$1.txt" pyproject.toml setup.py __init__.py requirements/setup.sh |
        sha256sum | cut -d ' ' -f 1 | tr '\n' ' '
    echo "$1 $(identity "$venv/bin/python") $PWD"
}

up_to_date() {
    [ -f "$stamp" ] || return 1
    local train python
    { read -r _ && read -r train && read -r python; } <"$stamp" || return 1
    [ "${TRAIN:-$train}" = "$train" ] && [ "${PYTHON:-$python}" = "$python" ] &&
        [ "$(state "$train")" = "$(head -n 1 "$stamp")" ]
}

# A shim or a leftover link exists and yet does not run, so candidates are run, not looked up.
version_of() {
    "$1" -c 'import sys; sys.implementation.name == "cpython" and print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true
}

can_make_venv() {
    "$1" -c 'import ensurepip, venv' 2>/dev/null
}

find_python() { # train; sets python
    local takes version candidate lame=""
    takes=$(pythons_of "$1")
    if [ -n "${PYTHON:-}" ]; then
        version=$(version_of "$PYTHON")
        [[ -n $version && " $takes " == *" $version "* ]] ||
            die "PYTHON=$PYTHON ${version:+is Python $version and }does not serve: train $1 takes Python ${takes// / or }."
        can_make_venv "$PYTHON" || lame=$PYTHON
        python=$PYTHON
    else
        python=""
        for version in $takes; do
            for candidate in "python$version" python3 "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python3; do
                [ "$(version_of "$candidate")" = "$version" ] || continue
                if can_make_venv "$candidate"; then
                    python=$candidate
                    return
                fi
                lame=${lame:-$candidate}
            done
        done
    fi
    [ -z "$lame" ] ||
        die "$lame lacks the modules venv and ensurepip; install them (Debian and Ubuntu: apt install python3-venv), or name another interpreter with PYTHON=."
    [ -n "$python" ] ||
        die "no suitable Python was found: train tf216 takes Python 3.10 or 3.11, train tf221 (glibc 2.39 or newer; this machine has $(glibc)) takes 3.10 to 3.13; install one of those for train $1, or name it with PYTHON=."
}

check_compiler() { # python
    # Only there does a package (pyfarmhash) come as source.
    [ "$(version_of "$1")" != 3.10 ] || { command -v g++ >/dev/null &&
        [ -e "$("$1" -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ]; } ||
        die "with Python 3.10 one package is compiled, which takes g++ and the headers of Python (Debian and Ubuntu: apt install g++ python3-dev); install them or use Python 3.11."
}

# uv itself comes from the lock: its requirement with its hashes, cut out.
install_uv() {
    awk '/^[^ #]/ { inside = /^uv==/ } inside' "$1" >"$venv/uv.txt"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$venv/uv.txt"
}

# uv does not read pip's settings; a machine that needs a mirror or its own certificates has them there.
follow_pip_settings() {
    local index
    index=$("$venv/bin/python" -m pip config get global.index-url 2>/dev/null || echo "${PIP_INDEX_URL:-}")
    [ -z "$index" ] || export UV_DEFAULT_INDEX="${UV_DEFAULT_INDEX:-$index}"
    [ ! -d /etc/ssl/certs ] || export UV_SYSTEM_CERTS="${UV_SYSTEM_CERTS:-1}"
}

mkdir -p .make
if command -v flock >/dev/null; then
    exec 9>.make/setup.lock
    flock 9
fi
if up_to_date; then exit 0; fi

libc=$(glibc)
train=${TRAIN:-$(train_for "$libc")}
lock=requirements/$train.txt
find_python "$train"
check_compiler "$python"
echo "make setup: train $train (glibc $libc$([ -z "${TRAIN:-}" ] || echo ', TRAIN given')) on Python $("$python" -c 'import sys; print(sys.version.split()[0], "at", sys.executable)'): $(grep -c '==' "$lock") packages from $lock into $venv; the first time takes a minute or more."

# No stamp while things change: what an interruption leaves is never taken for complete.
if [ -f "$stamp" ] && [ "$(identity "$venv/bin/python")" = "$(identity "$python")" ]; then
    rm "$stamp"
else
    rm -rf "$venv"
    "$python" -m venv "$venv"
    install_uv "$lock"
fi
follow_pip_settings
"$venv/bin/uv" pip sync --quiet --python "$venv/bin/python" --require-hashes --compile-bytecode "$lock"
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --no-build-isolation --editable .
{
    state "$train"
    echo "$train"
    echo "${PYTHON:-}"
} >"$stamp.partial"
mv "$stamp.partial" "$stamp"
echo "make setup: done in $SECONDS s."
