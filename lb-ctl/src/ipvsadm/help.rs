//! `--help` and `--version`, in our own words.

/// The help, for a program of this name.
pub fn text(program: &str) -> String {
    TEXT.replace("{program}", program).replace("{version}", env!("CARGO_PKG_VERSION"))
}

/// What this is, and whose command line it speaks.
pub fn version() -> String {
    format!(
        "lb-ctl {}, with the command line of ipvsadm 1.31 (no IPVS in the kernel)\n",
        env!("CARGO_PKG_VERSION")
    )
}

const TEXT: &str = "\
lb-ctl {version}, with the command line of ipvsadm 1.31. What it manages is not the kernel's IPVS but the
XDP balancer that lb-ctl load has loaded; docs/ipvsadm.md lists what differs.

Usage:
  {program} -A|-E SERVICE [-s SCHEDULER] [-p [SECONDS]] [-M MASK] [--pe ENGINE] [-o] [-b FLAGS]
  {program} -D SERVICE
  {program} -a|-e SERVICE -r SERVER [-g|-i|-m] [-w WEIGHT] [-x UPPER] [-y LOWER] [TUNNEL]
  {program} -d SERVICE -r SERVER
  {program} -L|-l [SERVICE] [-n] [VIEW]
  {program} -Z [SERVICE]
  {program} -C
  {program} -S [-n]
  {program} -R
  {program} --set TCP TCPFIN UDP
  {program} --start-daemon|--stop-daemon master|backup
  {program} -h|-v

Commands:
  -A, --add-service      add a service
  -E, --edit-service     replace a service's settings: what is not given becomes the default
  -D, --delete-service   delete a service and its servers
  -a, --add-server       add a server to a service
  -e, --edit-server      replace a server's settings: what is not given becomes the default
  -d, --delete-server    remove a server from a service
  -C, --clear            delete everything
  -L, -l, --list         list services and servers, which is also what no argument does
  -Z, --zero             start the counters of a service, or of all, at zero
  -S, --save             write services and servers as commands
  -R, --restore          run commands from the standard input
      --set              timeouts in seconds; 0 leaves one as it is
      --start-daemon, --stop-daemon
                         read and refused: there is no daemon that synchronises connections
  -h, --help; -v, --version

SERVICE, one of:
  -t, --tcp-service HOST[:PORT]
  -u, --udp-service HOST[:PORT]
      --sctp-service HOST[:PORT]
  -f, --fwmark-service MARK    followed by -6 or --ipv6 for IPv6
  An IPv6 address is written [ADDRESS]:PORT. Port 0 needs -p.

Of a service:
  -s, --scheduler NAME   rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh twos [default: wlc]
  -p, --persistent [SECONDS]  a client stays with its server [default without a number: 360]
  -M, --netmask MASK     which clients count as one: bits for IPv4, a prefix length for IPv6
      --pe ENGINE        persistence by what the packets say: sip
  -o, --ops              schedule every datagram by itself (UDP, firewall marks)
  -b, --sched-flags F,F  sh-fallback sh-port mh-fallback mh-port flag-1 flag-2 flag-3

Of a server:
  -r, --real-server HOST[:PORT]  [default port: the service's]
  -g, --gatewaying       direct routing, the default
  -i, --ipip             tunnel
  -m, --masquerading     NAT
  -w, --weight N         0 takes no new connections [default: 1]
  -x, --u-threshold N    connections at which it gets no more; 0 is no limit
  -y, --l-threshold N    connections below which it gets some again
      --tun-type ipip|gue|gre [default: ipip], --tun-port PORT, --tun-nocsum, --tun-csum, --tun-remcsum

Of a listing:
  -n, --numeric          numbers instead of names
  -c, --connection       the connection table
      --stats, --rate, --thresholds, --persistent-conn, --tun-info, --timeout, --daemon
  -X, --exact            counters in full
      --nosort           newest first; --sort does nothing

Example:
  {program} -A -t 192.168.2.200:80 -s wlc
  {program} -a -t 192.168.2.200:80 -r 192.168.33.111:80 -m
  {program} -Ln
";
