# Looks at the files of a tree below $1; $2 is their owner. On stdin a line for each: its number, its SHA-256,
# its mode, its path. Those whose content is not there are told as `send NUMBER`.
root=$1 owner=$2
[ ! -e "$root" ] || [ -d "$root" ] || give_up "$root is no directory; delete it first"
while IFS=' ' read -r number sum bits path; do
  follow "$root/$path"
  if [ ! -e "$to" ] || [ "$(digest "$to")" != "$sum" ]; then
    echo "send $number"
  else
    attributes "$to" "$bits" "$owner" "$root/$path"
  fi
done
finish
