# Resolves the name $1 on this host: record $2 (empty: addresses), server $3 (empty: the host's resolver).
name=$1 record=$2 server=$3
case $name in '' | -* | *[!A-Za-z0-9._:-]*) give_up "\`$name\` is no name" ;; esac
answer() { while read -r line; do [ -z "$line" ] || say answer "$line"; done; }
case $record/$server in
  / | A/ | AAAA/)
    has getent || give_up "getent is not here; give a record and a server, for dig"
    case $record in
      A) getent ahostsv4 "$name" ;;
      AAAA) getent ahostsv6 "$name" | grep -v '^::ffff:' ;;
      *) getent ahosts "$name" ;;
    esac | awk '{ print $1 }' | sort -u | answer
    ;;
  *)
    has dig || give_up "dig is not here (Debian's package bind9-dnsutils), and getent prints addresses only"
    said=$(dig +short +time=3 +tries=2 ${server:+"@$server"} "$name" "${record:-A}") || give_up "dig: $(printf %s "$said" | tail -n 1)"
    printf '%s\n' "$said" | answer
    ;;
esac
say done
