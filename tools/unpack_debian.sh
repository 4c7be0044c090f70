#!/bin/bash
# Unpacks a Debian package into a folder, without root and without changing the system: unpack_debian.sh PACKAGE FOLDER.
# A machine whose package lists are empty or unreadable gets its own lists under build/apt.
set -euo pipefail
package="$1" target="$2" state="$PWD/build/apt"
[ -e "$target" ] && exit 0

if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
  echo "$package: no apt-get here; install it by hand" >&2
  exit 1
fi
mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$(dirname "$target")"
cd "$state"
rm -f "$package"_*.deb
own_lists=(-o "Dir::State::Lists=$state/lists" -o "Dir::Cache=$state/cache")
if ! apt-get -qq download "$package" >/dev/null 2>&1; then
  apt-get -qq "${own_lists[@]}" update >/dev/null 2>&1 || true
  if ! apt-get -qq "${own_lists[@]}" download "$package" >/dev/null 2>&1; then
    echo "$package: apt-get cannot download it; install it by hand" >&2
    exit 1
  fi
fi
rm -rf "$target.partial"
dpkg -x "$package"_*.deb "$target.partial"
mv "$target.partial" "$target"
