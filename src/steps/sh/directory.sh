# Creates a directory with its parents. $1 path, $2 mode, $3 owner; mode and owner apply to the directory itself.
path=$1
if [ ! -d "$path" ]; then
  [ ! -e "$path" ] && [ ! -L "$path" ] || give_up "$path exists and is no directory; delete it first"
  if differs "$path: new directory"; then
    mkdir -p "$path" || exit 1
  else
    finish
  fi
fi
attributes "$path" "$2" "$3" "$path"
finish
