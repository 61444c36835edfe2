# Functions for all scripts that handle files.
digest() {
  if command -v sha256sum >/dev/null; then sha256sum <"$1"; else shasum -a 256 <"$1"; fi | cut -d' ' -f1
}

# Prints the mode as octal digits without a leading zero.
mode_of() { stat -c %a "$1" 2>/dev/null || stat -f %Mp%Lp "$1" | sed 's/^0//'; }

# Print user and group, as names and as numbers.
owner_of() { stat -c '%U:%G' "$1" 2>/dev/null || stat -f %Su:%Sg "$1"; }
ids_of() { stat -c %u:%g "$1" 2>/dev/null || stat -f %u:%g "$1"; }

# True when $1 belongs to $2, which is `user` or `user:group`, names or numbers.
belongs() {
  user=${2%%:*} group=
  case $2 in *:*) group=${2#*:} ;; esac
  names=$(owner_of "$1") ids=$(ids_of "$1")
  case $user in ''|"${names%%:*}"|"${ids%%:*}") ;; *) return 1 ;; esac
  case $group in ''|"${names#*:}"|"${ids#*:}") ;; *) return 1 ;; esac
}

# Gives $1 the mode $2 and the owner $3, if they are not empty and differ; $4 is its name in messages.
attributes() {
  if [ -n "$3" ] && ! belongs "$1" "$3"; then
    if differs "$4: owner $3 (was $(owner_of "$1"))"; then chown -- "$3" "$1" || exit 1; fi
  fi
  if [ -n "$2" ] && had=$(mode_of "$1") && [ "$had" != "$2" ]; then
    if differs "$4: mode $2 (was $had)"; then chmod "$2" "$1" || exit 1; fi
  fi
}

# Sets $to to the real path of the file $1: a link stays, and its target is changed.
follow() {
  to=$1
  if [ -L "$to" ]; then
    [ -e "$to" ] || give_up "$1 is a link to $(readlink "$1"), which is not there; delete the link first"
    to=$(readlink -f "$1") || exit 1
  fi
  [ ! -d "$to" ] || give_up "$1 is a directory; name the file in it"
  [ ! -e "$to" ] || [ -f "$to" ] || give_up "$1 is no regular file; delete it first"
}

# Creates the parent directory of $1, with the login's umask.
make_parent() { [ -d "$(dirname "$1")" ] || mkdir -p "$(dirname "$1")" || exit 1; }

# Replaces $to, called $name in messages, by $tmp. $sum is the SHA-256 of the new content. $bits and $owner are the
# desired mode and owner; if empty, they stay. $old is the expected old content: a SHA-256, `none`, or empty for any.
replace() {
  was=none
  [ ! -e "$to" ] || was=$(digest "$to")
  if [ "$was" = "$sum" ]; then
    attributes "$to" "$bits" "$owner" "$name"
    return
  fi
  unchanged_since
  dress
  approve
  # `validate` may take long.
  unchanged_since
  if [ "$was" = none ]; then differs "$name: new file"; else differs "$name: new content"; fi
  [ -z "$backup" ] || [ "$was" = none ] || keep_old
  mv -f "$tmp" "$to" || exit 1
}

# Exits if the file is no longer the expected old one.
unchanged_since() {
  [ -n "$old" ] || return 0
  now=none
  [ ! -e "$to" ] || now=$(digest "$to")
  [ "$now" != "$old" ] || return 0
  echo "$name was changed by another process in the meantime" >&2
  exit 75
}

# Gives the new file the desired owner and mode, or those of the old file.
dress() {
  wanted=$bits
  if [ -n "$owner" ]; then
    belongs "$tmp" "$owner" || chown -- "$owner" "$tmp" || exit 1
  elif [ "$was" != none ] && [ "$(ids_of "$to")" != "$(ids_of "$tmp")" ]; then
    if ! chown "$(ids_of "$to")" "$tmp" 2>/dev/null; then
      [ -n "$bits" ] || give_up "$name is as it was: it belongs to $(owner_of "$to"), and $(id -un) cannot keep it so; try sudo = true"
      echo "$name: owner $(owner_of "$tmp") (was $(owner_of "$to"))"
    fi
  fi
  if [ -z "$wanted" ] && [ "$was" != none ]; then wanted=$(mode_of "$to"); fi
  chmod "${wanted:-644}" "$tmp" || exit 1
}

# Runs `validate` on the new file.
approve() {
  [ -n "$validate" ] || return 0
  words=$(theirs sh -c "$validate" validate "$tmp" 2>&1 </dev/null) && return 0
  printf '%s\n' "$words" >&2
  give_up "$name is as it was: \`validate\` refuses the new content: $(printf '%s\n' "$words" | sed '/^[[:space:]]*$/d' | tail -n 1)"
}

# Keeps the old file next to the new one, as a hard link if possible, which preserves all attributes.
keep_old() {
  kept=$to.~$(date +%Y%m%dT%H%M%S)
  [ ! -e "$kept" ] || kept=$kept.$$
  ln "$to" "$kept" 2>/dev/null || cp -p "$to" "$kept" || exit 1
  echo "$name: the old file is kept as $kept"
}
