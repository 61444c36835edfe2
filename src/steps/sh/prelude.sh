# What rollcall's own scripts for hosts have in common. $1 is `act` or `look`; a script that only looks changes
# nothing. Its last line says whether something was changed, or would be; the lines before it say what.
mode=$1; shift
changed=

# Says what is different; true when it is to be changed now.
differs() { changed=1; printf '%s\n' "$*"; [ "$mode" = act ]; }

give_up() { printf '%s\n' "$*" >&2; exit 1; }

finish() {
  if [ -n "$changed" ]; then echo changed; else echo unchanged; fi
  exit 0
}

