say runs "$(if runs; then echo yes; else echo no; fi)"
say enabled "$(starts_with_host)"
say done
