#!/usr/bin/env bash
# Makes the image that the test hosts boot from, once, and prints its directory.
# usage: host-image.sh [SUITE]    a Debian suite, such as bullseye; left out: the suite of this machine
#
# It lies in ${SHIP_TEST_CACHE:-/var/cache/ship-tests}, named by a digest of this file and the suite: a changed recipe is
# another image. Built under a temporary name and renamed when whole; a lock lets two runs share one making.
set -euo pipefail

packages=systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,nftables,procps,python3,curl

# The machine's own suite where it is a Debian, so that what is already fetched for it serves here too.
own_suite=bookworm
if [ -r /etc/os-release ]; then
    # shellcheck disable=SC1091
    own_suite=$(. /etc/os-release && [ "${ID:-}" = debian ] && printf '%s' "${VERSION_CODENAME:-bookworm}" || printf bookworm)
fi
suite=${1:-$own_suite}
if [ "$suite" = "$own_suite" ]; then
    # What balancers run; on every host of the default suite, and started where a test wants it.
    packages=$packages,haproxy,nginx-light,socat
    # What services are made of.
    packages=$packages,redis-server,python3-rq,gunicorn,python3-django,php-fpm
    # The other program that runs scripts as root. Without /etc/doas.conf it refuses everything.
    packages=$packages,opendoas
fi
if [ "$suite" = trixie ]; then
    # Under /usr/lib/cargo/bin; sudo stays the default.
    packages=$packages,sudo-rs
fi

cache=${SHIP_TEST_CACHE:-/var/cache/ship-tests}
digest=$({ printf '%s\n' "$suite"; cat "${BASH_SOURCE[0]}"; } | sha256sum | cut -c1-12)
image=$cache/host-$suite-$digest

mkdir -p "$cache"
exec 9>"$cache/lock"
flock 9
if [ -d "$image" ]; then
    printf '%s\n' "$image"
    exit 0
fi

printf 'making the image of the test hosts (once, about a minute): %s\n' "$image" >&2
# What an interrupted making left; the lock says that nobody is at it now.
rm -rf "$cache"/making.*
making=$(mktemp -d "$cache/making.XXXXXX")
trap 'rm -rf "$making"' EXIT
root=$making/root
# A suite that is no longer supported moves from the first mirror to the second.
made=
for mirror in http://deb.debian.org/debian http://archive.debian.org/debian; do
    rm -rf "$root"
    if mmdebstrap --variant=minbase --include="$packages" --aptopt='Acquire::Check-Valid-Until "false"' \
        "$suite" "$root" "deb $mirror $suite main" >"$making/log" 2>&1 </dev/null; then
        made=yes
        break
    fi
    printf 'cannot make a %s image from %s; mmdebstrap printed:\n' "$suite" "$mirror" >&2
    tail -n 15 "$making/log" >&2
done
if [ -z "$made" ]; then
    printf 'hint: the tests need a Debian mirror that has %s; check the network, or put the image at %s\n' "$suite" "$image" >&2
    exit 1
fi

# Each host gets keys of its own at boot, so that known_hosts can be strict.
rm -f "$root"/etc/ssh/ssh_host_*
: >"$root/etc/machine-id"
chroot "$root" useradd --create-home --shell /bin/bash deploy
chroot "$root" usermod --password '*' deploy
printf 'deploy ALL=(ALL) NOPASSWD: ALL\n' >"$root/etc/sudoers.d/deploy"
chmod 440 "$root/etc/sudoers.d/deploy"
chroot "$root" systemctl enable --quiet ssh
if [ "$suite" = "$own_suite" ]; then
    # The tests start these programs. Every login user may use the socket of the balancer.
    chroot "$root" systemctl disable --quiet haproxy nginx redis-server
    chroot "$root" sh -c 'systemctl disable --quiet $(basename -a /lib/systemd/system/php*-fpm.service)'
    chroot "$root" usermod --append --groups haproxy deploy
fi
# A login must not wait for a name server that is not there.
printf 'UseDNS no\nMaxStartups 100\n' >"$root/etc/ssh/sshd_config.d/tests.conf"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*

mv "$root" "$image"
printf '%s\n' "$image"
