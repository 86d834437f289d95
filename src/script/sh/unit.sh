# Writes a unit, unless it is there as it should be.
write_unit() {
    file=$UNIT_DIR/$1
    if [ -f "$file" ] && [ "$(cat "$file")" = "$2" ]; then
        return
    fi
    said=$({ printf '%s\n' "$2" >"$file.new" && mv -f "$file.new" "$file"; } 2>&1) ||
        fail "the unit $file could not be installed: $said"
    changed=yes
}

# Lets systemd read them, where one has changed.
read_units() {
    [ -z "$changed" ] || said=$(systemctl daemon-reload 2>&1) || fail "systemctl daemon-reload: $said"
}
