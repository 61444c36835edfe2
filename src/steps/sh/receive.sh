# Receives a file, verifies its content, and then replaces the old file. $1 path, $2 SHA-256, $3 mode, $4 owner, $5 not
# empty: keep the old file, $6 a script that gets the new file as $1, $7 the expected SHA-256 of the old file, or
# `none`, or empty for any, $8 a name for the temporary file. Empty $3 and $4 keep mode and owner.
name=$1 sum=$2 bits=$3 owner=$4 backup=$5 validate=$6 old=$7
follow "$name"
make_parent "$to"
tmp=$to.$8.$$
trap 'rm -f "$tmp"' EXIT
trap 'exit 1' HUP TERM
umask 077
cat >"$tmp" || exit 1
got=$(digest "$tmp")
[ "$got" = "$sum" ] || give_up "received $got, wanted $sum; run it again"
replace
finish
