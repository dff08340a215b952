#!/bin/sh
# What tests of the driver libvirt need in the virtual environment: sh tests/libvirt_setup.sh .venv/bin
#
# 1. libvirt's Python binding, built against the libvirt that is installed, from its own lock.
# 2. the schemas of a libvirt that knows SEV-SNP and TDX (10.5 and 11.6), unpacked from the package of
#    Debian testing, where the installed one does not. It is not installed, and apt checks who signed it.
set -eu
bin=$1
cd "$(dirname "$0")/.."

if ! "$bin/python" -c 'import libvirt' 2>/dev/null; then
  pkg-config --exists libvirt 2>/dev/null || { echo "hint: libvirt-dev, pkg-config and gcc are needed" >&2; exit 1; }
  pip="$bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes"
  # First what builds it, so that nothing without a hash is fetched for that.
  sed -n '/^setuptools==/,/^[a-z]/p' requirements/libvirt.txt | $pip -r /dev/stdin
  $pip --no-build-isolation -r requirements/libvirt.txt
fi

knows() { grep -q launchSecurityTDX "$1/domaincommon.rng" 2>/dev/null; }
if knows /usr/share/libvirt/schemas || knows "$bin/../libvirt-schemas"; then exit 0; fi
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || { echo "hint: no apt for newer schemas" >&2; exit 1; }
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Origin: Debian' 'Created-By: Packages' | head -n 1)
[ -n "$mirror" ] || { echo "hint: apt knows no mirror of Debian" >&2; exit 1; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
mkdir -p "$root/lists/partial" "$root/archives/partial"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror testing main" >"$root/list"
options="-qq -o Dir::Etc::SourceList=$root/list -o Dir::Etc::SourceParts=/dev/null -o Dir::State::Lists=$root/lists"
options="$options -o Dir::Cache=$root -o Acquire::Languages=none -o APT::Sandbox::User=root"
apt-get $options update
(cd "$root" && apt-get $options download libvirt-common)
dpkg-deb -x "$root"/libvirt-common_*.deb "$root/unpacked"
rm -rf "$bin/../libvirt-schemas"
cp -r "$root/unpacked/usr/share/libvirt/schemas" "$bin/../libvirt-schemas"
