//! Every command of the tool with every option: what goes together, what is said where it does not, and the exit status.

use std::fs;

use anyhow::Result;

use super::{
    Script,
    side::{SERVER_PORT, Side},
    transcript::Transcript,
};

/// One script for all.
pub fn scripts() -> Vec<Script> {
    vec![Script::new("tool: every option with every command", every_option)]
}

/// Without `-c`, which would list what other scripts have left, and `--nosort`, whose order is IPVS's own.
const OPTIONS: [&str; 49] = [
    "-t 192.168.2.201:80",
    "-u [fd00:2::201]:53",
    "--sctp-service 192.168.2.201:80",
    "-f 9",
    "-f 9 -6",
    "-6",
    "-s wrr",
    "-s nosuch",
    "-p",
    "-p 300",
    "-p 0",
    "-M 255.255.255.0",
    "-M 64",
    "-o",
    "--pe sip",
    "--pe nosuch",
    "-b sh-port",
    "-b flag-1,flag-3",
    "-r 192.168.33.112:8080",
    "-r [fd00:33::112]:8080",
    "-m",
    "-g",
    "-i",
    "-w 0",
    "-w -1",
    "-x 10",
    "-y 5",
    "-n",
    "--timeout",
    "--daemon",
    "--stats",
    "--rate",
    "--thresholds",
    "--persistent-conn",
    "--tun-info",
    "-X",
    "--sort",
    "--syncid 5",
    "--mcast-interface eth0",
    "--mcast-group 224.0.0.81",
    "--mcast-port 8848",
    "--mcast-ttl 1",
    "--sync-maxlen 1000",
    "--tun-type gue",
    "--tun-type ipip",
    "--tun-port 6080",
    "--tun-csum",
    "another",
    "--nosuch",
];

fn every_option(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = format!("-t 192.168.2.200:{}", side.next_port());
    let server = format!("-r 192.168.33.111:{SERVER_PORT}");
    let there = format!("-A {service} -s rr\n-a {service} {server} -m -w 3\n-A -f 7 -s rr\n");
    let commands = [
        "-A".to_owned(),
        format!("-A {service}"),
        "-A -u 192.168.2.200:53".to_owned(),
        format!("-E {service}"),
        format!("-D {service}"),
        format!("-a {service}"),
        format!("-a {service} -r 192.168.33.112"),
        "-a -f 7 -r 192.168.33.112 -i".to_owned(),
        format!("-e {service} {server}"),
        format!("-d {service} {server}"),
        "-Ln".to_owned(),
        format!("-Ln {service}"),
        "-Z".to_owned(),
        format!("-Z {service}"),
        "-C".to_owned(),
        "-Sn".to_owned(),
        "-R".to_owned(),
        "--set 900 120 300".to_owned(),
        "--stop-daemon master".to_owned(),
    ];
    // The tool is the same on each kernel and this takes minutes: each kernel takes every other command.
    let is_old = fs::read_to_string("/proc/sys/kernel/osrelease")?.starts_with("6.1.");
    for command in commands.iter().skip(usize::from(is_old)).step_by(2) {
        side.restore(&format!("-C\n{there}"))?;
        for option in OPTIONS {
            let words = format!("{command} {option}");
            transcript.say(format!("ipvsadm {words}"));
            transcript.say(side.admin(&words)?);
        }
        transcript.say(side.admin("-Sn")?);
    }
    side.set("-C")
}
