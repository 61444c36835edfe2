# Functions for all of rollcall's probe scripts. Each line of output begins with `rollcall` and a word, because a login may
# print other lines. The last line is `done`: output without it is incomplete.
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
export LC_ALL PATH
# Options from the environment of the login change what other programs print.
unset QUOTING_STYLE GREP_OPTIONS GZIP XZ_OPT XZ_DEFAULTS BZIP2 COLUMNS CDPATH PS_FORMAT PS_PERSONALITY POSIXLY_CORRECT BLOCK_SIZE BLOCKSIZE DF_BLOCK_SIZE TIME_STYLE
say() { printf 'rollcall %s\n' "$*"; }
give_up() { say unknown "$*"; exit 0; }
has() { command -v "$1" >/dev/null 2>&1; }
# A file in a directory that the login cannot search may exist all the same.
can_look_up() {
  up=${1%/*}
  while [ -n "$up" ] && [ ! -e "$up" ]; do up=${up%/*}; done
  [ -x "${up:-/}" ] || give_up "the login cannot search ${up:-/}; try: a check with \`run\` and sudo"
}
