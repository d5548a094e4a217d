//! Firewall marks that `lb-ctl mark` gives: one service over two ports, and ten thousand rules beside.

mod through;

use std::{fmt::Write, time::Instant};

use anyhow::{Result, ensure};
use through::{Path, ctl, curl, loaded};
use xtask::lab::{VIP, VIP6};

#[test]
fn a_mark_s_service_takes_http_and_https_before_the_address_s() -> Result<()> {
    a_mark_s_service_comes_before_the_address_s(Path::Redirect)
}

#[test]
fn a_mark_s_service_takes_http_and_https_before_the_address_s_by_tc() -> Result<()> {
    a_mark_s_service_comes_before_the_address_s(Path::Tc)
}

fn a_mark_s_service_comes_before_the_address_s(path: Path) -> Result<()> {
    let lab = loaded(path, 1500)?;
    for (vip, option, servers) in
        [(VIP, "", ["192.168.33.111", "192.168.33.112"]), (VIP6, " -6", ["[fd00:33::111]", "[fd00:33::112]"])]
    {
        for port in [80, 443] {
            ctl(&lab.balancer, &format!("mark add 1 -d {vip} -p tcp --dport {port}"))?;
        }
        ctl(&lab.balancer, &format!("service add -f 1{option} -s rr"))?;
        for server in servers {
            ctl(&lab.balancer, &format!("backend add -f 1{option} -r {server} -m"))?;
        }
        let host = if option.is_empty() { vip.to_owned() } else { format!("[{vip}]") };
        // This service would always choose the same server.
        ctl(&lab.balancer, &format!("service add -t {host}:80 -s rr"))?;
        ctl(&lab.balancer, &format!("backend add -t {host}:80 -r {}:80 -m", servers[0]))?;
        for _ in 0..3 {
            assert_eq!(curl(&lab.client, &format!("http://{host}/"))?, "Web2 called.\n");
            assert_eq!(curl(&lab.client, &format!("https://{host}/"))?, "Web1 called.\n");
        }
        ctl(&lab.balancer, &format!("mark del -d {vip} -p tcp --dport 80"))?;
        for _ in 0..2 {
            assert_eq!(curl(&lab.client, &format!("http://{host}/"))?, "Web1 called.\n");
        }
    }
    let list = ctl(&lab.balancer, "list -n")?;
    for row in
        ["FWM  1 rr\n  -> 192.168.33.111:0             Masq    1      0          3", "FWM  1 IPv6 rr\n"]
    {
        ensure!(list.contains(row), "{list}");
    }
    Ok(())
}

#[test]
fn a_persistent_mark_keeps_a_client_at_one_server_for_all_its_ports() -> Result<()> {
    let lab = loaded(Path::Redirect, 1500)?;
    for (vip, option, servers) in
        [(VIP, "", ["192.168.33.111", "192.168.33.112"]), (VIP6, " -6", ["[fd00:33::111]", "[fd00:33::112]"])]
    {
        for port in [80, 443] {
            ctl(&lab.balancer, &format!("mark add 1 -d {vip} -p tcp --dport {port}"))?;
        }
        ctl(&lab.balancer, &format!("service add -f 1{option} -s rr -p 60"))?;
        for server in servers {
            ctl(&lab.balancer, &format!("backend add -f 1{option} -r {server} -m"))?;
        }
        let host = if option.is_empty() { vip.to_owned() } else { format!("[{vip}]") };
        for scheme in ["http", "https", "http", "https"] {
            assert_eq!(curl(&lab.client, &format!("{scheme}://{host}/"))?, "Web2 called.\n");
        }
    }
    // As IPVS was recorded: protocol IP, the mark in the place of an address.
    let list = ctl(&lab.balancer, "list -n --connections")?;
    let rows: Vec<Vec<_>> = list.lines().map(|row| row.split_whitespace().collect()).collect();
    let template = rows.iter().find(|row| row[0] == "IP" && row[3] == "192.168.2.10:0");
    let template = template.ok_or_else(|| anyhow::anyhow!("no template: {list}"))?;
    assert_eq!(template[2..], ["ASSURED", "192.168.2.10:0", "0.0.0.1:0", "192.168.33.112:0"]);
    assert_eq!(rows.iter().filter(|row| row[0] == "IP").count(), 2, "{list}");
    Ok(())
}

#[test]
fn with_cache_bypass_what_no_backend_takes_goes_where_it_was_going() -> Result<()> {
    let lab = loaded(Path::Redirect, 1500)?;
    ctl(&lab.balancer, "mark add 1 -d 192.168.33.112 -p tcp --dport 80")?;
    ctl(&lab.balancer, "service add -f 1 -s rr")?;
    let request = ["curl", "-sS", "--max-time", "5", "http://192.168.33.112/"];
    ensure!(lab.client.run(request).is_err(), "there is no backend");
    ensure!(lab.balancer.counter("Bypassed")? == 0);
    ctl(&lab.balancer, "sysctl cache_bypass=1")?;
    assert_eq!(lab.client.run(request)?, "Web2 called.\n");
    ensure!(lab.balancer.counter("Bypassed")? > 0);
    // A backend comes before that.
    ctl(&lab.balancer, "backend add -f 1 -r 192.168.33.111 -m")?;
    assert_eq!(lab.client.run(request)?, "Web1 called.\n");
    Ok(())
}

#[test]
fn ten_thousand_rules_are_added_at_once_and_looked_up() -> Result<()> {
    ten_thousand_rules(Path::Redirect)
}

#[test]
fn ten_thousand_rules_are_looked_up_by_tc() -> Result<()> {
    ten_thousand_rules(Path::Tc)
}

fn ten_thousand_rules(path: Path) -> Result<()> {
    let lab = loaded(path, 1500)?;
    let mut rules = String::new();
    for number in 0..10_000 {
        writeln!(rules, "2 -s 10.{}.{}.0/24 -d {VIP}/32 -p tcp --dport 80", number >> 8, number & 0xff)?;
    }
    writeln!(rules, "1 -s 192.168.2.0/24 -d {VIP}/32 -p tcp --dport 80")?;
    let balancer = &lab.balancer;
    let started = Instant::now();
    let output = balancer.output_with_input(
        [balancer.site().lb_ctl(), "mark".as_ref(), "add".as_ref(), "--from".as_ref(), "-".as_ref()],
        rules.as_bytes(),
    )?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    println!("10,001 rules in {:?}", started.elapsed());
    assert_eq!(ctl(balancer, "mark list")?, rules);
    for (mark, server) in [(1, 111), (2, 112)] {
        ctl(balancer, &format!("service add -f {mark} -s rr"))?;
        ctl(balancer, &format!("backend add -f {mark} -r 192.168.33.{server} -m"))?;
    }
    assert_eq!(curl(&lab.client, &format!("http://{VIP}/"))?, "Web1 called.\n");
    lab.client.addresses("lo", &["10.7.7.7/32"])?;
    balancer.ip("route add 10.7.7.7 via 192.168.2.10")?;
    let from = ["curl", "-sS", "--max-time", "10", "--interface", "10.7.7.7", &format!("http://{VIP}/")];
    assert_eq!(lab.client.run(from)?, "Web2 called.\n");
    ctl(balancer, "mark clear")?;
    assert_eq!(ctl(balancer, "mark list")?, "");
    Ok(())
}
