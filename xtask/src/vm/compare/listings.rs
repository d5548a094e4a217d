//! What the tool itself says: listings, `-S`, and what it refuses, with its exit status.

use anyhow::Result;

use super::{
    Script,
    side::{SERVER_PORT, Side},
    transcript::Transcript,
};

/// One script for what can be configured, one for what cannot.
pub fn scripts() -> Vec<Script> {
    vec![Script::new("tool: listings", listings), Script::new("tool: refused commands", refused)]
}

const TABLE: &str = "-A -t 192.168.2.200:80 -s wlc
-a -t 192.168.2.200:80 -r 192.168.33.111:80 -m -w 3 -x 100 -y 50
-a -t 192.168.2.200:80 -r 192.168.33.112:8080 -m -w 0
-a -t 192.168.2.200:80 -r 192.168.33.112:80 -g -w 2
-A -t 192.168.2.200:443 -s mh -b mh-port,mh-fallback
-a -t 192.168.2.200:443 -r 192.168.33.111:443 -m
-A -u 192.168.2.200:53 -s sh -b sh-port
-a -u 192.168.2.200:53 -r 192.168.33.113:53 -m -w 65535
-A -t 10.0.0.1:80 -s rr
-A -t [fd00:2::200]:80 -s lblcr
-a -t [fd00:2::200]:80 -r [fd00:33::111]:80 -m -w 7
-a -t [fd00:2::200]:80 -r [fd00:33::112]:80 -m
";

fn listings(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let lists = [
        "-Ln",
        "-ln",
        "-L -n",
        "-Ln -t 192.168.2.200:80 --nosort",
        "-Ln --thresholds",
        "-Ln --stats",
        "-Ln --rate",
        "-Ln --rate --exact",
        "-Ln --persistent-conn",
        "-Ln --tun-info",
        "-Ln -t 192.168.2.200:80",
        "-Ln -u 192.168.2.200:53 --stats",
        "-Ln -t 192.168.2.200:81",
        "-L --timeout",
        "-L --daemon",
        "-Sn",
        "-S -n",
        "--list --numeric",
        "-Ln --exact",
    ];
    side.restore(TABLE)?;
    for list in lists {
        transcript.say(format!("ipvsadm {list}"));
        transcript.say(side.admin(list)?);
    }
    side.set("-C")?;
    transcript.say(side.admin("-Ln")?);
    transcript.say(side.admin("-Sn")?);
    Ok(())
}

fn refused(side: &Side, transcript: &mut Transcript) -> Result<()> {
    let service = "-t 192.168.2.200:80";
    let server = format!("-r 192.168.33.111:{SERVER_PORT} -m");
    side.restore(&format!("-A {service} -s rr\n-a {service} {server}\n"))?;
    let commands = [
        format!("-A {service}"),
        format!("-a {service} {server}"),
        format!("-d {service} -r 192.168.33.112:{SERVER_PORT}"),
        "-D -t 192.168.2.200:81".to_owned(),
        "-E -t 192.168.2.200:81 -s rr".to_owned(),
        format!("-a -t 192.168.2.200:81 {server}"),
        format!("-e {service} -r 192.168.33.113:{SERVER_PORT} -m"),
        "-A -t 192.168.2.200:0".to_owned(),
        "-A -t 192.168.2.200".to_owned(),
        "-A -t 192.168.2.200:82 -s nosuch".to_owned(),
        format!("-a {service} {server} -w -1"),
        format!("-a {service} -r 192.168.33.112:{SERVER_PORT} -m -x 1 -y 2"),
        format!("-a {service}"),
        format!("-A {service} -r 192.168.33.111"),
        "-A".to_owned(),
        "-Z -t 192.168.2.200:81".to_owned(),
        "-Ln -c -t 192.168.2.200:80".to_owned(),
        "-A -t [fd00:2::200]:80 -s rr -M 255.255.255.0".to_owned(),
        format!("-a {service} -r [fd00:33::111]:80 -m"),
        "--set 1 2".to_owned(),
        "--set a b c".to_owned(),
    ];
    for command in commands {
        transcript.say(format!("ipvsadm {command}"));
        transcript.say(side.admin(&command)?);
    }
    transcript.say(side.admin("-Sn")?);
    side.set("-C")
}
