# Gathers facts of the host and prints one `key value` line for each, between `facts begin` and `facts end`.
# Plain POSIX sh for dash, busybox ash and the BSDs. A fact that cannot be observed is not printed, and never guessed.
# Nothing here blocks on a network: name lookups have a time limit, and no file system that may be remote is
# touched. The text is constant; it takes no arguments.
PATH=$PATH:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
exec 2>/dev/null </dev/null

has() { command -v "$1" >/dev/null; }

# Prints one value on one line of bounded length; skips an empty value.
say() { [ -z "$2" ] || printf '%s %s\n' "$1" "$(printf '%s' "$2" | tr '\000-\037\177' ' ' | cut -c1-512)"; }

# The same for each line of the input, at most 64 lines.
say_each() { head -n 64 | while IFS= read -r line; do say "$1" "$line"; done; }

# Runs a command that may block, for at most five seconds.
limited() {
  "$@" &
  job=$!
  (sleep 5; kill -KILL "$job") >/dev/null &
  dog=$!
  wait "$job"
  status=$?
  kill "$dog"
  return "$status"
}

echo 'facts begin'
system=$(uname -s)
say system "$system"
say machine "$(uname -m)"
say kernel_release "$(uname -r)"
name=$(uname -n)
say hostname "$name"

for release in /etc/os-release /usr/lib/os-release; do
  [ -r "$release" ] || continue
  head -n 64 "$release" | grep -E '^(ID|ID_LIKE|VERSION_ID|NAME|PRETTY_NAME)=' | say_each release
  break
done
[ "$system" != Darwin ] || say release "VERSION_ID=$(sw_vers -productVersion)"

# The full name: from the system, from its hosts file, or from its resolver within the time limit.
case $name in
  *.*) say fqdn "$name" ;;
  *)
    full=$(sed 's/#.*//' /etc/hosts | tr -s ' \t' '\n\n' | grep "^$name\..*[a-z]" | head -n 1)
    [ -n "$full" ] || full=$(limited hostname -f)
    case $full in "$name".*) say fqdn "$full" ;; esac
    ;;
esac

if has ip; then
  ip -o addr show scope global | sed -n 's/.* inet6\{0,1\} \([0-9a-fA-F.:]*\).*/\1/p' | say_each addr
  for target in 192.0.2.1 2001:db8::1; do
    say default_addr "$(ip -o route get "$target" | sed -n 's/.* src \([0-9a-fA-F.:]*\).*/\1/p' | head -n 1)"
  done
elif has ifconfig; then
  addresses='s/^[[:space:]]*inet6\{0,1\} *\(addr: *\)\{0,1\}\([0-9a-fA-F.:]*\).*/\2/p'
  ifconfig -a | sed -n "$addresses" | say_each addr
  device=$(route -n get default | sed -n 's/.*interface: *//p')
  [ -z "$device" ] || say default_addr "$(ifconfig "$device" inet | sed -n "$addresses" | head -n 1)"
fi

say cpus "$(getconf _NPROCESSORS_ONLN || nproc || grep -c '^processor' /proc/cpuinfo || sysctl -n hw.ncpu)"
if [ -r /proc/meminfo ]; then
  say memory_kb "$(sed -n 's/^MemTotal: *\([0-9]*\) .*/\1/p' /proc/meminfo)"
  say swap_kb "$(sed -n 's/^SwapTotal: *\([0-9]*\) .*/\1/p' /proc/meminfo)"
else
  say memory_bytes "$(sysctl -n hw.physmem || sysctl -n hw.memsize)"
  say swap_bytes "$(sysctl -n vm.swap_total)"
fi

if [ -r /proc/1/comm ]; then
  first=$(cat /proc/1/comm)
  if [ -d /run/systemd/system ]; then say init systemd
  elif [ "$first" = runit ]; then say init runit
  elif [ -d /run/openrc ]; then say init openrc
  elif [ "$first" != init ]; then say init none
  else
    case $(readlink /sbin/init) in
      *busybox*) say init busybox ;;
      *) [ ! -r /etc/inittab ] || say init sysv ;;
    esac
  fi
