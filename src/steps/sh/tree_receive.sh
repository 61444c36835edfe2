# Receives files of a tree below $1, as a tar archive on stdin: `list` in the format of tree.sh, and each file named by
# its number. $2 owner, $3 not empty: keep old files, $4 a script that gets each new file as $1, $5 a name for
# temporary files.
root=$1 owner=$2 backup=$3 validate=$4 old=
[ -d "$root" ] || mkdir -p "$root" || exit 1
stage=$root/.$5.$$ tmp=
trap 'rm -rf "$stage" ${tmp:+"$tmp"}' EXIT
trap 'exit 1' HUP TERM
mkdir -m 700 "$stage" || exit 1
tar xof - -C "$stage" || give_up "the files did not arrive whole; run it again"
while IFS=' ' read -r number sum bits path; do
  name=$root/$path
  follow "$name"
  make_parent "$to"
  tmp=$to.$5.$$
  mv -f "$stage/$number" "$tmp" || exit 1
  got=$(digest "$tmp")
  [ "$got" = "$sum" ] || give_up "$name: received $got, wanted $sum; run it again"
  replace
  rm -f "$tmp"
done <"$stage/list"
finish
