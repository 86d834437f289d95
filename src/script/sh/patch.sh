# Receives the difference from a release on this host, which may belong to another service, and makes the files from both.
# File systems that can share blocks between files store what is equal once. The files of the other release may have been
# changed, so the result is verified.
get_files() {
    [ -O "$HELD/app" ] || fail_receive "cannot use $HELD: it does not exist, or belongs to another user"
    receive_file "the difference of $PATCH_SIZE bytes" "$PATCH_SHA256" "$PATCH_SIZE"
    output=$(apply_patch 2>&1) || fail_receive "cannot use $HELD: $output"
    has_all_files openssl dgst -sha256 -r 2>/dev/null || has_all_files sha256sum -bz -- ||
        fail_receive "cannot use $HELD: its files were changed"
}

# Whether the files are those of the release, by a program that prints their digests. openssl is faster than most versions
# of sha256sum, but does not print every name as sha256sum does.
has_all_files() {
    command -v "$1" >/dev/null 2>&1 || return
    sum=$(list_contents "$@" | sha256sum 2>&1) || fail_receive "sha256sum: $sum"
    [ "${sum%% *}" = "$CONTENTS" ]
}

apply_patch() {
    tar "-xz${TIMES}of" "$scratch/artifact" -C "$scratch" --no-same-permissions || return
    copy_kept || return
    [ ! -s "$scratch/edits" ] || edit_files || return
    chmod -R a+rX "$app"
}

# Copies the files that are the same in both releases.
copy_kept() {
    cd "$HELD/app" || return
    # To open a named pipe would wait for its writer.
    xargs -0 -r sh -c '
        for path; do
            if [ -L "$path" ] || [ ! -f "$path" ]; then
                echo "$path is not a file" >&2
                exit 1
            fi
        done' sh <"$scratch/kept" || return
    # The files of a directory get the time of their arrival, as they do when they are unpacked.
    keep=timestamps
    [ -z "$TIMES" ] || keep=links
    xargs -0 -r cp -d --reflink=auto --preserve="$keep" --parents -t "$app" -- <"$scratch/kept"
}

# Makes files from parts, each line of the list after the other.
edit_files() {
    while IFS= read -r edit; do
        name=${edit#* }
        case $edit in
            'new '*) file=$app/$name && : >"$file" ;;
            'base '*) is_held "$name" && cp --reflink=auto -- "$HELD/app/$name" "$file" ;;
            'zstd '*)
                length=${name%% *} name=${name#* }
                offset=${name%% *} name=${name#* }
                is_held "$name" && decompress "$name" "$length" "$offset"
                ;;
            'sent '*) set -- $name && copy_part "$scratch/sent" "$1" "$2" "$3" ;;
            'held '*)
                at=${name%% *} name=${name#* }
                length=${name%% *} name=${name#* }
                offset=${name%% *} name=${name#* }
                is_held "$name" && copy_part "$HELD/app/$name" "$at" "$length" "$offset"
                ;;
            'end '*) set -- $name && end_file "$1" "$2" "$3" ;;
        esac || return
    done <"$scratch/edits"
}

is_held() {
    [ -f "$HELD/app/$1" ] && return
    echo "$1 is not a file" >&2
    return 1
}

# Copies to the offset $2 of the file $3 bytes of $1 from the offset $4.
copy_part() {
    dd if="$1" of="$file" bs=1M seek="$2" count="$3" skip="$4" conv=notrunc status=none \
        iflag=skip_bytes,count_bytes,fullblock oflag=seek_bytes
}

# Decompresses $2 of the bytes that were sent, from the offset $3, with the file $1 as the dictionary.
decompress() {
    dd if="$scratch/sent" bs=1M count="$2" skip="$3" status=none iflag=skip_bytes,count_bytes,fullblock |
        zstd -dqc --long=31 --patch-from="$HELD/app/$1" >"$file"
}

# Gives the file its size $1, its mode $2, and the time $3.
end_file() {
    truncate -s "$1" -- "$file" && chmod "$2" "$file" || return
    [ -n "$TIMES" ] || touch -d "@$3" -- "$file"
}

# Prints the digests of all files by a program, then the kind, the name and the target of everything, each in an order that
# does not depend on the locale. A name does not contain two slashes.
list_contents() {
    cd "$app" || return
    find . -type f -print0 | sort -z | xargs -0 -r "$@" | tr '\0' '\n'
    find . -type f -perm -100 -printf 'x %p//\0' -o -printf '%y %p//%l\0' | sort -z
}
