# Replaces a link atomically. $1 target, $2 link, $3 a name for the temporary link.
from=$1 at=$2 tmp=$2.$3.$$
if [ -L "$at" ]; then
  old=$(readlink -- "$at")
  [ "$old" != "$from" ] || finish
  told="$at -> $from (was $old)"
elif [ -e "$at" ]; then
  give_up "$at exists and is no link; move it away first"
else
  told="$at -> $from"
fi
if differs "$told"; then
  rm -f -- "$tmp" && ln -s -- "$from" "$tmp" && mv -fT -- "$tmp" "$at" || { rm -f -- "$tmp"; exit 1; }
fi
finish
