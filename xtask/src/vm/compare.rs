//! The same scripts of commands and traffic on the kernel's IPVS and on ours, each in a lab of its own.
//! What each side printed and what its clients saw has to be the same, to the byte.

mod calls;
mod counters;
mod errors;
mod known;
mod listings;
mod lives;
mod options;
mod refusals;
mod sequences;
mod side;
mod stalls;
mod transcript;
mod verdict;
mod wire;

use std::{
    path::Path,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::Instant,
};

use anyhow::{Context, Result, ensure};

use super::report::{Item, Step};
use crate::interrupt;
use side::{Ports, Side, Who};
use stalls::Stalls;
use transcript::Transcript;
use verdict::Verdict;

type Work = dyn Fn(&Side, &mut Transcript) -> Result<()> + Sync;

/// How often a script is run at most, where the machine stood still while it ran.
const RUNS: u16 = 4;

/// What is done on either side, and how it is called.
struct Script {
    name: String,
    /// How many services it makes and how many ports its clients use, at most.
    ports: Ports,
    work: Box<Work>,
}

impl Script {
    fn new(
        name: impl Into<String>,
        work: impl Fn(&Side, &mut Transcript) -> Result<()> + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), ports: Ports { service: 10, client: 40 }, work: Box::new(work) }
    }
}

/// One run of a script: the same for both sides.
#[derive(Clone, Copy)]
struct Run {
    number: usize,
    /// How many times it ran before.
    before: u16,
    /// Where its ports begin.
    ports: Ports,
}

/// What a side did; an error ends that side.
type Done = (Who, Run, Result<Transcript>);

/// Runs all scripts, or those with this word in their names; each is a step of the report.
pub fn run(lb_ctl: &Path, only: Option<&str>) -> Result<()> {
    // The sequences last: they leave thousands of connections, which every list of connections would show.
    let mut scripts: Vec<_> = lives::scripts()
        .into_iter()
        .chain(refusals::scripts())
        .chain(errors::scripts())
        .chain(calls::scripts())
        .chain(counters::scripts())
        .chain(listings::scripts())
        .chain(options::scripts())
        .chain(sequences::scripts())
        .collect();
    scripts.retain(|script| only.is_none_or(|only| script.name.contains(only)));
    ensure!(!scripts.is_empty(), "no script is called '{}'", only.unwrap_or_default());
    let stalls = Stalls::watch();
    let (sender, receiver) = channel();
    thread::scope(|scope| {
        let sides = [Who::Ipvs, Who::Ours].map(|who| {
            let (to_side, runs) = channel();
            let (sender, scripts) = (sender.clone(), &scripts);
            scope.spawn(move || on_side(who, lb_ctl, scripts, &runs, &sender));
            to_side
        });
        drop(sender);
        compare(&scripts, &sides, &receiver, &stalls)
    })
}

/// Has all scripts run on both sides, some of them again, and tells what came of each.
fn compare(
    scripts: &[Script],
    sides: &[Sender<Run>; 2],
    receiver: &Receiver<Done>,
    stalls: &Stalls,
) -> Result<()> {
    let started = Instant::now();
    let (mut first, mut all) = (Vec::new(), Ports { service: 0, client: 0 });
    for script in scripts {
        first.push(all);
        all = all.and(script.ports);
    }
    let begin = |number: usize, before: u16| {
        let ports = Side::PORTS.and(first[number]).and(all.times(before));
        let run = Run { number, before, ports };
        // Fails for a side that has ended; why, it has said.
        sides.iter().for_each(|side| _ = side.send(run));
    };
    (0..scripts.len()).for_each(|number| begin(number, 0));

    let mut halves: Vec<[Option<Transcript>; 2]> = scripts.iter().map(|_| [None, None]).collect();
    let mut left = scripts.len();
    while left > 0 {
        let (who, run, transcript) = receiver.recv().context("both sides have ended")?;
        let half = &mut halves[run.number];
        half[usize::from(who == Who::Ours)] = Some(transcript?);
        let [Some(theirs), Some(ours)] = &*half else { continue };
        let name = &scripts[run.number].name;
        let verdict = Verdict::of(name, theirs, ours);
        let stall = stalls.longest(theirs.began.min(ours.began));
        let again = verdict.failure().is_some() && run.before + 1 < RUNS && stalls::is_long(stall);
        println!(
            "{:3.0} s [{}/{}] {name}: {verdict}{}",
            started.elapsed().as_secs_f64(),
            run.number + 1,
            scripts.len(),
            match again {
                true => format!(", but the machine stood still for {:.1} s: once more", stall.as_secs_f64()),
                false => String::new(),
            },
        );
        verdict.details().iter().for_each(|line| println!("  {line}"));
        let began = theirs.began.max(ours.began);
        *half = [None, None];
        if again {
            begin(run.number, run.before + 1);
            continue;
        }
        let result = verdict.failure().map_or(Ok(()), |failure| Err(anyhow::anyhow!(failure)));
        Item::Step(Step::new(&format!("beside IPVS: {name}"), began, result)).print()?;
        left -= 1;
    }
    Ok(())
}

fn on_side(who: Who, lb_ctl: &Path, scripts: &[Script], runs: &Receiver<Run>, sender: &Sender<Done>) {
    let started = Instant::now();
    let mut side = None;
    for run in runs {
        let transcript = (|| {
            interrupt::check()?;
            let side = match &side {
                Some(side) => side,
                None => {
                    let raised = Side::raise(who, lb_ctl)?;
                    println!("{} is up after {:.0} s", who.name(), started.elapsed().as_secs_f64());
                    side.insert(raised)
                }
            };
            side.begin(run.ports);
            let mut transcript = Transcript::begin();
            if let Err(error) = (scripts[run.number].work)(side, &mut transcript) {
                transcript.fail(&error);
                // What it left would be in the way of the next.
                side.admin("-C")?;
            }
            Ok(transcript)
        })();
        let is_over = transcript.is_err();
        // Fails once nobody listens, because the other side failed.
        if sender.send((who, run, transcript)).is_err() || is_over {
            break;
        }
    }
}
