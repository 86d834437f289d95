# Prints an archive of the files of a release, without what the service has added to them.
case $RELEASE in
    '' | *[!0-9a-f]*)
        echo "not a release: $RELEASE" >&2
        exit 1
        ;;
esac
cd "$ROOT/releases/$RELEASE/app" || exit 1
case $(tar --version 2>/dev/null) in
    *GNU*) is_gnu=yes ;;
    *) is_gnu= ;;
esac
# Earlier versions of ship have staged releases without a list.
if [ ! -f ../files ]; then
    exec tar -czf - .
elif [ -n "$is_gnu" ]; then
    exec tar -czf - --no-recursion --null -T ../files
fi
# Other versions of tar read no list.
if find . -print0 | cmp -s - ../files; then
    exec tar -czf - .
fi
# More names than fit into one call would become several archives.
if [ "$(wc -c <../files)" -gt 20000 ]; then
    echo "the service has added files, and the tar of this host cannot leave them out; install GNU tar" >&2
    exit 1
fi
xargs -0 tar -czf - --no-recursion <../files
