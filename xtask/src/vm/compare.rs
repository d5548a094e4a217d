//! The same scripts of commands and traffic on the kernel's IPVS and on ours, each in a lab of its own.
//! What each side printed and what its clients saw has to be the same, to the byte.

mod known;
mod listings;
mod lives;
mod refusals;
mod sequences;
mod side;
mod transcript;
mod wire;

use std::{
    path::Path,
    sync::mpsc::{Sender, channel},
    thread,
    time::Instant,
};

use anyhow::{Result, anyhow, ensure};

use crate::interrupt;
use side::{Side, Who};
use transcript::{Difference, Transcript};

type Work = dyn Fn(&Side, &mut Transcript) -> Result<()> + Sync;

/// What is done on either side, and how it is called.
struct Script {
    name: String,
    work: Box<Work>,
}

impl Script {
    fn new(
        name: impl Into<String>,
        work: impl Fn(&Side, &mut Transcript) -> Result<()> + Sync + 'static,
    ) -> Self {
        Self { name: name.into(), work: Box::new(work) }
    }
}

/// Runs all scripts, or those with this word in their names; reports all differences.
pub fn run(lb_ctl: &Path, only: Option<&str>) -> Result<()> {
    let mut scripts: Vec<_> = sequences::scripts()
        .into_iter()
        .chain(lives::scripts())
        .chain(refusals::scripts())
        .chain(listings::scripts())
        .collect();
    scripts.retain(|script| only.is_none_or(|only| script.name.contains(only)));
    ensure!(!scripts.is_empty(), "no script is called '{}'", only.unwrap_or_default());
    let started = Instant::now();
    let (sender, receiver) = channel();
    let mut different = 0;
    let known = thread::scope(|scope| -> Result<usize> {
        let sides = [Who::Ipvs, Who::Ours].map(|who| {
            let (sender, scripts) = (sender.clone(), &scripts);
            scope.spawn(move || on_side(who, lb_ctl, scripts, &sender))
        });
        drop(sender);
        let mut halves: Vec<[Option<Transcript>; 2]> = scripts.iter().map(|_| [None, None]).collect();
        let mut known = 0;
        for (who, number, transcript) in receiver {
            halves[number][usize::from(who == Who::Ours)] = Some(transcript);
            let [Some(theirs), Some(ours)] = &halves[number] else { continue };
            let name = &scripts[number].name;
            let (explained, unexplained) = known::sorted(name, theirs.differences(ours));
            let verdict = match () {
                () if theirs.failed || ours.failed => "FAILED",
                () if !unexplained.is_empty() => "DIFFERENT",
                () if !explained.is_empty() => "as docs/ipvsadm.md says",
                () => "same",
            };
            println!(
                "{:3.0} s [{}/{}] {name}: {verdict}, {} lines",
                started.elapsed().as_secs_f64(),
                number + 1,
                scripts.len(),
                theirs.lines().len()
            );
            for (who, half) in [(Who::Ipvs, theirs), (Who::Ours, ours)] {
                if half.failed {
                    println!("  {} failed: {}", who.name(), half.lines().last().map_or("", String::as_str));
                }
            }
            for Difference { theirs, ours } in &unexplained {
                println!("  IPVS: {theirs}\n  ours: {ours}");
            }
            different += usize::from(theirs.failed || ours.failed || !unexplained.is_empty());
            known += explained.len();
        }
        for side in sides {
            side.join().map_err(|_| anyhow!("a side panicked"))??;
        }
        Ok(known)
    })?;
    println!(
        "{} scripts in {:.0} s: {different} different from IPVS, besides {known} lines known to be",
        scripts.len(),
        started.elapsed().as_secs_f64()
    );
    ensure!(different == 0, "{different} scripts differ from IPVS");
    Ok(())
}

fn on_side(
    who: Who,
    lb_ctl: &Path,
    scripts: &[Script],
    sender: &Sender<(Who, usize, Transcript)>,
) -> Result<()> {
    let started = Instant::now();
    let side = Side::raise(who, lb_ctl)?;
    println!("{} is up after {:.0} s", who.name(), started.elapsed().as_secs_f64());
    for (number, script) in scripts.iter().enumerate() {
        interrupt::check()?;
        let mut transcript = Transcript::default();
        if let Err(error) = (script.work)(&side, &mut transcript) {
            transcript.fail(&error);
            // What it left would be in the way of the next.
            side.admin("-C")?;
        }
        // Fails once nobody listens, because the other side failed.
        if sender.send((who, number, transcript)).is_err() {
            break;
        }
    }
    Ok(())
}
