# Functions for all of rollcall's scripts on hosts. $1 is `act` or `dry-run`; with `dry-run` a script changes nothing.
# The last line of output says whether anything changed, or would change; the lines before it say what.
mode=$1; shift
changed=
# Words of other programs are read: English ones, without options from the environment of the login.
locale=${LC_ALL:-_} LC_ALL=C
export LC_ALL
unset QUOTING_STYLE TAR_OPTIONS GREP_OPTIONS GZIP XZ_OPT XZ_DEFAULTS BZIP2 UNZIP UNZIPOPT CDPATH COLUMNS POSIXLY_CORRECT TIME_STYLE
# What an operator wrote runs in the locale of the login.
theirs() { (if [ "$locale" = _ ]; then unset LC_ALL; else LC_ALL=$locale; fi; exec "$@"); }

# Prints a difference; true if it must be changed now.
differs() { changed=1; printf '%s\n' "$*"; [ "$mode" = act ]; }

give_up() { printf '%s\n' "$*" >&2; exit 1; }

finish() {
  if [ -n "$changed" ]; then echo changed; else echo unchanged; fi
  exit 0
}

