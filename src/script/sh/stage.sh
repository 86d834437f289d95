# The bytes arrive without the lock held: a sender that falls asleep keeps nobody waiting.
digest "$RELEASE"
whole=$ROOT/releases/$RELEASE

done_if_whole() {
    [ ! -d "$whole" ] || finish 'done'
}

# Ended from without, as by the watch that is kept on every script: what has arrived goes, and so does who waits for the
# rest.
abandon() {
    trap '' HUP PIPE TERM
    [ -z "$receiver" ] || kill "$receiver" 2>/dev/null
    rm -rf -- "$litter"
    exit 10
}

# A later order cleans up behind this one. Then the fence has the better word for what went wrong.
broken() {
    [ -d "$litter" ] || enter
    fail "$1"
}

receive() {
    said=$(mkdir -p "$litter/release/app" 2>&1) || broken "$said"
    take 1 "$litter/release/definition" '%s' || broken "the definition did not arrive whole, or could not be written"
    if [ -n "$SECRETS_SHA256" ]; then
        take "$SECRETS_LINES" "$litter/release/secrets" "$SECRETS_END" ||
            broken "the secrets did not arrive whole, or could not be written"
        verify "$litter/release/secrets" "$SECRETS_SHA256" "the secrets"
    fi
    if [ -n "$PULL" ]; then
        pull
        verify "$litter/artifact" "$SHA256" "what the URL leads to, which should have $SIZE bytes,"
        return
    fi
    # A signal ends a wait; it would not end a program in the foreground.
    cat <&3 >"$litter/artifact" 2>"$litter/said" &
    receiver=$!
    if ! wait "$receiver"; then
        said=$(cat "$litter/said" 2>&1)
        broken "the artifact could not be received${said:+: $said}"
    fi
    receiver=
    verify "$litter/artifact" "$SHA256" "the artifact, of $SIZE bytes,"
}

verify() {
    sum=$(sha256sum <"$1" 2>&1) || broken "sha256sum: $sum"
    [ "${sum%% *}" = "$2" ] || broken "$3 arrived damaged: $(wc -c <"$1") bytes with sha256 ${sum%% *} instead of $2"
}

unpack() {
    app=$litter/release/app
    if [ -n "$FILE" ]; then
        said=$({ mv "$litter/artifact" "$app/$FILE" && chmod 0755 "$app/$FILE"; } 2>&1) || broken "$said"
        return
    fi
    said=$(tar "-xz${TIMES}of" "$litter/artifact" -C "$app" --no-same-permissions --strip-components="$STRIP" 2>&1) ||
        broken "the artifact could not be unpacked: $said"
    # The service's own user must be able to enter and read what somebody else packed.
    said=$(chmod -R a+rX "$app" 2>&1) || broken "$said"
}

enter
done_if_whole
clean
leave
litter=$ROOT/tmp/in.$$
receiver=
trap abandon HUP PIPE TERM
# A program in the background does not get the standard input.
exec 3<&0
receive
unpack
enter
done_if_whole
said=$(mv "$litter/release" "$whole" 2>&1) || fail "$said"
finish 'done'
