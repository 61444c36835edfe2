# Sets $tool to the program that reads $archive, by its first bytes.
find_tool() {
  case $(head -c 6 "$archive" | od -An -tx1 | tr -d ' \n') in
    1f8b*) tool=gzip ;;
    425a68*) tool=bzip2 ;;
    fd377a585a00) tool=xz ;;
    28b52ffd*) tool=zstd ;;
    504b0304*|504b0506*) tool=unzip ;;
    *) tool=cat ;;
  esac
  command -v "$tool" >/dev/null || give_up "it takes $tool to unpack this, which is not there; install it, or pack it as tar.gz"
}

# Prints the tar archive. Creates $bad if it could not be read completely.
plain() {
  case $tool in
    cat) cat "$archive" ;;
    *) "$tool" -dc <"$archive" || : >"$bad" ;;
  esac
}

# The status of a pipe is that of its last command only.
well() { [ ! -e "$bad" ] || { rm -f "$bad"; give_up "the archive is damaged"; }; }
