//! `--toa`, read where it is meant to be read: at the server's socket, by a BPF program of its own. Needs root.

mod namespace;

use aya::{
    Ebpf,
    maps::HashMap,
    programs::{CgroupAttachMode, SockOps},
};
use namespace::{Namespace, inside, run};
use std::{
    fs::{self, File},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::id,
};

static READER: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/reader"));

/// A cgroup; sockets that are opened by this process while it is in there are its.
struct Cgroup {
    /// Where version 2 of cgroups is mounted.
    root: PathBuf,
    path: PathBuf,
    /// Where this process was.
    before: PathBuf,
}

impl Cgroup {
    fn new() -> Self {
        let root = std::env::temp_dir().join(format!("lb-cgroups-{}", id()));
        fs::create_dir(&root).unwrap();
        run("mount", &["-t", "cgroup2", "none", root.to_str().unwrap()]);
        let own = fs::read_to_string("/proc/self/cgroup").unwrap();
        let before = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap();
        let (path, before) = (root.join(format!("lb-toa-{}", id())), root.join(before));
        fs::create_dir(&path).unwrap();
        Self { root, path, before }
    }

    /// What is opened in there.
    fn within<T>(&self, open: impl FnOnce() -> T) -> T {
        fs::write(self.path.join("cgroup.procs"), "0").unwrap();
        let opened = open();
        fs::write(self.before.join("cgroup.procs"), "0").unwrap();
        opened
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let _ = fs::write(self.before.join("cgroup.procs"), "0");
        let _ = fs::remove_dir(&self.path);
        let _ = run("umount", &[self.root.to_str().unwrap()]);
        let _ = fs::remove_dir(&self.root);
    }
}

#[test]
fn the_servers_own_stack_hands_the_clients_address_to_who_asks() {
    let network = Namespace::new();
    let far = |command: &str| {
        let command: Vec<_> = command.split(' ').collect();
        run("ip", &[&["netns", "exec", &network.far], &command[..]].concat())
    };
    // Client and server are the same machine, and know nobody but the balancer.
    far("ethtool -K far0 gro on");
    far("ip address add fd09::2/64 dev far0 nodad");
    for address in ["fd09::1/64", "fd09::9/64", "10.9.0.9/24"] {
        let nodad = if address.contains(':') { &["nodad"][..] } else { &[] };
        let add = ["-n", &network.name, "address", "add", address, "dev", "lan0"];
        run("ip", &[&add[..], nodad].concat());
    }
    for setting in ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"] {
        assert!(network.command("sysctl", &["-qw", setting]).status().unwrap().success());
    }

    let cgroup = Cgroup::new();
    let mut reader = Ebpf::load(READER).unwrap();
    let program: &mut SockOps = reader.program_mut("reader").unwrap().try_into().unwrap();
    program.load().unwrap();
    program.attach(File::open(&cgroup.path).unwrap(), CgroupAttachMode::Single).unwrap();
    let options: HashMap<_, u32, [u8; 20]> = HashMap::try_from(reader.map("OPTIONS").unwrap()).unwrap();

    network.ok("load lan0 --hook xdp --max-connections 1000");
    network.ok("snat-pool add 10.9.0.9 fd09::9");
    let ends: [(IpAddr, IpAddr, IpAddr); 2] = [
        (
            Ipv4Addr::new(10, 9, 0, 1).into(),
            Ipv4Addr::new(10, 9, 0, 2).into(),
            Ipv4Addr::new(10, 9, 0, 9).into(),
        ),
        ("fd09::1".parse().unwrap(), "fd09::2".parse().unwrap(), "fd09::9".parse().unwrap()),
    ];
    for (vip, server, pool) in ends {
        let (vip, server) = (SocketAddr::new(vip, 80), SocketAddr::new(server, 80));
        network.ok(&format!("service add -t {vip} --fullnat --toa"));
        network.ok(&format!("backend add -t {vip} -r {server} -m"));
        let listener = cgroup.within(|| inside(&network.far, || TcpListener::bind(server).unwrap()));
        let client = inside(&network.far, || TcpStream::connect(vip).unwrap());
        let (_accepted, seen) = listener.accept().unwrap();
        assert_eq!(seen.ip(), pool, "the server sees the balancer");

        let option = options.get(&u32::from(seen.port()).to_be(), 0).unwrap();
        let address: IpAddr = match option[..2] {
            [254, 8] => Ipv4Addr::from_octets(*option[4..].first_chunk().unwrap()).into(),
            [254, 20] => Ipv6Addr::from_octets(*option[4..].first_chunk().unwrap()).into(),
            _ => panic!("{vip}: no option: {option:?}"),
        };
        let port = u16::from_be_bytes([option[2], option[3]]);
        assert_eq!(SocketAddr::new(address, port), client.local_addr().unwrap(), "{vip}: {option:?}");
    }
}
