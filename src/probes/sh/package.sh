case $1 in '' | [!A-Za-z0-9]* | *[!A-Za-z0-9.+:_~-]* | *-) give_up "\`$1\` cannot be the name of a package" ;; esac
say version "$(installed "$1")"
say done
