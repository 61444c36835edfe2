# Deletes a file, a link (not its target) or a tree. $1 path. Refuses a tree with a mount point, and directories that
# the system needs, also if a link leads there.
path=$1
while :; do case $path in *?/) path=${path%/} ;; *) break ;; esac; done
[ -e "$path" ] || [ -L "$path" ] || finish
dir=$(cd "$(dirname "$path")" && pwd -P) || exit 1
real=${dir%/}/$(basename "$path")
if [ ! -L "$path" ] && [ -d "$path" ]; then
  real=$(cd "$path" && pwd -P) || exit 1
  home=$(cd "${HOME:-/}" 2>/dev/null && pwd -P)
  case $real in
    "$home") give_up "$path is not deleted: it is the home of $(id -un)" ;;
    /usr/*/*|/var/*/*|/boot/*/*) ;;
    /|/usr/*|/var/*|/boot/*) give_up "$path is not deleted: the system needs $real" ;;
    /*/*) ;;
    *) give_up "$path is not deleted: the system needs $real" ;;
  esac
  if [ -r /proc/self/mountinfo ]; then
    while read -r _ _ _ _ point _; do
      case $point in *\\*) point=$(printf '%b' "$(printf '%s' "$point" | sed 's/\\/\\0/g')") ;; esac
      case $point/ in "$real"/*) give_up "$path is not deleted: $point is mounted there; unmount it first" ;; esac
    done </proc/self/mountinfo
  elif [ "$(find "$real" | wc -l)" -ne "$(find "$real" -xdev | wc -l)" ]; then
    give_up "$path is not deleted: something is mounted in it; unmount it first"
  fi
  what="directory with $(($(find "$real" -xdev | wc -l) - 1)) entries"
elif [ -L "$path" ]; then
  what="link to $(readlink "$path")"
else
  what=file
fi
if differs "$path: $what"; then
  rm -rf "$real" || exit 1
fi
finish
