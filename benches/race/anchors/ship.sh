#!/bin/bash
# ship.sh N BATCH VER: the ship entry; SHIP is the binary (default: the release build of this repository); PERSIST keeps connections, FETCH is "push" or "relay"
set -eu
B=${BENCH:-/tmp/bench}; HERE=$(dirname "$(readlink -f "$0")"); SHIP=${SHIP:-$HERE/../../../target/release/ship}
mkdir -p "$B/ship"; cd "$B/ship"
cat > playbook.toml <<EOF
version = "1"
[service]
name = "testpage"
command = "/usr/bin/python3 testpage.py"
ports = [8080, 8081]
env = { VERSION = "{{ version }}", PORT = "{{ port }}", HOST = "{{ address }}" }
driver = "process"
[artifact]
source = "$B/artifacts/testpage-{{ version }}.tar.gz"
fetch = "${FETCH:-push}"
[readiness]
tcp = true
[rollout]
replicas = $1
max_surge = $2
EOF
{
    printf 'playbook = "playbook.toml"\n[fleet]\nname = "race"\n[ssh]\nconfig = "%s/ssh_config"\npersist = "%s"\n' "$B" "${PERSIST:-0s}"
    for ((i = 0; i < $1; i++)); do
        printf '[[hosts]]\nname = "h%s"\naddress = "127.1.%s.%s"\nbase_dir = "%s/hosts/h%s"\n' $i $((i / 250)) $((i % 250 + 1)) "$B" $i
    done
} > inventory.toml
exec "$SHIP" deploy inventory.toml --version "$3" --progress plain
