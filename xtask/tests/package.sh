# The test of the package, in a mount namespace of its own: what it changes is gone with that.
set -ex
package=$1
base=$(mktemp -d)
trap 'umount -R $base; rmdir $base' EXIT
mount -t tmpfs tmpfs $base
mkdir $base/changed $base/work $base/root $base/next
mount -t overlay overlay -o lowerdir=/,upperdir=$base/changed,workdir=$base/work $base/root
mount -t proc proc $base/root/proc
cp $package $base/root/first.deb
dpkg-deb -R $package $base/next
sed -i 's/^\(Version: .*\)/\1+next/' $base/next/DEBIAN/control
dpkg-deb --root-owner-group -b $base/next $base/root/next.deb

inside() { chroot $base/root env PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "$@"; }
names="ipvsadm ipvsadm-save ipvsadm-restore"
rm -f $base/root/usr/sbin/ipvsadm*
# Whoever tests on a balancer has it already.
inside dpkg --purge lb-ctl

inside dpkg -i /first.deb
inside dpkg --verify lb-ctl
for name in $names; do test $(readlink -f $base/root/etc/alternatives/$name) = /usr/bin/lb-ctl; done
inside ipvsadm --version | grep '^lb-ctl '
test -e $base/root/lib/systemd/system/lb-ctl.service
test -e $base/root/usr/share/doc/lb-ctl/ipvsadm.md
inside sh -c 'gzip -dc /usr/share/man/man8/ipvsadm.8.gz' | grep -q 'add.*service'
inside bash -n /usr/share/bash-completion/completions/lb-ctl

# What an admin has written stays.
echo 'LB_INTERFACES="eth0"' >> $base/root/etc/lb-ctl/lb-ctl.conf
echo saved > $base/root/var/lib/lb-ctl/saved.toml
inside dpkg -i /next.deb
inside dpkg --status lb-ctl | grep '^Version: .*+next$'
inside ipvsadm --version
inside dpkg --remove lb-ctl
for name in $names; do test ! -L $base/root/usr/sbin/$name; done
grep '"eth0"' $base/root/etc/lb-ctl/lb-ctl.conf
grep saved $base/root/var/lib/lb-ctl/saved.toml
inside dpkg --purge lb-ctl
test ! -e $base/root/etc/lb-ctl
test ! -e $base/root/var/lib/lb-ctl
left=$(find $base/changed -path '*lb-ctl*' ! -type c ! -path '*/var/lib/dpkg/*' ! -path '*/var/log/*')
test -z "$left"

# Beside the package ipvsadm, no file of which is replaced.
printf '#!/bin/sh\necho its own\n' > $base/root/usr/sbin/ipvsadm
chmod 755 $base/root/usr/sbin/ipvsadm
inside dpkg -i /first.deb
test "$(inside ipvsadm)" = "its own"
inside dpkg --purge lb-ctl
test "$(inside ipvsadm)" = "its own"
