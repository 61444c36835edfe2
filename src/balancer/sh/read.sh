# Prints files byte for byte, with a line in front of each: the configured one, and those that its includes name.
#
# $1 largest size of all of them in bytes, $2 test command (empty: the default), $3 the configured file, $4... patterns.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
limit=$1 test=$2 config=$3 total=0; shift 3
show() {
  [ -f "$1" ] || { cat -- "$1" >/dev/null; exit 1; }
  size=$(wc -c <"$1") || exit 1
  total=$((total + size))
  [ "$total" -le "$limit" ] || exit 75
  printf 'rollcall-file %s %s\n' "$((size))" "$1"
  cat -- "$1" || exit 1
  echo
}
# A relative pattern begins in the folder of the main configuration: the one that the test reads, nginx's own, or this
# file.
mains() {
  print=$(printf '%s\n' "${test:-nginx -t}" | sed 's/\(.*[[:space:]]\)-t\([[:space:]qc].*\)*$/\1-T\2/')
  [ "$print" = "$test" ] || eval "$print" 2>/dev/null | sed -n '/^# configuration file \(.*\):$/{ s//\1/p; q; }'
  nginx -V 2>&1 | sed -n 's/.*--conf-path=\([^[:space:]]*\).*/\1/p'
  printf '%s\n' "$config"
}
# Only lines separate words from here on: a path may have blanks.
IFS='
'
matching() {
  found=
  for one in $1; do
    [ -e "$one" ] || continue
    show "$one"
    found=yes
  done
  [ -n "$found" ]
}
show "$config"
for pattern; do
  printf 'rollcall-include %s\n' "$pattern"
  case $pattern in
    /*) matching "$pattern" ;;
    *) for main in $(mains); do matching "$(dirname -- "$main")/$pattern" && break; done ;;
  esac
done
echo rollcall-end
