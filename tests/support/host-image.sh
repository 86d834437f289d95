#!/usr/bin/env bash
# Makes the image that the test hosts boot from, once, and prints its directory.
#
# It lies in ${SHIP_TEST_CACHE:-/var/cache/ship-tests}, named by a digest of this file and the suite: a changed recipe is
# another image. Built under a temporary name and renamed when whole; a lock lets two runs share one making.
set -euo pipefail

packages=systemd,systemd-sysv,dbus,openssh-server,sudo,iproute2,nftables,procps,python3,curl
# What balancers run; on every host, and started where a test wants it.
packages=$packages,haproxy,nginx-light,socat

# The machine's own suite where it is a Debian, so that what is already fetched for it serves here too.
suite=bookworm
if [ -r /etc/os-release ]; then
    # shellcheck disable=SC1091
    suite=$(. /etc/os-release && [ "${ID:-}" = debian ] && printf '%s' "${VERSION_CODENAME:-bookworm}" || printf bookworm)
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
if ! mmdebstrap --variant=minbase --include="$packages" "$suite" "$making/root" >"$making/log" 2>&1 </dev/null; then
    printf 'could not make the image of the test hosts; mmdebstrap said:\n' >&2
    tail -n 15 "$making/log" >&2
    exit 1
fi

root=$making/root
# Each host gets keys of its own at boot, so that known_hosts can be strict.
rm -f "$root"/etc/ssh/ssh_host_*
: >"$root/etc/machine-id"
chroot "$root" useradd --create-home --shell /bin/bash deploy
chroot "$root" usermod --password '*' deploy
printf 'deploy ALL=(ALL) NOPASSWD: ALL\n' >"$root/etc/sudoers.d/deploy"
chmod 440 "$root/etc/sudoers.d/deploy"
chroot "$root" systemctl enable --quiet ssh
# A balancer is started by its test. Whoever logs in may use its socket.
chroot "$root" systemctl disable --quiet haproxy nginx
chroot "$root" usermod --append --groups haproxy deploy
# A login must not wait for a name server that is not there.
printf 'UseDNS no\nMaxStartups 100\n' >"$root/etc/ssh/sshd_config.d/tests.conf"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*

mv "$root" "$image"
printf '%s\n' "$image"
