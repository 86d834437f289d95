#!/bin/bash
# rsync.sh N BATCH VER: `rsync -a --delete --link-dest` to each host of a batch, then the start and stop of limit.sh
set -eu
B=${BENCH:-/tmp/bench} N=$1 BATCH=$2 V=$3 NEW=$((8080 + $3 % 2)) OLD=$((8080 + ($3 + 1) % 2))
one() {
    h=127.1.$(($1 / 250)).$(($1 % 250 + 1)) base=$B/hosts/h$1
    rsync -a --mkpath --delete --link-dest="$base/releases/$((V - 1))" -e "ssh -F $B/ssh_config" \
        "$B/artifacts/testpage-$V/" "$h:$base/releases/$V/"
    ssh -F "$B/ssh_config" "$h" "cd $base/releases/$V && { HOST=$h PORT=$NEW VERSION=$V setsid python3 testpage.py >/dev/null 2>&1 </dev/null & echo \$! > $base/$NEW.pid; } && bash --norc -c 'until (: < /dev/tcp/$h/$NEW) 2>/dev/null; do sleep 0.02; done'; test ! -f $base/$OLD.pid || { kill \$(cat $base/$OLD.pid); rm $base/$OLD.pid; }; ln -sfn $base/releases/$V $base/current"
}
export -f one
export B V NEW OLD
for ((i = 0; i < N; i += BATCH)); do
    for ((j = i; j < i + BATCH && j < N; j++)); do one $j & done
    wait
done
