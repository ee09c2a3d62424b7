#!/usr/bin/env bash
# clean_system.sh [SUITE [MIRROR]]: both commands of the README on a bare system: a minimal Debian (default: this
# machine's release) in a folder, root without sudo, documentation left out as container images do. Needs root and
# debootstrap; takes package sources and proxy settings from this machine. KEEP=1 leaves the folder.
set -euo pipefail
repository=$(git -C "$(dirname "$0")/.." rev-parse --show-toplevel)
here=$(. /etc/os-release && echo "$VERSION_CODENAME")
suite=${1:-$here}
mirror=${2:-$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
    awk -v s="$here" '$2 == s {print $1; exit}')}
[ "$(id -u)" -eq 0 ] || { echo "run it as root"; exit 2; }
command -v debootstrap >/dev/null || { echo "debootstrap is missing"; exit 2; }
[ -n "$mirror" ] || { echo "no package source found; pass one: $0 $suite MIRROR"; exit 2; }

root=$(mktemp -d)
clean_up() {
    mountpoint -q "$root/proc" && umount "$root/proc"
    [ -n "${KEEP:-}" ] && echo "kept: $root" || rm -rf --one-file-system "$root"
}
trap clean_up EXIT
wrong() { echo "WRONG: $*"; exit 1; }

echo "== a minimal $suite from $mirror"
mkdir -p "$root/etc/dpkg/dpkg.cfg.d"
echo 'path-exclude=/usr/share/doc/*' >"$root/etc/dpkg/dpkg.cfg.d/no-documentation"
debootstrap --variant=minbase "$suite" "$root" "$mirror" >"$root.log" 2>&1 || { tail "$root.log"; exit 1; }
rm -f "$root.log"
if [ "$suite" = "$here" ]; then
    rm -f "$root/etc/apt/sources.list"
    cp -a /etc/apt/sources.list* "$root/etc/apt/"
else # the same components from the one mirror
    components=main
    [ "$(. "$root/etc/os-release" && echo "$ID")" = ubuntu ] && components="main universe"
    echo "deb $mirror $suite $components" >"$root/etc/apt/sources.list"
fi
for f in $(grep -lisE 'proxy|check-(date|valid)|verify-peer' /etc/apt/apt.conf /etc/apt/apt.conf.d/* || true); do
    cp "$f" "$root/etc/apt/apt.conf.d/"
done
cp -L /etc/resolv.conf /etc/hosts "$root/etc/"
mount -t proc proc "$root/proc"
git clone -q --no-hardlinks "$repository" "$root/adder"

settings=(PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb)
for name in http_proxy https_proxy no_proxy; do [ -z "${!name:-}" ] || settings+=("$name=${!name}"); done
# inside NAME COMMAND...: runs it in the clone; its output in NAME.log
inside() {
    local name=$1 began=$SECONDS
    shift
    echo "== $*"
    env -i "${settings[@]}" chroot "$root" sh -c 'cd /adder && exec "$@"' sh "$@" >"$root/$name.log" 2>&1 </dev/null ||
        { tail -n 40 "$root/$name.log"; wrong "$* failed"; }
    tail -n 12 "$root/$name.log"
    echo "-- $((SECONDS - began)) s"
}

inside demo ./adder.sh demo
grep -qE '^  model +1\.[0-9]+$' "$root/demo.log" || wrong "the demo prints no bits per base"
grep -q 'order_6' "$root/demo.log" || wrong "the demo prints no baselines"
grep -q 'generated 10,000 bases' "$root/demo.log" || wrong "the demo generates nothing"
grep -qE '^  trained +0\.[0-9]+$' "$root/demo.log" || wrong "the demo classifies nothing"
for file in report.html report.json generated.fa; do
    [ -s "$root/adder/demo/$file" ] || wrong "the demo leaves no demo/$file"
done
inside again ./adder.sh demo
grep -qE 'downloading|installing|Building' "$root/again.log" && wrong "the second demo repeats work"
inside test ./adder.sh test
grep -q '100% tests passed' "$root/test.log" || wrong "the tests did not pass"
[ -z "$(git -c safe.directory='*' -C "$root/adder" status --porcelain)" ] ||
    wrong "files left behind: $(git -c safe.directory='*' -C "$root/adder" status --porcelain)"
echo "both commands work on a bare $suite"
