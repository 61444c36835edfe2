# Compares the files of a tree below $1; $2 is their owner. Stdin has a line for each file: number, SHA-256, mode, path. A
# directory without files has `dir` for its checksum, and is created at once. Prints `send NUMBER` for each file whose content must be sent.
root=$1 owner=$2
[ ! -e "$root" ] || [ -d "$root" ] || give_up "$root is no directory; delete it first"
while IFS=' ' read -r number sum bits path; do
  if [ "$sum" = dir ]; then
    [ -d "$root/$path" ] || ! differs "$root/$path: a directory (was missing)" || mkdir -p "$root/$path" || exit 1
    continue
  fi
  follow "$root/$path"
  if [ ! -e "$to" ] || [ "$(digest "$to")" != "$sum" ]; then
    echo "send $number"
  else
    attributes "$to" "$bits" "$owner" "$root/$path"
  fi
done
finish
