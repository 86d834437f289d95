# Versions before 1.4.5 do not know the option.
case $(zstd -H 2>&1) in
    *--patch-from*) echo zstd=yes ;;
    *) echo zstd=no ;;
esac
