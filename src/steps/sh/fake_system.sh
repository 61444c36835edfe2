#!/bin/sh
# Imitates package managers and init systems in tests. $FAKE is a directory: `db` lists the installed packages, `index`
# the available ones (`index.new` after a refresh), `units` the services and their states, and `log` every command that
# changes something.
me=${0##*/}
cd "$FAKE" || exit 99
log() { echo "$me $*" >>log; }
version_in() { sed -n "s/^$2 //p" "$1" 2>/dev/null | tail -n 1; }
forget() { grep -v "^$1 " db >db.new; mv db.new db; }
put() {
  case $1 in *=*) name=${1%%=*} new=${1#*=} ;; *) name=$1 new=$(version_in index "$1") ;; esac
  [ -n "$new" ] || { echo "unable to locate $name" >&2; exit 100; }
  forget "$name"
  echo "$name $new" >>db
}
put_rpm() {
  name=$1
  for known in $(sed 's/ .*//' index); do case $1 in "$known"-[0-9]*) put "$known=${1#"$known"-}"; return ;; esac; done
  put "$name"
}
refresh() { [ ! -e index.new ] || cp index.new index; }
# Sets $rest to the arguments after the first one that equals $1.
after() { word=$1; shift; while [ "$1" != "$word" ]; do shift; done; shift; rest=$*; }
unit() { sed -n "s/^$1 //p" units; }
set_unit() { grep -v "^$1 " units >units.new; mv units.new units; echo "$1 $2 $3" >>units; }

case $me in
  id) echo "${FAKE_UID:-0}" ;;
  sleep) ;;
  dpkg-query) for name; do :; done; is=$(version_in db "$name"); [ -n "$is" ] && echo "installed $is" || { echo "deinstall 1"; exit 1; } ;;
  apt-cache)
    new=$(version_in index "$2")
    case $1/$new in
      */) exit 100 ;;
      show/*) sed -n "s/^$2 /Version: /p" index; echo "Package: $2" ;;
      policy/*) echo "$2:"; echo "  Candidate: $new" ;;
    esac
    ;;
  apt-get)
    log "$*"
    if [ -e locked ]; then rm locked; echo "E: Could not get lock /var/lib/apt/lists/lock. It is held by process 1" >&2; exit 100; fi
    if [ -e broken ]; then echo "E: Sub-process /usr/bin/dpkg returned an error code (1)" >&2; exit 100; fi
    case " $* " in
      *' update '*) refresh ;;
      *' install '*) after install "$@"; for name in $rest; do put "$name"; done ;;
      *' remove '*) after remove "$@"; for name in $rest; do forget "$name"; done ;;
    esac
    ;;
  rpm) for name; do :; done; is=$(version_in db "$name"); [ -n "$is" ] && echo "$is" || { echo "package $name is not installed"; exit 1; } ;;
  dnf | yum)
    case $2 in
      list) [ -n "$(version_in index "$3")" ] ;;
      check-update) [ "$(version_in index "$3")" = "$(version_in db "$3")" ] || exit 100 ;;
      makecache) log "$*"; refresh ;;
      install | upgrade) log "$*"; after "$2" "$@"; for name in $rest; do put_rpm "$name"; done ;;
      remove) log "$*"; after remove "$@"; for name in $rest; do forget "$name"; done ;;
    esac
    ;;
  zypper)
    case " $* " in
      *' list-updates '*) while read -r name is; do new=$(version_in index "$name"); [ "$new" = "$is" ] || echo "v | repo | $name | $is | $new | noarch"; done <db ;;
      *' search '*) [ -n "$(version_in index "$5")" ] ;;
      *' refresh '*) log "$*"; refresh ;;
      *' install '*) log "$*"; after install "$@"; for name in $rest; do [ "$name" = --oldpackage ] || put "$name"; done ;;
      *' remove '*) log "$*"; after remove "$@"; for name in $rest; do forget "$name"; done ;;
    esac
    ;;
  apk)
    case " $* " in
      *' info '*) is=$(version_in db "$4"); [ -z "$is" ] || echo "$4-$is" ;;
      *' search '*) version_in index "$3" ;;
      *' version '*) echo "Installed: Available:"; [ "$(version_in index "$4")" = "$(version_in db "$4")" ] || echo "$4-1 < 2" ;;
      *' update '*) log "$*"; refresh ;;
      *' add '*) log "$*"; after add "$@"; for name in $rest; do [ "$name" = --upgrade ] || put "$name"; done ;;
      *' del '*) log "$*"; after del "$@"; for name in $rest; do forget "$name"; done ;;
    esac
    ;;
  systemctl)
    case $1 in
      is-system-running) cat state 2>/dev/null || echo offline ;;
      show) if [ "$3" = LoadState ]; then
          case $(unit "$4") in '') echo LoadState=not-found ;; *masked) echo LoadState=masked ;; *) echo LoadState=loaded ;; esac
        elif [ -e reload ]; then echo NeedDaemonReload=yes; else echo NeedDaemonReload=no; fi ;;
      is-active) case $(unit "$3") in active\ *) ;; *) exit 3 ;; esac ;;
      is-enabled) unit "$2" | sed 's/.* //' ;;
      daemon-reload) log "$*"; rm -f reload ;;
      *)
        log "$*"
        set -- "$1" "$2" $(unit "$2")
        case $1 in
          start | restart | reload) [ ! -e broken ] || { echo "Job for $2 failed." >&2; exit 1; }; set_unit "$2" active "$4" ;;
          stop) set_unit "$2" inactive "$4" ;;
          enable) [ "$4" = static ] || set_unit "$2" "$3" enabled ;;
          disable) set_unit "$2" "$3" disabled ;;
        esac
        ;;
    esac
    ;;
  rc-service | service)
    if [ "$1" = --exists ]; then [ -n "$(unit "$2")" ]; exit; fi
    [ -n "$(unit "$1")" ] || { echo "$1: unrecognized service" >&2; exit 1; }
    case $2/$(unit "$1") in
      status/active*) exit 0 ;;
      status/*) exit 3 ;;
    esac
    log "$*"
    set -- "$1" "$2" $(unit "$1")
    case $2 in stop) set_unit "$1" inactive "$4" ;; *) set_unit "$1" active "$4" ;; esac
    ;;
  rc-update)
    case $1 in
      show) sed -n 's/^\([^ ]*\) .* enabled/   \1 | default/p' units ;;
      add) log "$*"; set -- "$2" $(unit "$2"); set_unit "$1" "$2" enabled ;;
      -a) log "$*"; set -- "$3" $(unit "$3"); set_unit "$1" "$2" disabled ;;
    esac
    ;;
  update-rc.d)
    log "$*"
    mkdir -p etc/rc2.d
    case $2 in enable) : >"etc/rc2.d/S01$1" ;; disable) rm -f "etc/rc2.d/S01$1" ;; esac
    ;;
esac
