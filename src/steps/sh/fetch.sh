# Prints a file of at most $2 bytes. Exit status 44: the file does not exist. 45: it is too large.
path=$1
[ -e "$path" ] || [ -L "$path" ] || exit 44
[ -e "$path" ] || { echo "$path is a link to $(readlink "$path"), which is not there" >&2; exit 1; }
[ -f "$path" ] || { echo "$path is no regular file" >&2; exit 1; }
size=$(($(wc -c <"$path"))) || exit 1
[ "$size" -le "$2" ] || { echo "$path has $size bytes; at most $2 can be read" >&2; exit 45; }
cat "$path"
