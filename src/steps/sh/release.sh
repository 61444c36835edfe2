# Switches `current` to an unpacked release. $1 the directory with releases/, shared/ and current, $2 name of the release,
# $3 how many releases to keep, $4 a name for temporary files, then the paths that become links into shared/.
root=$1 name=$2 keep=$3 tmp=$4
shift 4
here=$root/releases/$name
current=$root/current
for path; do
  rest=$path up=../..
  while [ "$rest" != "${rest#*/}" ]; do rest=${rest#*/} up=../$up; done
  link=$here/$path target=$up/shared/$path shared=$root/shared/$path
  if [ -L "$link" ] && [ "$(readlink "$link")" = "$target" ] && [ -e "$link" ]; then continue; fi
  differs "releases/$name/$path -> shared/$path" || continue
  if [ ! -e "$shared" ]; then
    mkdir -p "$(dirname "$shared")" || exit 1
    if [ -f "$link" ]; then cp -p "$link" "$shared" || exit 1; else mkdir "$shared" || exit 1; fi
  fi
  rm -rf "$link" && mkdir -p "$(dirname "$link")" && ln -s "$target" "$link" || exit 1
done
before=
if [ -L "$current" ]; then
  before=$(readlink "$current")
elif [ -e "$current" ]; then
  give_up "$current exists and is no link; move it away first"
fi
[ "$before" != "releases/$name" ] || finish
if differs "$current -> releases/$name${before:+ (was $before)}"; then
  [ -f "$here/.rollcall-archive" ] || give_up "$here is not there whole; run it again"
  rm -f "$current.$tmp" && ln -s "releases/$name" "$current.$tmp" && mv -fT "$current.$tmp" "$current" ||
    { rm -f "$current.$tmp"; exit 1; }
fi
# From here on the release is live: an old release that cannot be deleted is reported, and is not a failure.
before=${before##*/}
for gone in "$root"/releases/.*.rollcall-*.gone; do
  [ ! -d "$gone" ] || [ "$mode" = dry-run ] || rm -rf "$gone"
done
left=$((keep - 1))
[ -z "$before" ] || [ ! -f "$root/releases/$before/.rollcall-archive" ] || left=$((left - 1))
cd "$root/releases" 2>/dev/null || finish
ls -1t ./*/.rollcall-archive 2>/dev/null | while IFS= read -r old; do
  old=${old#./}
  old=${old%/*}
  case $old in "$name"|"$before") continue ;; esac
  left=$((left - 1))
  [ "$left" -lt 0 ] || continue
  differs "releases/$old: deleted, $keep are kept" || continue
  mv -T "$old" ".$old.$tmp.gone" && rm -rf ".$old.$tmp.gone" || echo "releases/$old could not be deleted"
done
finish
