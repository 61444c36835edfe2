# Number of processes. $1 the name of the program, $2 the user or nothing, $3 an extended regular expression for the
# command line or nothing. The kernel cuts names at 15 characters, so the first word of the command line counts as well, and
# its beginning: a name may have blanks, and a process may have set its title.
# Processes of rollcall's connection are left out: with them, a probe would find itself.
name=$1 user=$2 args=$3
has ps || give_up "ps is not here"
case $args in *"{"*)
  awk 'BEGIN { exit !("aa" ~ /^a{2}$/) }' || give_up "the awk of the host knows no {n} in a pattern; try: a pattern without braces, or gawk" ;;
esac
case $user in '' | *[!0-9]*) ;; *) user=$(id -un "$user" 2>/dev/null || printf '%s\n' "$user") ;; esac
# A name may have blanks, so each list ends with one value.
if ps -A -o pid= >/dev/null 2>&1; then list() { ps -A -o pid= -o "$1=" ${2:+-o "$2="}; }
else list() { ps -o "pid,$1${2:+,$2}" | tail -n +2; }; fi
export name user args
count=$({ list ppid user; echo; list comm; echo; list args; } | awk -v me=$$ '
  function base(path) { sub(/:$/, "", path); sub(/.*\//, "", path); return path }
  function begins(line, name) { return index(line " ", name " ") == 1 || index(line, name ":") == 1 }
  # True for the processes that serve one connection, and not for the sshd that accepts connections.
  function serves(pid) {
    if (title[pid] ~ /^sshd: .*(@|\[priv\])/ || comm[pid] ~ /^sshd-sess/) return 1
    return base(comm[pid]) == "dropbear" && base(comm[parent[pid]]) == "dropbear"
  }
  $0 == "" { part++; next }
  part == 0 { parent[$1] = $2; owner[$1] = $3; next }
  { pid = $1; sub(/^[ ]*[0-9]+[ ]+/, "") }
  part == 1 { sub(/[ ]+$/, ""); comm[pid] = $0; next }
  { title[pid] = $0 }
  END {
    top = me
    while (serves(parent[top])) top = parent[top]
    ours[top] = 1
    # Each round finds the children of those that are known.
    do {
      more = 0
      for (pid in parent) if (!(pid in ours) && (parent[pid] in ours)) { ours[pid] = 1; more = 1 }
    } while (more)
    name = ENVIRON["name"]; user = ENVIRON["user"]
    for (pid in title) {
      # A process that began since the first list may be one of these.
      if (pid in ours || !(pid in parent)) continue
      split(title[pid], word, " ")
      if (base(comm[pid]) != name && comm[pid] != name && base(word[1]) != name && !begins(title[pid], name)) continue
      if (user != "" && owner[pid] != user && owner[pid] != substr(user, 1, 7) "+") continue
      if (ENVIRON["args"] != "" && title[pid] !~ ENVIRON["args"]) continue
      found++
    }
    print found + 0
  }') || give_up "ps or awk failed"
say count "$count"
say done