else
  case $system in
    FreeBSD) say init rc ;;
    Darwin) say init launchd ;;
  esac
fi

manager=none
for candidate in apt-get:/var/lib/dpkg/status dnf:/ yum:/ apk:/lib/apk/db zypper:/ pacman:/ pkg:/; do
  [ -e "${candidate#*:}" ] && has "${candidate%%:*}" || continue
  manager=${candidate%%:*}
  break
done
say package_manager "${manager%-get}"

for candidate in python3 python /usr/libexec/platform-python; do
  has "$candidate" || continue
  say python "$(command -v "$candidate")"
  break
done

# What the system itself reports; otherwise a trait of only one kind of guest.
virtual() {
  if has systemd-detect-virt; then systemd-detect-virt; return; fi
  if [ -e /.dockerenv ]; then echo docker; return; fi
  if [ -e /run/.containerenv ]; then echo podman; return; fi
  if tr '\000' '\n' </proc/1/environ | grep -q '^container=lxc'; then echo lxc; return; fi
  if [ "$system" = FreeBSD ]; then
    if [ "$(sysctl -n security.jail.jailed)" = 1 ]; then echo jail; else sysctl -n kern.vm_guest; fi
    return
  fi
  case $(cat /sys/class/dmi/id/sys_vendor /sys/class/dmi/id/product_name | tr '\n' ' ') in
    *KVM*) echo kvm ;;
    *QEMU*) echo qemu ;;
    *VMware*) echo vmware ;;
    *VirtualBox*) echo oracle ;;
    *Xen*) echo xen ;;
    *'Amazon EC2'*) echo amazon ;;
    *'Google Compute'*) echo google ;;
    *Microsoft*Virtual*) echo microsoft ;;
    ' '*) ;;
    ?*) grep -q '^flags.* hypervisor' /proc/cpuinfo || { grep -q '^flags' /proc/cpuinfo && echo none; } ;;
  esac
}
say virtualization "$(virtual)"

[ ! -r /proc/sys/kernel/random/boot_id ] || say boot_id "$(cat /proc/sys/kernel/random/boot_id)"
if [ -r /proc/uptime ]; then
  say uptime_s "$(sed 's/[. ].*//' /proc/uptime)"
else
  booted=$(sysctl -n kern.boottime | sed -n 's/^{ *sec = \([0-9]*\).*/\1/p')
  [ -z "$booted" ] || say uptime_s "$(($(date +%s) - booted))"
fi

say user "$(id -un)"
say shell "$SHELL"
if limited sudo -n true >/dev/null; then say sudo true; else say sudo false; fi

# Local disks only: a query for the disk of a dead server would block. `stat -f` inspects only the given
# path; busybox's `df` inspects other file systems, too.
if [ -r /proc/mounts ]; then
  grep -E '^[^ ]+ [^ ]+ (ext[234]|xfs|btrfs|zfs|f2fs|jfs|reiserfs|bcachefs|vfat|exfat|ntfs3?|ubifs|overlay) ' /proc/mounts |
    while read -r device mount type rest; do
      [ "$type" != overlay ] || [ "$mount" = / ] || continue
      case $mount in *\\*) continue ;; esac
      [ -d "$mount" ] || continue
      sizes=$(stat -f -c '%S %b %a' "$mount") || continue
      printf 'disk %s %s %s\n' "$sizes" "$mount" "$device"
    done | head -n 64
else
  (df -lnPk || df -lPk) | sed -n 's/^\(.*[^ ]\) \{1,\}\([0-9]*\) \{1,\}[0-9]* \{1,\}\([0-9]*\) \{1,\}[0-9]*% \{1,\}\(\/[^ ]*\)$/1024 \2 \3 \4 \1/p' |
    grep -v ' devfs$' | say_each disk
fi
echo 'facts end'
