# What rollcall's own looks at hosts have in common. Each line begins with `rollcall` and a word; a login may print
# lines of its own. `done` is the last one: what has no such line did not see everything.
LC_ALL=C
PATH=$PATH:/usr/sbin:/sbin:/usr/local/sbin
export LC_ALL PATH
say() { printf 'rollcall %s\n' "$*"; }
give_up() { say unknown "$*"; exit 0; }
has() { command -v "$1" >/dev/null 2>&1; }
