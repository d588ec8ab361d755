#!/bin/sh
# Runs inside the image while it is built: completes the system, and lets it reach what the host reaches.
set -eu
here=/usr/local/share/bench-host

[ ! -f "$here/apt.conf" ] || cp "$here/apt.conf" /etc/apt/apt.conf.d/80host
# The lists stay in the image: a role's cache_valid_time trusts their age.
rm -f /etc/apt/apt.conf.d/docker-clean /etc/apt/apt.conf.d/docker-gzip-indexes
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends \
    ca-certificates dbus iproute2 procps python3 python3-apt systemd systemd-sysv
apt-get clean

# Authorities that the host trusts and Debian does not: a proxy that opens TLS has one.
if [ -f "$here/ca.pem" ]; then
    python3 - "$here/ca.pem" <<'PYTHON'
import hashlib, re, ssl, sys

PEM = re.compile("-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.S)


def certificates(path):
    with open(path, encoding="utf-8", errors="replace") as stream:
        return {ssl.PEM_cert_to_DER_cert(text) for text in PEM.findall(stream.read())}


for der in certificates(sys.argv[1]) - certificates("/etc/ssl/certs/ca-certificates.crt"):
    name = "/usr/local/share/ca-certificates/host-%s.crt" % hashlib.sha256(der).hexdigest()[:12]
    with open(name, "w", encoding="ascii") as stream:
        stream.write(ssl.DER_cert_to_PEM_cert(der))
PYTHON
    update-ca-certificates
fi
cat "$here/environment" >>/etc/environment
# Not every program gets an environment: pip and uv read these files in any case.
cp "$here/pip.conf" /etc/pip.conf
mkdir -p /etc/uv
cp "$here/uv.toml" /etc/uv/uv.toml

# No console here, and the names that the engine gives are the right ones.
systemctl mask getty.target console-getty.service systemd-resolved.service systemd-networkd.service
rm -f /etc/machine-id /var/lib/dbus/machine-id
touch /etc/machine-id
