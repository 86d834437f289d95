# The link driver: a server that is already there serves the files to which "current" leads. Reads only.

# Where "current" of release $1 leads.
linked_app() {
    app=releases/$1/app
}

# Observes the instance of release $1: sets "facts". It does not end with the host, because the link outlives it.
observe_link() {
    linked_app "$1"
    if target=$(readlink "$ROOT/current" 2>/dev/null); then
        flatten "$target"
        facts="process=ended current points to $flat$NL"
        [ "$target" != "$app" ] || facts="process=running$NL"
    elif [ -e "$ROOT/current" ]; then
        facts="process=ended current is not a link$NL"
    else
        facts="process=ended current is missing$NL"
    fi
}
