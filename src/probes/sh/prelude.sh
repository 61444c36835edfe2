# What rollcall's own looks at hosts have in common. Each line begins with `rollcall` and a word; a login may print
# lines of its own. `done` is the last one: what has no such line did not see everything.
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
export LC_ALL PATH
say() { printf 'rollcall %s\n' "$*"; }
give_up() { say unknown "$*"; exit 0; }
has() { command -v "$1" >/dev/null 2>&1; }
# What cannot be looked into may hold it all the same.
can_look_up() {
  up=${1%/*}
  while [ -n "$up" ] && [ ! -e "$up" ]; do up=${up%/*}; done
  [ -x "${up:-/}" ] || give_up "the login may not look into ${up:-/}; try: a check with \`run\` and sudo"
}
