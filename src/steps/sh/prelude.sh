# Functions for all of rollcall's scripts on hosts. $1 is `act` or `look`; with `look` (a dry run) a script changes nothing.
# The last line of output says whether anything changed, or would change; the lines before it say what.
mode=$1; shift
changed=

# Prints a difference; true if it must be changed now.
differs() { changed=1; printf '%s\n' "$*"; [ "$mode" = act ]; }

give_up() { printf '%s\n' "$*" >&2; exit 1; }

finish() {
  if [ -n "$changed" ]; then echo changed; else echo unchanged; fi
  exit 0
}

