# Describes what to download: `file BYTES SHA-256` or `directory`. $1 path.
path=$1
if [ -d "$path" ]; then echo directory; exit 0; fi
[ -e "$path" ] || give_up "$path is not there"
[ -f "$path" ] || give_up "$path is no regular file"
echo "file $(($(wc -c <"$path"))) $(digest "$path")"
