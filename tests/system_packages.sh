#!/bin/sh
# Installs the system packages that are missing: for running pixelcore from source (run), or for its tests too (test).
# Says nothing when nothing is missing. Where it may not install, it says what is missing, and is no obstacle itself.
set -eu

usage="usage: system_packages.sh run|test"
wanted=${1:?$usage}

missing=
need() {
    missing="$missing $1"
}

# Debian ships venv without the part that gives a new environment its pip.
python3 -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || need gcc

case $wanted in
run) ;;
test)
    command -v curl >/dev/null 2>&1 || need curl
    command -v java >/dev/null 2>&1 || need java
    command -v mvn >/dev/null 2>&1 || need maven
    command -v node >/dev/null 2>&1 || need nodejs
    command -v chromium >/dev/null 2>&1 || need chromium
    command -v systemd-analyze >/dev/null 2>&1 || need systemd
    command -v valgrind >/dev/null 2>&1 || need valgrind
    command -v mount >/dev/null 2>&1 || need mount
    command -v unshare >/dev/null 2>&1 || need util-linux
    command -v nginx >/dev/null 2>&1 || [ -x /usr/sbin/nginx ] || need nginx
    ;;
*)
    echo "$usage" >&2
    exit 2
    ;;
esac

[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "please install:$missing (java: a headless JRE of version 17 or later)" >&2
    exit 0
fi

apt-get update -qq
packages=
for name in $missing; do
    case $name in
    gcc) packages="$packages gcc libc6-dev" ;;
    java)
        # Java's version in the name differs between releases of Debian; the default one is always new enough after 17.
        if apt-cache show openjdk-17-jre-headless >/dev/null 2>&1; then
            packages="$packages openjdk-17-jre-headless"
        else
            packages="$packages default-jre-headless"
        fi
        ;;
    *) packages="$packages $name" ;;
    esac
done
# Debian starts the servers that it installs, unless this file says no. The tests start their own.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
# shellcheck disable=SC2086 # a list of words
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
