#!/bin/bash
# usage: tools/build/check_bare.sh FOLDER [bookworm|noble] [COMMAND]
# The README's promise on a bare machine: makes a minimal Debian 12 (bookworm) or Ubuntu 24.04 (noble) in FOLDER/SUITE, with nothing
# in it but make and git, clones this repository's commit into it and runs COMMAND there (default: make && ./stflow --help &&
# make test). Needs root, debootstrap and the distribution's archive. A system that is already in FOLDER is used again as it is;
# remove it to start bare.
set -euo pipefail
[ $# -ge 1 ] || { sed -n 2,6p "$0"; exit 64; }
folder="$(realpath -m "$1")" suite="${2:-bookworm}" command="${3:-make && ./stflow --help && make test}"
source="$(realpath "$(dirname "$0")/../..")" target="$folder/$suite"

case "$suite" in
  bookworm) mirror=http://deb.debian.org/debian components=main keyring=/usr/share/keyrings/debian-archive-keyring.gpg ;;
  noble)  # an older debootstrap knows no noble; the way there is that of jammy
    mirror=http://archive.ubuntu.com/ubuntu components=main,universe keyring=/usr/share/keyrings/ubuntu-archive-keyring.gpg ;;
  *) echo "check_bare.sh: found '$suite', expected bookworm or noble" >&2; exit 64 ;;
esac
script="/usr/share/debootstrap/scripts/$suite"
[ -e "$script" ] || script=/usr/share/debootstrap/scripts/jammy

if [ ! -x "$target/usr/bin/make" ]; then
  mkdir -p "$folder"
  trust=(--keyring="$keyring")
  if [ ! -e "$keyring" ]; then
    echo "check_bare.sh: warning: no $keyring here: the archive's signature is not checked, use this system for nothing else" >&2
    trust=(--no-check-gpg)
  fi
  debootstrap --variant=minbase --components="$components" "${trust[@]}" --include=make,git "$suite" "$target" "$mirror" "$script"
fi
mountpoint -q "$target/proc" || mount -t proc proc "$target/proc"
trap 'umount "$target/proc"' EXIT
cp /etc/resolv.conf "$target/etc/resolv.conf"
rm -rf "$target/root/stflow"
git -c safe.directory='*' clone -q --no-hardlinks "$source" "$target/root/stflow"
env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb chroot "$target" /bin/bash -c "cd /root/stflow && time { $command; }"
