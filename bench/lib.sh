# shellcheck shell=bash
# What every script of the bench shares. Sourced, never run.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

venv=$root/.venv
# shellcheck disable=SC2034 # read by the scripts that source this
base_image=dataops-airflow-base:bookworm
# shellcheck disable=SC2034 # read by the scripts that source this
cache_volume=dataops-airflow-uv-cache

say() { printf '\n==> %s\n' "$*"; }
note() { printf '    %s\n' "$*"; }
fail() {
    printf '\nbench: %s\n' "$1" >&2
    shift
    if (($#)); then printf '       %s\n' "$@" >&2; fi
    exit 1
}

# apt_install WHY PACKAGE... : installs the packages that are missing, and says what to do where that is impossible.
apt_install() {
    local why=$1 package missing=()
    shift
    for package; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null)" = installed ] || missing+=("$package")
    done
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null ||
        fail "$why needs ${missing[*]} (names of Debian packages), and this system has no apt-get." \
            "Install their like with your package manager, then run this again."
    [ "$(id -u)" = 0 ] ||
        fail "$why needs the packages ${missing[*]}, and installing them needs root." \
            "Run this as root, or first: sudo apt-get install ${missing[*]}"
    say "Installing ${missing[*]}"
    local log
    log=$(mktemp)
    if ! { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } \
        >"$log" 2>&1 </dev/null; then
        tail -n 15 "$log" >&2
        fail "apt-get could not install ${missing[*]} (its last lines are above)." "The whole log: $log"
    fi
    rm -f "$log"
}

# The package index that pip was told to use, if any: uv does not read pip's configuration.
python_index() {
    local url=${PIP_INDEX_URL:-}
    [ -n "$url" ] || url=$("$venv/bin/python" -m pip config get global.index-url 2>/dev/null || true)
    case $url in https://* | http://*) printf '%s\n' "$url" ;; esac
}

# The file of certificate authorities that this machine trusts.
ca_bundle() {
    local file
    for file in "${SSL_CERT_FILE:-}" /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt; do
        if [ -n "$file" ] && [ -r "$file" ]; then
            printf '%s\n' "$file"
            return
        fi
    done
}

# python_tree VERSION : the directory of an interpreter that no supported distribution has any more, for hosts to mount: that of
# pyenv, else one of uv's. Nothing where there is none.
python_tree() {
    local found
    if found=$(pyenv prefix "$(pyenv latest "$1" 2>/dev/null || echo "$1")" 2>/dev/null); then
        printf '%s\n' "$found"
    elif found=$("$venv/bin/uv" python find --no-project --managed-python "$1" 2>/dev/null); then
        printf '%s\n' "${found%/bin/*}"
    fi
}

# Airflow 1.10 needs such an interpreter.
old_python() {
    [ -z "$BENCH_PYTHON_3_8" ] || return 0
    say "Installing Python 3.8"
    "$venv/bin/uv" python install 3.8 || fail "there is no Python 3.8, which Airflow 1.10 needs." "Install it with pyenv or uv."
    BENCH_PYTHON_3_8=$(python_tree 3.8)
}

# package_tree PACKAGE : the directory of the programs of a package of the distribution, without the service that it would start.
package_tree() {
    local tree=$root/.cache/$1 log
    if [ ! -e "$tree" ]; then
        command -v apt-get >/dev/null || fail "the tests of monitoring need the package $1, and this system has no apt-get."
        rm -rf "$tree.new"
        mkdir -p "$tree.new"
        log=$(mktemp)
        # A machine that has just been installed knows no packages.
        if ! (cd "$tree.new" && { apt-get download "$1" || { apt-get update && apt-get download "$1"; }; } &&
            dpkg -x "$1"_*.deb . && rm "$1"_*.deb) >"$log" 2>&1; then
            tail -n 15 "$log" >&2
            fail "the package $1 could not be had (the last lines are above)." "The whole log: $log"
        fi
        rm -f "$log"
        mv "$tree.new" "$tree"
    fi
    printf '%s\n' "$tree/usr/bin"
}

# The tools of .venv, and the settings that let them find this collection in the work tree.
use_venv() {
    [ -x "$venv/bin/ansible-playbook" ] || fail "the tools are not installed." "Run: bench/setup"
    export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
    export ANSIBLE_COLLECTIONS_PATH=$root/collections
    export ANSIBLE_HOME=$root/.cache/ansible
    # Top-level scenarios are meant: without this molecule asks for them under extensions/.
    export MOLECULE_GLOB='molecule/*/molecule.yml'
    export ANSIBLE_CONFIG=$root/bench/ansible.cfg
    BENCH_PYTHON_3_8=$(python_tree 3.8)
    export BENCH_PYTHON_3_8
    if [ ! -t 1 ]; then export NO_COLOR=1 PY_COLORS=0 ANSIBLE_NOCOLOR=1; fi
    unset PYTHONPATH
}

# molecule finds its base configuration through git: a checkout without it has none.
run_molecule() { molecule -c "$root/.config/molecule/config.yml" "$@"; }
