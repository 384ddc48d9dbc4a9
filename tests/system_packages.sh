#!/bin/sh
# Installs missing system packages: for running pixelcore from source (run), also for its tests (test), or for those of deploy/
# (deploy).
# It prints nothing if nothing is missing. Without the right to install, it lists the missing packages, and does not fail.
set -eu

usage="usage: system_packages.sh run|test|deploy"
wanted=${1:?$usage}

missing=
need() {
    missing="$missing $1"
}

# Debian's venv lacks the part that installs pip into a new environment.
python3 -c 'import ensurepip, venv' 2>/dev/null || need python3-venv
command -v cc >/dev/null 2>&1 || command -v gcc >/dev/null 2>&1 || need gcc

case $wanted in
run) ;;
test)
    command -v curl >/dev/null 2>&1 || need curl
    command -v java >/dev/null 2>&1 || need java
    command -v mvn >/dev/null 2>&1 || need maven
    command -v javac >/dev/null 2>&1 || need javac
    command -v go >/dev/null 2>&1 || need golang-go
    command -v php >/dev/null 2>&1 || need php-cli
    command -v node >/dev/null 2>&1 || need nodejs
    command -v npm >/dev/null 2>&1 || need npm
    command -v chromium >/dev/null 2>&1 || need chromium
    command -v systemd-analyze >/dev/null 2>&1 || need systemd
    command -v valgrind >/dev/null 2>&1 || need valgrind
    command -v mount >/dev/null 2>&1 || need mount
    command -v unshare >/dev/null 2>&1 || need util-linux
    command -v psql >/dev/null 2>&1 || need postgresql
    command -v nginx >/dev/null 2>&1 || [ -x /usr/sbin/nginx ] || need nginx
    ;;
deploy)
    for name in haproxy mmdebstrap nginx openssl prometheus; do
        command -v "$name" >/dev/null 2>&1 || [ -x "/usr/sbin/$name" ] || need "$name"
    done
    command -v ip >/dev/null 2>&1 || [ -x /usr/sbin/ip ] || need iproute2
    command -v etcd >/dev/null 2>&1 || need etcd-server
    command -v systemd-nspawn >/dev/null 2>&1 || need systemd-container
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
    javac) packages="$packages default-jdk-headless" ;;
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
