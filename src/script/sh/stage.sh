# The bytes are received without the lock, so that a stalled sender blocks no other script.
check_digest "$RELEASE"
release_dir=$ROOT/releases/$RELEASE

finish_if_staged() {
    [ ! -d "$release_dir" ] || finish 'done'
}

# Called when the script is killed, for example at its deadline: removes what has arrived, and ends the receiver.
abort_receive() {
    trap '' HUP PIPE TERM
    [ -z "$receiver" ] || kill "$receiver" 2>/dev/null
    rm -rf -- "$scratch"
    exit 10
}

# Fails with $1, unless a later action has removed the files. In that case, the fence reports the actual reason.
fail_receive() {
    [ -d "$scratch" ] || enter
    fail "$1"
}

receive() {
    output=$(mkdir -p "$scratch/release/app" 2>&1) || fail_receive "$output"
    read_lines 1 "$scratch/release/definition" '%s' || fail_receive "the definition did not arrive completely, or cannot be written"
    if [ -n "$SECRETS_SHA256" ]; then
        read_lines "$SECRETS_LINES" "$scratch/release/secrets" "$SECRETS_END" ||
            fail_receive "the secrets did not arrive completely, or cannot be written"
        verify "$scratch/release/secrets" "$SECRETS_SHA256" "the secrets file" 0
    fi
    get_files
}

# Verifies that the file $1, of about $4 bytes, has the SHA-256 $2. $3 describes it. openssl is faster than most versions of
# sha256sum, but takes longer to start.
verify() {
    sum=
    [ "$4" -lt 4000000 ] || sum=$(openssl dgst -sha256 -r <"$1" 2>/dev/null) || sum=
    [ -n "$sum" ] || sum=$(sha256sum <"$1" 2>&1) || fail_receive "sha256sum: $sum"
    [ "${sum%% *}" = "$2" ] || fail_receive "$3 is corrupt: received $(wc -c <"$1") bytes with SHA-256 ${sum%% *}, expected $2"
}

unpack() {
    if [ -n "$FILE" ]; then
        output=$({ mv "$scratch/artifact" "$app/$FILE" && chmod 0755 "$app/$FILE"; } 2>&1) || fail_receive "$output"
        return
    fi
    output=$(tar "-xz${TIMES}of" "$scratch/artifact" -C "$app" --no-same-permissions --strip-components="$STRIP" 2>&1) ||
        fail_receive "cannot unpack the artifact: $output"
    # The service's user must be able to read the files, regardless of their original permissions.
    output=$(chmod -R a+rX "$app" 2>&1) || fail_receive "$output"
}

# Writes the names of the files, so that a later "pack" leaves out what the service adds to them.
list_files() {
    output=$(exec 2>&1 && cd "$scratch/release/app" && find . -print0 >../files) || fail_receive "$output"
}

# Links the directories that outlive the release. The controller has checked that they hide no files.
link_shared_dirs() {
    for dir in $SHARED_DIRS; do
        link=$scratch/release/app/$dir up=../../.. rest=$dir
        while [ "$rest" != "${rest#*/}" ]; do
            up=$up/.. rest=${rest#*/}
        done
        output=$({ mkdir -p "${link%/*}" && rm -rf -- "$link" && ln -s "$up/shared/$dir" "$link"; } 2>&1) || fail_receive "$output"
    done
}

enter
finish_if_staged
clean "$ROOT"/tmp/*
release_lock
scratch=$ROOT/tmp/in.$$
receiver=
trap abort_receive HUP PIPE TERM
# A background process does not get the standard input.
exec 3<&0
app=$scratch/release/app
receive
list_files
link_shared_dirs
enter
finish_if_staged
output=$(mv "$scratch/release" "$release_dir" 2>&1) || fail "$output"
finish 'done'
