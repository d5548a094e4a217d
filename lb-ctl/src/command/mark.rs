//! `lb-ctl mark`: firewall marks for packets that no firewall has seen yet.

use crate::{
    spec::{
        mark::{Selector, conditions, parse_line, text},
        usage,
    },
    store::{Store, marks::absent},
    transaction,
};
use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use lb_common::mark::Rule;
use std::{
    collections::HashSet,
    fs,
    io::{self, Read as _, Write as _},
};

/// Give packets firewall marks, by which services (-f) take them.
///
/// Of the rules that match, the one with the longest destination prefix counts, then the longest source
/// prefix, then a named protocol, a named interface, the fewest ports.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example (one service for HTTP and HTTPS):
  lb-ctl mark add 1 -d 192.168.2.200 -p tcp --dport 80
  lb-ctl mark add 1 -d 192.168.2.200 -p tcp --dport 443
  lb-ctl service add -f 1 -s rr")]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Add a rule, or all that a file holds
    #[command(after_help = "Example:
  lb-ctl mark add 7 -s 10.0.0.0/8 -d 192.168.2.0/24 -p udp --dport 5000:5010 -i eth0
  lb-ctl mark add --from rules.txt")]
    Add {
        /// The mark: 1 to 4294967295
        #[arg(value_name = "MARK", required_unless_present = "from", allow_hyphen_values = true)]
        mark: Option<String>,
        #[command(flatten)]
        selector: Selector,
        /// Read rules from this file, a line each, as list prints them; - is standard input
        #[arg(long, value_name = "FILE", conflicts_with = "mark")]
        from: Option<String>,
    },
    /// Delete the rule with exactly these conditions
    #[command(
        visible_alias = "delete",
        after_help = "Example:
  lb-ctl mark del -d 192.168.2.200 -p tcp --dport 80"
    )]
    Del {
        #[command(flatten)]
        selector: Selector,
    },
    /// Delete all rules
    #[command(after_help = "Example:\n  lb-ctl mark clear")]
    Clear,
    /// List the rules, as add takes them
    #[command(after_help = "Example:\n  lb-ctl mark list > rules.txt")]
    List,
}

impl Args {
    /// Runs the command.
    pub fn run(self) -> Result<()> {
        match self.action {
            Action::Add { mark, selector, from } => match (mark, from) {
                (Some(mark), None) => add(vec![selector.rule(&mark)?]),
                (_, Some(file)) => add(read(&file)?),
                (None, None) => usage!("which mark? lb-ctl mark add 7 -d 192.168.2.200"),
            },
            Action::Del { selector } => delete(selector.rule("1")?),
            Action::Clear => transaction::make(|change| change.set_marks(vec![])),
            Action::List => list(),
        }
    }
}

fn add(new: Vec<Rule>) -> Result<()> {
    if let Some(name) = absent(&new)?.first() {
        usage!("-i: there is no interface '{name}' in this network namespace");
    }
    transaction::make(|change| {
        let mut rules = change.marks();
        let mut known: HashSet<Rule> = rules.iter().map(conditions).collect();
        for rule in new {
            if !known.insert(conditions(&rule)) {
                bail!("there is a rule for '{}' already; lb-ctl mark del deletes it", text(&rule));
            }
            rules.push(rule);
        }
        change.set_marks(rules)
    })
}

fn delete(rule: Rule) -> Result<()> {
    transaction::make(|change| {
        let mut rules = change.marks();
        let before = rules.len();
        rules.retain(|other| conditions(other) != conditions(&rule));
        if rules.len() == before {
            bail!("there is no rule with these conditions; lb-ctl mark list shows those there are");
        }
        change.set_marks(rules)
    })
}

/// Says which interfaces of rules are not there. At boot some come late, and the other rules count.
pub fn warn(rules: &[Rule]) -> Result<()> {
    for name in absent(rules)? {
        eprintln!(
            "lb-ctl: warning: there is no interface {name}, so its marks are given to no packet; apply or restore \
             again once it is there"
        );
    }
    Ok(())
}

fn read(file: &str) -> Result<Vec<Rule>> {
    let mut content = String::new();
    match file {
        "-" => drop(io::stdin().read_to_string(&mut content)?),
        path => content = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?,
    }
    let lines = (1..).zip(content.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(number, line)| parse_line(line).with_context(|| format!("line {number}"))).collect()
}

fn list() -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for rule in Store::open()?.marks() {
        writeln!(out, "{}", text(&rule))?;
    }
    Ok(out.flush()?)
}
