# The bytes arrive without the lock held: a sender that falls asleep keeps nobody waiting.
digest "$RELEASE"
whole=$ROOT/releases/$RELEASE

done_if_whole() {
    [ ! -d "$whole" ] || finish 'done'
}

clean() {
    for leftover in "$ROOT"/tmp/*; do
        [ ! -e "$leftover" ] || rm -rf -- "$leftover"
    done
}

receive() {
    said=$(mkdir -p "$litter/release/app" 2>&1) || fail "$said"
    if [ -n "$SECRETS_SHA256" ]; then
        take "$SECRETS_LINES" "$litter/release/secrets" "$SECRETS_END" ||
            fail "the secrets did not arrive whole, or could not be written"
        verify "$litter/release/secrets" "$SECRETS_SHA256" "the secrets"
    fi
    said=$(cat 2>&1 >"$litter/artifact") || fail "the artifact could not be received: $said"
    verify "$litter/artifact" "$SHA256" "the artifact, of $SIZE bytes,"
}

verify() {
    sum=$(sha256sum <"$1" 2>&1) || fail "sha256sum: $sum"
    [ "${sum%% *}" = "$2" ] || fail "$3 arrived damaged: $(wc -c <"$1") bytes with sha256 ${sum%% *} instead of $2"
}

unpack() {
    app=$litter/release/app
    if [ -n "$FILE" ]; then
        said=$({ mv "$litter/artifact" "$app/$FILE" && chmod 0755 "$app/$FILE"; } 2>&1) || fail "$said"
        return
    fi
    said=$(tar -xzof "$litter/artifact" -C "$app" --no-same-permissions --strip-components="$STRIP" 2>&1) ||
        fail "the artifact could not be unpacked: $said"
    # The service's own user must be able to enter and read what somebody else packed.
    said=$(chmod -R a+rX "$app" 2>&1) || fail "$said"
}

enter
done_if_whole
clean
leave
litter=$ROOT/tmp/in.$$
receive
unpack
enter
done_if_whole
said=$(mv "$litter/release" "$whole" 2>&1) || fail "$said"
finish 'done'
