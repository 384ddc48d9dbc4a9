#!/bin/sh
# Gets the images that deploy/ begins with. Where no registry is reached, stand-ins take their names, for tests alone: Debian's
# packages, this machine's Rust and certificates, and Kafka from Maven Central.
set -eu
cd "$(dirname "$0")/../.."

rust=docker.io/library/$(sed -n 's/^FROM \(rust:[^ ]*\) AS wheel$/\1/p' deploy/Dockerfile)
python=docker.io/library/$(sed -n 's/^FROM \(python:[^ ]*\)$/\1/p' deploy/Dockerfile)
kafka=docker.io/$(sed -n 's/^ *image: \(apache\/kafka:.*\)$/\1/p' deploy/compose.yaml)

has() {
    buildah inspect --type image "$1" >/dev/null 2>&1 || buildah pull --quiet "$1" >/dev/null 2>&1
}

debian() {
    if ! has localhost/pixelcore-debian; then
        [ -e .deploy/debian.tar ] || mmdebstrap --quiet --variant=minbase bookworm .deploy/debian.tar \
            --include=ca-certificates,gcc,libc6-dev,openjdk-17-jre-headless,python3-pip,python3-venv
        container=$(buildah from scratch)
        buildah add --quiet "$container" .deploy/debian.tar /
        # A proxy that reads TLS has a certificate of its own. pip must be told where the system's certificates are.
        buildah add --quiet "$container" /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
        buildah config --env PIP_CERT=/etc/ssl/certs/ca-certificates.crt "$container"
        buildah run --isolation chroot "$container" sh -c 'rm /usr/lib/python3*/EXTERNALLY-MANAGED; ln -s python3 /usr/bin/python'
        buildah commit --quiet --rm "$container" localhost/pixelcore-debian >/dev/null
    fi
    buildah from localhost/pixelcore-debian
}

mkdir -p .deploy
if ! has "$python"; then
    container=$(debian)
    buildah config --cmd python3 "$container"
    buildah commit --quiet --rm "$container" "$python"
fi
if ! has "$rust"; then
    container=$(debian)
    for part in bin lib libexec; do
        buildah add --quiet "$container" "$(rustc --print sysroot)/$part" "/usr/local/$part"
    done
    buildah commit --quiet --rm "$container" "$rust"
fi
if ! has "$kafka"; then
    container=$(debian)
    mvn -q -B -f tests/kafka/pom.xml dependency:copy-dependencies -Dkafka.version="${kafka#*:}" \
        -DoutputDirectory="$PWD/.kafka/lib-${kafka#*:}" -DincludeScope=runtime
    buildah add --quiet "$container" ".kafka/lib-${kafka#*:}" /opt/kafka/libs
    buildah add --quiet --chmod 755 "$container" tests/deployed/kafka /opt/kafka/bin
    buildah run --isolation chroot "$container" sh -c '
        useradd --create-home appuser
        mkdir -p /var/lib/kafka/data /mnt/shared/config /etc/kafka/docker /opt/kafka/config
        chown -R appuser /var/lib/kafka /mnt/shared/config /opt/kafka/config'
    buildah config --user appuser --cmd /opt/kafka/bin/run --volume /var/lib/kafka/data "$container"
    buildah commit --quiet --rm "$container" "$kafka"
fi
