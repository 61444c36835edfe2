# Detects the init system of this host and the state of the service $name. Calls `no_such_service`, with a command that lists
# services, if the service does not exist.
LC_ALL=C
export LC_ALL

case $name in '' | -* | *[!A-Za-z0-9_.@:\\-]*) give_up "\`$name\` cannot be the name of a service" ;; esac

# systemd must run, not only be installed.
init=none
case $(systemctl is-system-running 2>/dev/null) in
  '' | offline | unknown)
    if command -v rc-service >/dev/null 2>&1; then init=openrc
    elif command -v service >/dev/null 2>&1; then init=sysv
    fi
    ;;
  *) init=systemd ;;
esac
[ "$init" != none ] || give_up "no init system runs here (systemd, OpenRC or SysV; is it a container?): rollcall cannot query or change services; use a `run` step instead"

case $init in
  systemd)
    load=$(systemctl show -p LoadState "$name")
    case ${load#LoadState=} in
      not-found) no_such_service "systemctl list-unit-files" ;;
      masked) [ "$state/$enabled" = stopped/ ] || [ "$state/$enabled" = stopped/no ] || give_up "$name is masked; if it is to run: systemctl unmask $name" ;;
      loaded) ;;
      *) give_up "systemd cannot load $name (${load:-it does not answer}); look: systemctl status $name" ;;
    esac
    ;;
  openrc) rc-service --exists "$name" || no_such_service "rc-service --list" ;;
  sysv) case $(service "$name" status 2>&1) in *'unrecognized service'*) no_such_service "service --status-all" ;; esac ;;
esac

runs() {
  case $init in
    systemd) systemctl is-active --quiet "$name" ;;
    openrc) rc-service "$name" status >/dev/null 2>&1 ;;
    sysv) service "$name" status >/dev/null 2>&1 ;;
  esac
}

# Prints yes, no, or the state that is neither.
starts_with_host() {
  case $init in
    systemd)
      is=$(systemctl is-enabled "$name" 2>/dev/null)
      case $is in
        enabled | enabled-runtime | alias) echo yes ;;
        disabled | masked | masked-runtime | linked | linked-runtime) echo no ;;
        *) echo "${is:-unknown}" ;;
      esac
      ;;
    openrc) rc-update show | awk -v name="$name" '$1 == name && NF > 2 { found = 1 } END { print found ? "yes" : "no" }' ;;
    sysv)
      is=no
      for link in /etc/rc[2345].d/S[0-9][0-9]"$name"; do
        if [ -e "$link" ] || [ -L "$link" ]; then is=yes; fi
      done
      echo "$is"
      ;;
  esac
}
