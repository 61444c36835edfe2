# Receives an archive, unless it is on this host already, and lists its members; see domain/base/archive.rs. $1 the
# target directory, $2 its SHA-256, $3 its path on this host or empty, $4 a name for temporary files.
to=$1 sum=$2 archive=$3
make_parent "$to"
bad=$to.$4.bad
trap 'rm -f "$bad" ${tmp:+"$tmp"}' EXIT
trap 'exit 1' HUP TERM
tmp=
if [ -z "$archive" ]; then
  archive=$to.$4.archive
  tmp=$archive.$$
  (umask 077; cat >"$tmp") || exit 1
  got=$(digest "$tmp")
  [ "$got" = "$sum" ] || give_up "received $got, wanted $sum; run it again"
  mv -f "$tmp" "$archive" || exit 1
fi
find_tool
if [ "$tool" = unzip ]; then
  printf 'zip\0'
  unzip -l "$archive" | sed -n 's/^ *[0-9][0-9]* *[0-9-]* *[0-9:]*   \(.*\)$/\1/p'
  printf '\0'
  exit 0
fi
no_archive() { give_up "this is no archive that this host can read"; }
printf 'tar\0'
plain | tar tf - || no_archive
well
printf '\0'
plain | tar tvf - || no_archive
well
