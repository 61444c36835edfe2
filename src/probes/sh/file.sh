# Attributes of the file $1. $2 `sum` for its checksum, $3 `read` for its content.
file=$1
case $file in /*) ;; *) file=./$file ;; esac
if [ ! -e "$file" ]; then
  [ ! -L "$file" ] || give_up "$1 is a dangling link, or leads to a place that the login cannot read"
  can_look_up "$file"
  say missing
  say done
  exit 0
fi
if all=$(stat -L -c '%a %U %G %s %Y' "$file" 2>/dev/null); then :
elif all=$(stat -L -f '%Lp %Su %Sg %z %m' "$file" 2>/dev/null); then :
else give_up "stat fails for $1"
fi
# shellcheck disable=SC2086
set -- $all "$2" "$3"
say mode "$1"; say owner "$2"; say group "$3"; say size "$4"
say age $(($(date +%s) - $5))
if [ "$6" = sum ]; then
  sum=$( { sha256sum <"$file" || sha256 -q <"$file" || shasum -a 256 <"$file"; } 2>/dev/null) || give_up "the checksum of $file cannot be had: it cannot be read, or sha256sum is not here"
  say sha256 "${sum%% *}"
fi
if [ "$7" = read ]; then
  if [ -r "$file" ]; then head -c 1048576 "$file" | sed 's/^/rollcall line /'; echo; else say unreadable; fi
fi
say done
