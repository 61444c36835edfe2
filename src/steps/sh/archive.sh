# Tests whether an archive is unpacked. $1 directory, $2 SHA-256 of the archive, or empty and $3 its path on this
# host, $4 not empty: the directory must contain only that archive. Prints `unpack SHA-256` if it must be unpacked.
to=$1 sum=$2 path=$3
if [ -z "$sum" ]; then
  [ -f "$path" ] || give_up "$path is not there"
  sum=$(digest "$path")
fi
[ ! -e "$to" ] || [ -d "$to" ] || give_up "$to is no directory; delete it first"
if [ -f "$to/.rollcall-archive" ]; then
  [ "$(cat "$to/.rollcall-archive")" != "$sum" ] || finish
  [ -z "$4" ] || give_up "$to was unpacked from another archive; give this one another name, or delete that first"
fi
[ -z "$4" ] || [ ! -e "$to" ] || give_up "$to is there, and rollcall did not unpack it; delete it first"
echo "unpack $sum"
