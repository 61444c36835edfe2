# Unpacks an inspected archive into a new directory, which then becomes the target directory, or whose content is
# moved into it. $1 target directory, $2 SHA-256, $3 its path on this host or empty, $4 a name for temporary files,
# $5 how many top-level directories are removed.
to=$1 sum=$2 archive=$3 strip=$5 own=
case $to in /*) ;; *) to=$(pwd)/$to ;; esac
[ -n "$archive" ] || own=1 archive=$to.$4.archive
case $archive in /*) ;; *) archive=$(pwd)/$archive ;; esac
new=$to.$4.$$ bad=$to.$4.$$.bad marker=$to/.rollcall-archive
trap 'rm -rf "$new" "$new.outer" "$bad"; [ -z "$own" ] || rm -f "$archive"' EXIT
trap 'own=; exit 1' HUP TERM

# An earlier attempt whose outcome was lost may have done it.
is_there() { [ -f "$marker" ] && [ "$(cat "$marker")" = "$sum" ]; }
fail() { is_there && finish; give_up "$@"; }

if is_there; then finish; fi
[ -f "$archive" ] && [ "$(digest "$archive")" = "$sum" ] || fail "$archive is not what it was; run it again"
find_tool
mkdir "$new" || exit 1
if [ "$tool" = unzip ]; then
  unzip -q "$archive" -d "$new" >&2 </dev/null || fail "the archive could not be unpacked"
else
  plain | tar xof - -C "$new" || fail "the archive could not be unpacked"
  well
fi
strange=$(find "$new" ! -type f ! -type d ! -type l -o -type f -perm -4000 -o -type f -perm -2000 | head -n 1)
[ "$tool" != unzip ] || strange=$strange$(find "$new" -type l | head -n 1)
[ -z "$strange" ] || give_up "the archive is refused: ${strange#"$new"/} is not what it may hold"
while [ "$strip" -gt 0 ]; do
  only=$(ls -A "$new")
  [ -n "$only" ] && [ -d "$new/$only" ] && [ ! -L "$new/$only" ] ||
    give_up "strip = $5 leaves out one directory at a time, and here is: $(printf '%s' "$only" | tr '\n' ' ')"
  mv "$new" "$new.outer" && mv "$new.outer/$only" "$new" && rmdir "$new.outer" || exit 1
  strip=$((strip - 1))
done
rm -f "$new/.rollcall-archive"
if [ ! -e "$to" ]; then
  echo "$sum" >"$new/.rollcall-archive" || exit 1
  differs "$to: unpacked"
  mv -T "$new" "$to" || exit 1
  finish
fi
rm -f "$marker"
cd "$new" || exit 1
find . -type d -exec sh -c 'to=$1; shift
  for dir; do [ -d "$to/$dir" ] || mkdir -m "$(stat -c %a "$dir" || echo 755)" "$to/$dir" || exit 1; done' sh "$to" {} + || exit 1
find . ! -type d -exec sh -c 'to=$1; shift
  for file; do mv -fT "$file" "$to/$file" || exit 1; done' sh "$to" {} + || exit 1
left=$(find . ! -type d | head -n 1)
[ -z "$left" ] || give_up "$left could not be moved to $to"
cd / && echo "$sum" >"$marker.$4" && mv -f "$marker.$4" "$marker" || exit 1
differs "$to: unpacked"
finish
