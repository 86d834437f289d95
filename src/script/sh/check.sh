# What ship needs to find on a host. Creates nothing.
for tool in $TOOLS; do
    command -v "$tool" >/dev/null 2>&1 || check="${check}missing=$tool$NL"
done
[ -z "$ASKERS" ] || has_one_of $ASKERS || check="${check}missing=one of $ASKERS to ask for liveness$NL"
[ -z "$PULLERS" ] || has_one_of $PULLERS || check="${check}missing=one of $PULLERS to pull the artifact$NL"
check="${check}user=$(id -un)$NL"
if [ -d /run/systemd/system ]; then
    check="${check}systemd=$(systemctl is-system-running 2>/dev/null)$NL"
fi
place=$ROOT
while [ ! -e "$place" ]; do
    place=${place%/*}
    place=${place:-/}
done
if [ ! -d "$place" ]; then
    check="${check}base=$place is not a directory$NL"
elif [ ! -w "$place" ]; then
    check="${check}base=$place is not writable for this user$NL"
fi
look_space
finish 'done'
