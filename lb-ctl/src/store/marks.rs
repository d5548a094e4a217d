//! Firewall marks: the rules, and the tables that the packet path looks them up in.
//!
//! A change works the tables of the next generation out in memory, writes them beside those of the present
//! one, and makes them the present ones with the word that publishes services too. A process killed on the
//! way leaves the old or the new rules; what it left lying about is removed by the next change.

use super::{Change, Mapped, Store, grace, open};
use crate::{
    program::interface,
    spec::mark::{interface_text, unplaced},
};
use anyhow::{Result, anyhow, bail};
use aya::maps::{HashMap, LpmTrie, Map, MapData, lpm_trie::Key};
use lb_common::{
    limits::{MARK_RANGES, MARK_RULES},
    mark::{ClassKey, Found, NOWHERE, Prefix, Range, Rule},
};
use lb_ebpf::mark::{Compiled, compile};
use std::{collections::HashSet, path::Path};

/// The maps of rules and their tables.
pub struct Marks {
    /// Half of it for each of two generations, as of the next.
    rules: Mapped<Rule>,
    ranges: Mapped<Range>,
    classes: HashMap<MapData, ClassKey, u32>,
    prefixes: LpmTrie<MapData, Prefix, Found>,
}

/// Rules that are about to be the present ones.
pub struct NewMarks {
    rules: Vec<Rule>,
    tables: Compiled,
    /// 0 without a rule.
    pub(super) generation: u32,
}

impl Marks {
    /// Opens them.
    pub(super) fn open(pins: &Path) -> Result<Self> {
        Ok(Self {
            rules: Mapped::open(&pins.join("MARK_RULES"))?,
            ranges: Mapped::open(&pins.join("MARK_RANGES"))?,
            classes: HashMap::try_from(Map::HashMap(open(&pins.join("MARK_CLASSES"))?))?,
            prefixes: LpmTrie::try_from(Map::LpmTrie(open(&pins.join("MARK_PREFIXES"))?))?,
        })
    }

    fn rules(&self, generation: u32) -> Vec<Rule> {
        if generation == 0 {
            return vec![];
        }
        let first = half(generation, MARK_RULES);
        let all = (first..first + MARK_RULES / 2).map(|slot| self.rules.get(slot));
        all.take_while(|rule| rule.mark != 0).collect()
    }

    fn write(&mut self, new: &NewMarks) -> Result<()> {
        let NewMarks { rules, tables, generation } = new;
        let first = half(*generation, MARK_RULES);
        for (slot, rule) in (first..).zip(rules.iter().copied().chain([Rule::default()])) {
            self.rules.set(slot, rule);
        }
        for (slot, range) in (half(*generation, MARK_RANGES)..).zip(&tables.ranges) {
            self.ranges.set(slot, *range);
        }
        for (prefix, length, found) in &tables.prefixes {
            let key = Key::new(Prefix::TABLE_BITS + u32::from(*length), *prefix);
            self.prefixes.insert(&key, found, 0)?;
        }
        for (key, table) in &tables.classes {
            self.classes.insert(key, table, 0)?;
        }
        Ok(())
    }

    fn remove_all_but(&mut self, generation: u32) -> Result<()> {
        for key in self.classes.keys().collect::<Result<Vec<_>, _>>()? {
            if key.generation != generation {
                self.classes.remove(&key)?;
            }
        }
        for key in self.prefixes.keys().collect::<Result<Vec<_>, _>>()? {
            if !lb_ebpf::mark::is_of(key.data().table, generation) {
                self.prefixes.remove(&key)?;
            }
        }
        Ok(())
    }
}

impl Store {
    /// All rules that packets see, in the order in which they were added.
    pub fn marks(&self) -> Vec<Rule> {
        self.marks.rules(self.settings.get(0).marks())
    }
}

impl Change {
    /// The rules that packets see.
    pub fn marks_before(&self) -> Vec<Rule> {
        self.store.marks()
    }

    /// The rules, as this change has made them so far.
    pub fn marks(&self) -> Vec<Rule> {
        self.marks.as_ref().map_or_else(|| self.store.marks(), |new| new.rules.clone())
    }

    /// Whether this change makes them say something else.
    pub fn has_marks(&self) -> bool {
        let said = |rules: &[Rule]| -> Vec<_> { rules.iter().map(unplaced).collect() };
        self.marks.as_ref().is_some_and(|new| said(&new.rules) != said(&self.store.marks()))
    }

    /// Makes these the rules. One with an interface that is not there matches nothing.
    pub fn set_marks(&mut self, mut rules: Vec<Rule>) -> Result<()> {
        let most = MARK_RULES as usize / 2 - 1;
        if rules.len() > most {
            bail!("{most} rules is the most there can be; delete some first");
        }
        find_interfaces(&mut rules)?;
        if rules == self.store.marks() {
            self.marks = None;
            return Ok(());
        }
        let old = self.store.settings.get(0).marks();
        let generation = if rules.is_empty() { 0 } else { old % (u32::MAX - 1) + 1 };
        let tables = compile(&rules, generation, half(generation, MARK_RANGES))
            .ok_or_else(|| anyhow!("the rules overlap too much for the tables of marks; use fewer"))?;
        self.marks = Some(NewMarks { rules, tables, generation });
        Ok(())
    }

    /// Writes tables that no packet looks at yet.
    pub(super) fn write_marks(&mut self) -> Result<()> {
        let Some(new) = &self.marks else { return Ok(()) };
        let present = self.store.settings.get(0).marks();
        self.store.marks.remove_all_but(present)?;
        if new.generation == 0 { Ok(()) } else { self.store.marks.write(new) }
    }

    /// Removes the tables that no packet finds any more.
    pub(super) fn retire_marks(&mut self) -> Result<()> {
        let Some(new) = &self.marks else { return Ok(()) };
        grace::wait();
        self.store.marks.remove_all_but(new.generation)
    }
}

/// Names of interfaces that rules want and that are not there.
pub fn absent(rules: &[Rule]) -> Result<Vec<String>> {
    let mut rules = rules.to_vec();
    find_interfaces(&mut rules)?;
    let mut seen = HashSet::new();
    let absent = rules.iter().filter(|rule| rule.interface == NOWHERE).filter_map(interface_text);
    Ok(absent.filter(|name| seen.insert(name.clone())).collect())
}

fn find_interfaces(rules: &mut [Rule]) -> Result<()> {
    let named = |rule: &&Rule| interface_text(rule).is_some();
    let all = if rules.iter().any(|rule| named(&rule)) { interface::all()? } else { vec![] };
    for rule in rules {
        *rule = unplaced(rule);
        if let Some(name) = interface_text(rule) {
            let found = all.iter().find(|interface| interface.name == name);
            rule.interface = found.map_or(NOWHERE, |found| found.index);
        }
    }
    Ok(())
}

/// Where the half of a map begins that a generation uses.
const fn half(generation: u32, length: u32) -> u32 {
    generation % 2 * (length / 2)
}
