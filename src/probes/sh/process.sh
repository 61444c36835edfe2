# Number of processes. $1 the name of the program, $2 the user or nothing, $3 an extended regular expression for the
# command line or nothing. The kernel cuts names at 15 characters, so the first word of the command line counts as well.
name=$1 user=$2 args=$3
has ps || give_up "ps is not here"
ps -A -o user=,comm=,args= 2>/dev/null >/dev/null && list='ps -A -o user=,comm=,args=' || list='ps -o user,comm,args'
export name user args
count=$($list | awk '{
  who = $1; comm = $2; line = $0
  sub(/^[ ]*[^ ]+[ ]+[^ ]+[ ]+/, "", line)
  first = line; sub(/ .*/, "", first); sub(/:$/, "", first); sub(/.*\//, "", first)
  sub(/.*\//, "", comm)
  if (comm != ENVIRON["name"] && first != ENVIRON["name"]) next
  if (ENVIRON["user"] != "" && who != ENVIRON["user"] && who != substr(ENVIRON["user"], 1, 7) "+") next
  if (ENVIRON["args"] != "" && line !~ ENVIRON["args"]) next
  found++
} END { print found + 0 }') || give_up "ps or awk failed"
say count "$count"
say done
