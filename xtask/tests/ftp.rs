//! FTP between a real client and real servers: data connections follow the control connection, both those that the
//! client opens (passive) and those that the server opens (active).

mod through;

use anyhow::{Context, Result, ensure};
use through::{Path, counters, ctl, loaded};
use xtask::lab::{Ftp, Lab, VIP, VIP6};

const SERVERS: [(&str, [&str; 2]); 2] =
    [(VIP, ["192.168.33.111", "192.168.33.112"]), (VIP6, ["[fd00:33::111]", "[fd00:33::112]"])];
/// How curl is told to open data connections: EPSV, PASV, EPRT, PORT; the second and the last are for IPv4 alone.
const PASSIVE: [&[&str]; 2] = [&[], &["--disable-epsv"]];
const ACTIVE: [&[&str]; 2] = [&["--ftp-port", "-"], &["--ftp-port", "-", "--disable-eprt"]];

fn lab(path: Path) -> Result<(Lab, [Ftp; 2])> {
    let lab = loaded(path, 1500)?;
    let servers = [Ftp::start(&lab.web1, "web1")?, Ftp::start(&lab.web2, "web2")?];
    // A second client for each family: it is the other server's turn.
    lab.client.addresses("eth0", &["192.168.2.11/24", "fd00:2::11/64"])?;
    Ok((lab, servers))
}

/// Port 21, persistent: what an FTP service has to be.
fn add(lab: &Lab, options: &str, method: &str) -> Result<()> {
    for (vip, servers) in SERVERS {
        ctl(&lab.balancer, &format!("service add -t {} -s rr -p 60 {options}", at(vip)))?;
        for server in servers {
            ctl(&lab.balancer, &format!("backend add -t {} -r {server} {method}", at(vip)))?;
        }
    }
    Ok(())
}

fn at(address: &str) -> String {
    if address.contains(':') { format!("[{address}]:21") } else { format!("{address}:21") }
}

/// What a client gets for `/name`.
fn name(lab: &Lab, client: &str, vip: &str, how: &[&str]) -> Result<String> {
    let url = format!("ftp://{}/name", at(vip));
    let command = [&["curl", "-sS", "--max-time", "10", "--interface", client], how, &[&url]].concat();
    lab.client.run(command)
}

/// Each client gets all from the server that it got first.
fn served(lab: &Lab, ways: &[&[&str]]) -> Result<()> {
    for (vip, clients) in [(VIP, ["192.168.2.10", "192.168.2.11"]), (VIP6, ["fd00:2::10", "fd00:2::11"])] {
        let mut names = Vec::new();
        for client in clients {
            let mut last: Option<String> = None;
            for how in ways {
                for _ in 0..2 {
                    let name = name(lab, client, vip, how).with_context(|| {
                        format!("{how:?} {client} to {vip}: {:?}", counters(&lab.balancer))
                    })?;
                    ensure!(last.is_none_or(|last| last == name), "{how:?} {client} to {vip}: now {name}");
                    last = Some(name);
                }
            }
            names.extend(last);
        }
        names.sort();
        ensure!(names == ["web1\n", "web2\n"], "the servers of {vip}: {names:?}");
    }
    Ok(())
}

#[test]
fn data_connections_of_clients_go_where_their_control_connection_goes() -> Result<()> {
    for path in [Path::Kernel, Path::Redirect, Path::Tc] {
        let (lab, _servers) = lab(path)?;
        add(&lab, "", "-m")?;
        served(&lab, &PASSIVE).with_context(|| format!("{path:?}"))?;
        ctl(&lab.balancer, "clear")?;
        lab.balancer.addresses("inside", &["192.168.33.200/24", "fd00:33::200/64"])?;
        ctl(&lab.balancer, "snat-pool add 192.168.33.200 fd00:33::200")?;
        add(&lab, "--fullnat", "-m")?;
        served(&lab, &PASSIVE).with_context(|| format!("{path:?}, full NAT"))?;
        // The server would have to call somebody else than it is asked by.
        ensure!(name(&lab, "192.168.2.10", VIP, ACTIVE[0]).is_err(), "{path:?}: an active one by full NAT");
    }
    Ok(())
}

#[test]
fn active_ones_come_by_nat_in_the_server_s_own_name() -> Result<()> {
    for path in [Path::Kernel, Path::Redirect, Path::Tc] {
        let (lab, _servers) = lab(path)?;
        add(&lab, "", "-m")?;
        served(&lab, &ACTIVE).with_context(|| format!("{path:?}"))?;
    }
    Ok(())
}

#[test]
fn by_direct_routing_both_kinds_are_the_service_s() -> Result<()> {
    for path in [Path::Redirect, Path::Tc] {
        let (lab, _servers) = lab(path)?;
        for server in [&lab.web1, &lab.web2] {
            server.addresses("lo", &[&format!("{VIP}/32"), &format!("{VIP6}/128")])?;
        }
        add(&lab, "", "-g")?;
        served(&lab, &[PASSIVE, ACTIVE].concat()).with_context(|| format!("{path:?}"))?;
    }
    Ok(())
}
