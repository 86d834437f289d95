# Deploys with one entry of the race, verifies the hosts and measures. Sourced by benches/run, in this directory.
# An entry is anchors/ENTRY.sh N BATCH VERSION, except for `kept` (ship with kept connections) and `mitogen`.
# shellcheck shell=bash

# Prints what an entry lacks on this machine, or nothing.
missing() {
    case $1 in
    ship | kept) [ -x "$SHIP" ] || echo "$SHIP" ;;
    pyinfra) [ -x "$AV/bin/pyinfra" ] || echo "$AV/bin/pyinfra" ;;
    ansible) [ -x "$AV/bin/ansible-playbook" ] || echo "$AV/bin/ansible-playbook" ;;
    mitogen) "$AV/bin/python" -c 'import ansible_mitogen' 2>/dev/null || echo "mitogen in $AV" ;;
    rsync) command -v rsync >/dev/null || echo rsync ;;
    esac
}

deploy() { # ENTRY N BATCH VERSION
    case $1 in
    kept) PERSIST=10m ./fleet.sh exec anchors/ship.sh "$2" "$3" "$4" ;;
    mitogen) ./fleet.sh exec anchors/ansible.sh "$2" "$3" "$4" mitogen ;;
    *) ./fleet.sh exec "anchors/$1.sh" "$2" "$3" "$4" ;;
    esac >"$BENCH/$1.out" 2>&1
}

disconnect() {
    [ ! -f "$BENCH/ship/inventory.toml" ] || (cd "$BENCH/ship" && ip netns exec shipbench "$SHIP" disconnect inventory.toml)
} >/dev/null 2>&1

# Ends all instances and empties the hosts.
reset_hosts() {
    local pid
    disconnect
    for pid in $(ip netns pids shipbench); do
        grep -qs testpage.py "/proc/$pid/cmdline" && kill "$pid"
    done
    sleep 0.3
    rm -rf "$BENCH"/hosts/* "$BENCH/ship"
    install -d -o shipfleet "$BENCH/hosts"
}

address() { echo "127.1.$(($1 / 250)).$(($1 % 250 + 1))"; }

# Prints how many hosts do not run exactly this version. An entry may use either port of a host.
count_wrong() { # N VERSION
    local i wrong=0 address
    for ((i = 0; i < $1; i++)); do
        address=$(address "$i")
        [ "$(./fleet.sh exec curl -s -m 2 "http://$address:8080/" "http://$address:8081/")" = \
            "I am: $address, the version is: $2" ] || wrong=$((wrong + 1))
    done
    echo "$wrong"
}

# Prints the lines of sshd's log, the processes that this machine has started, and the bytes that the network has carried.
counters() {
    wc -l <"$BENCH/sshd.log"
    awk '/^processes/ { print $2 }' /proc/stat
    # shellcheck disable=SC2016
    ./fleet.sh exec awk '/lo:/ { print $2 }' /proc/net/dev
}

# Appends what a deploy cost each host, as a row of a table.
record_cost() { # ENTRY N COUNTERS_BEFORE COUNTERS_AFTER
    local before after
    mapfile -t before <<<"$3"
    mapfile -t after <<<"$4"
    sed -n "$((before[0] + 1)),${after[0]}p" "$BENCH/sshd.log" | awk -v entry="$1" -v n="$2" \
        -v processes=$((after[1] - before[1])) -v bytes=$((after[2] - before[2])) '
        /Accepted publickey/ { logins++ }
        /Starting session/ { sessions++ }
        END { printf "| `%s` | %.1f | %.1f | %.0f | %.0f |\n", entry, logins / n, sessions / n, processes / n, bytes / n / 1000 }
    ' >>"$BENCH/costs"
}

median() { sort -n | awk '{ value[NR] = $1 } END { print value[int((NR + 1) / 2)] }'; }

rounds_of() {
    case $1 in ansible | mitogen) echo 1 ;; *) echo "$ROUNDS" ;; esac
}

# Reports why an entry has no time, and keeps its output.
fail() { # ENTRY WHY
    cp "$BENCH/$1.out" "$BENCH/$1.failed"
    echo "failed: $1, $2; its output is in $BENCH/$1.failed" >&2
    echo failed
}

# Prints the median seconds of a deploy, or "failed". The first deploy is not measured.
measure() { # ENTRY N BATCH
    local version=1 times="" from to before after wrong
    reset_hosts
    deploy "$1" "$2" "$3" 1 || { fail "$1" "the first deploy" && return; }
    while [ "$version" -le "$(rounds_of "$1")" ]; do
        version=$((version + 1))
        before=$(counters)
        from=$(date +%s.%N)
        deploy "$1" "$2" "$3" "$version" || { fail "$1" "deploy of $version" && return; }
        to=$(date +%s.%N)
        after=$(counters)
        wrong=$(count_wrong "$2" "$version")
        [ "$wrong" = 0 ] || { fail "$1" "$wrong hosts without version $version" && return; }
        times+="$(echo "$to - $from" | bc)"$'\n'
    done
    record_cost "$1" "$2" "$before" "$after"
    printf %s "$times" | median
}
