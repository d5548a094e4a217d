# The reboot test inside the machine: what its units run.
saved=/var/lib/lb-ctl

everything() {
    lb-ctl export
    lb-ctl sysctl
    lb-ctl ipvsadm -Sn
}

called() {
    ip netns exec client curl -sS --max-time 5 http://192.168.2.200
}

# Interfaces that come after network.target, as bonds and VLANs may, and addresses that come later still, as by DHCP.
late() {
    sleep 3
    sysctl -qw net.ipv4.ip_forward=1
    ip netns add client
    ip netns add web
    ip link add outside type veth peer name eth0 netns client
    ip link add inside type veth peer name eth0 netns web
    ip -n client address add 192.168.2.10/24 dev eth0
    ip -n web address add 192.168.33.111/24 dev eth0
    for end in "" "-n client" "-n web"; do ip $end link set lo up; done
    ip link set outside up; ip -n client link set eth0 up
    ip link set inside up; ip -n web link set eth0 up
    sleep 5
    ip address add 192.168.2.200/24 dev outside
    ip address add 192.168.33.100/24 dev inside
    ip -n web route add default via 192.168.33.100
    ip netns exec web busybox httpd -p 80 -h /vm/www
}

# Whoever waits for the network sees this much of the balancer.
announced() {
    lb-ctl list -n > /run/announced 2>&1
}

first() {
    test "$(wc -l < /run/announced)" = 3
    service="-t 192.168.2.200:80"
    lb-ctl service add $service -s wrr -p 300 -M 255.255.255.0
    lb-ctl backend add $service -r 192.168.33.111:80 -m -w 3 -x 1000 -y 500
    lb-ctl backend add $service -r 192.168.33.112:80 -m -w 0
    lb-ctl service add -u 192.168.2.200:53 -s mh -b mh-port -o
    lb-ctl backend add -u 192.168.2.200:53 -r 10.0.0.1:53 -i --tun-type gue --tun-port 6080 --tun-csum
    lb-ctl service add -t [2001:db8::80]:443 -s sh
    lb-ctl backend add -t [2001:db8::80]:443 -r [2001:db8::1]:443 -g
    lb-ctl mark add 7 -d 192.168.2.200 -p tcp --dport 8080:8090 -i outside
    lb-ctl service add -f 7 -s rr
    lb-ctl set 800 100 60
    lb-ctl sysctl sloppy_tcp=1 expire_nodest_conn=1
    test "$(called)" = "Web1 called."
    everything > $saved/expected
}

second() {
    everything > /run/found
    diff $saved/expected /run/found
    # The same had been there before the network was announced as up.
    lb-ctl list -n > /run/found
    diff /run/announced /run/found
    test "$(called)" = "Web1 called."
    # Stopped, nothing is left; started again, all is back.
    systemctl stop lb-ctl
    if lb-ctl status 2>/dev/null || test -e /sys/fs/bpf/lb; then return 1; fi
    systemctl start lb-ctl
    everything > /run/found
    diff $saved/expected /run/found
    test "$(called)" = "Web1 called."
}

judge() {
    systemctl --no-pager --state=failed --legend=no list-units lb-ctl.service
    for unit in late.service lb-ctl.service network-online.target; do
        echo "$unit is up $(systemctl show -P ActiveEnterTimestampMonotonic $unit) us after the start"
    done
    journalctl --no-pager -qu lb-ctl | tail
    if test -e $saved/expected; then second; else first; fi
}

case $1 in
test)
    # The exit status is the last that a machine says, see machine.rs.
    exec </dev/null >/dev/ttyS0 2>&1
    (set -ex; judge)
    echo "vm-exit-status $?"
    systemctl reboot
    ;;
*)
    set -e
    "$1"
    ;;
esac
