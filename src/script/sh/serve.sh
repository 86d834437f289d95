# Lets other hosts receive files from this one, until the reader of this script disconnects: a line in the login user's
# authorized_keys accepts the key of the rollout, expires, and only starts "send". The files are those in "relay".
relay_dir=$ROOT/relay/$RELAY
# The end of the lines of this service, by which those of a script that was killed are recognized, too.
mark=" ship-relay $ROOT "

# Without a shell's expansion, because any login shell runs the command.
check_path() {
    case $ROOT in
        *[!A-Za-z0-9/._-]*) fail "cannot send files from $ROOT, because the path has characters that shells expand" ;;
    esac
}

prepare_dir() {
    rm -rf -- "$ROOT/relay"
    output=$({ mkdir "$ROOT/relay" && mkdir "$relay_dir" && printf '%s\n' "$SEND" >"$relay_dir/send"; } 2>&1) ||
        fail "cannot prepare $relay_dir: $output"
}

# Runs a command as the user who has logged in.
as_login_user() {
    login=${SUDO_USER:-${DOAS_USER:-root}}
    if [ "$login" = root ] || [ "$(id -u)" != 0 ]; then
        "$@"
        return
    fi
    setpriv "--reuid=$(id -u "$login")" "--regid=$(id -g "$login")" --init-groups --reset-env -- "$@"
}

# Adds the line $1, if it is not empty, after removing the lines with $2. A new file replaces the old one, so that an
# interruption leaves one of the two.
EDIT_KEYS='
umask 077
cd && mkdir -p .ssh && exec 8<.ssh && flock 8 && file=$(readlink -f .ssh/authorized_keys) || exit
old=/dev/null
[ ! -f "$file" ] || { old=$file && cp -p "$file" "$file.ship" || exit; }
while IFS= read -r line || [ -n "$line" ]; do
    case $line in
        *"$2"*) ;;
        *) printf "%s\n" "$line" || exit ;;
    esac
done <"$old" >"$file.ship" || exit
[ -z "$1" ] || printf "%s\n" "$1" >>"$file.ship" || exit
if [ -s "$file.ship" ]; then
    mv -f "$file.ship" "$file"
else
    rm -f "$file.ship" "$file"
fi'

edit_keys() {
    as_login_user sh -c "$EDIT_KEYS" sh "$@"
}

begin_serving() {
    expires=$(date -d "@$(($(date +%s) + SERVE_S))" +%Y%m%d%H%M%S) || fail "cannot compute when the key expires"
    user=$(as_login_user id -un) || fail "cannot run commands as the login user"
    options="restrict,expiry-time=\"$expires\",command=\"exec sh $relay_dir/send\""
    output=$(edit_keys "$options $PUBLIC_KEY$mark$RELAY" "$mark" 2>&1) ||
        fail "cannot change authorized_keys of $user: $output"
    printf 'serving=%s\n' "$user"
}

end_serving() {
    trap '' HUP INT PIPE TERM
    edit_keys '' "$mark$RELAY" >/dev/null 2>&1
    rm -rf -- "$relay_dir"
    rmdir "$ROOT/relay" 2>/dev/null
    exit 0
}

check_path
enter
release_lock
trap end_serving HUP INT PIPE TERM
prepare_dir
begin_serving
clock
serve_until=$((cs + SERVE_S * 100))
while [ "$cs" -lt "$serve_until" ] && [ -n "$(timeout "$SILENCE_S" dd bs=1 count=1 2>/dev/null)" ]; do
    clock
done
end_serving
