//! The classic job, seen from outside: one address, two web servers, NAT, weighted least connections.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use crate::{
    interrupt,
    lab::{Lab, Namespace, VIP},
};

const REQUESTS: usize = 10;

pub(super) fn run(lb_ctl: PathBuf, keep: bool) -> Result<()> {
    println!("Raising a lab in network namespaces: client, balancer, switch, two web servers with nginx");
    let lab = Lab::raise(lb_ctl)?;
    let wrong = show(&lab)?;

    if keep {
        explain(&lab)?;
        lab.keep()?;
    } else {
        lb_ctl_shown(&lab, "unload")?;
        drop(lab);
        println!("\nThe lab is gone again.");
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("Every request was answered, by both servers in turn.");
    Ok(())
}

/// Loads, configures, asks, lists. What was wrong with the answers is said after the lists, which
/// are what explains it.
fn show(lab: &Lab) -> Result<Vec<String>> {
    lb_ctl_shown(lab, "load outside inside")?;
    for port in [80, 443] {
        lb_ctl_shown(lab, &format!("service add -t {VIP}:{port} -s wlc"))?;
        for server in ["192.168.33.111", "192.168.33.112"] {
            let backend = format!("backend add -t {VIP}:{port} -r {server}:{port} -m -w 1");
            lb_ctl_shown(lab, &backend)?;
        }
    }

    let mut wrong = Vec::new();
    for url in [format!("http://{VIP}"), format!("https://{VIP}")] {
        if let Err(error) = ask(&lab.client, &url) {
            wrong.push(format!("{url}: {error:#}"));
        }
        interrupt::check()?;
    }

    for command in ["list -n", "list -n --stats", "list -n --connections", "counters"] {
        lb_ctl_shown(lab, command)?;
    }
    Ok(wrong)
}

/// Ten requests one after the other, each a connection of its own.
fn ask(client: &Namespace, url: &str) -> Result<()> {
    let curl = ["curl", "-sSk", "--max-time", "5", url];
    println!("\nclient$ {}    (times {REQUESTS})", curl.join(" "));
    let mut answers = Vec::new();
    for number in 1..=REQUESTS {
        let answer = client.run(curl).with_context(|| format!("request {number} was not answered"))?;
        print!("{answer}");
        answers.push(answer);
    }
    judge(&answers)
}

fn judge(answers: &[String]) -> Result<()> {
    let known = |answer: &&String| ["Web1 called.\n", "Web2 called.\n"].contains(&answer.as_str());
    let unknown = answers.iter().find(|answer| !known(answer));
    ensure!(unknown.is_none(), "an answer of neither server: {unknown:?}");
    let alternate = answers.windows(2).all(|pair| pair[0] != pair[1]);
    ensure!(alternate, "the servers did not take turns");
    Ok(())
}

fn lb_ctl_shown(lab: &Lab, arguments: &str) -> Result<()> {
    println!("\nbalancer$ lb-ctl {arguments}");
    print!("{}", lab.balancer.lb_ctl(arguments.split(' '))?);
    Ok(())
}

fn explain(lab: &Lab) -> Result<()> {
    let bpffs = lab.site.bpffs();
    let lb_ctl = lab.site.lb_ctl();
    println!(
        "
The lab stays up. Use it (as root) with:

  ip netns exec {client} curl http://{VIP}
  export LB_BPFFS={bpffs} LB_STATE={state}
  ip netns exec {balancer} {lb_ctl} list -n

Its namespaces: {client} {balancer} {switch} {web1} {web2}
End it with: cargo xtask run --end
",
        client = lab.client.name(),
        balancer = lab.balancer.name(),
        switch = lab.switch.name(),
        web1 = lab.web1.name(),
        web2 = lab.web2.name(),
        bpffs = bpffs.display(),
        state = lab.site.state().display(),
        lb_ctl = lb_ctl.display(),
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::judge;

    fn answers(servers: &[u8]) -> Vec<String> {
        servers.iter().map(|server| format!("Web{server} called.\n")).collect()
    }

    #[test]
    fn only_alternating_answers_of_both_servers_are_right() {
        assert!(judge(&answers(&[2, 1, 2, 1])).is_ok());
        assert!(judge(&answers(&[2, 1, 1, 2])).is_err());
        assert!(judge(&answers(&[3, 1])).is_err());
        assert!(judge(&[String::new(), String::new()]).is_err());
    }
}
