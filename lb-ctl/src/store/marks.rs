//! Firewall marks: the rules, and the tables that the packet path looks them up in.
//!
//! A change writes the tables of the next generation beside those of the present one, and then one word
//! makes it the present one. A process killed on the way leaves the old or the new rules; what it left
//! lying about is removed by the next change.

use super::{Mapped, grace, open};
use crate::{lock::Lock, program::pins::Pins};
use anyhow::{Result, anyhow, bail};
use aya::maps::{HashMap, LpmTrie, Map, MapData, lpm_trie::Key};
use lb_common::{
    limits::{MARK_RANGES, MARK_RULES},
    mark::{ClassKey, Found, Prefix, Range, Rule},
};
use lb_ebpf::mark::{Compiled, compile};
use std::sync::atomic::{Ordering::Release, fence};

/// The rules and their tables.
pub struct Marks {
    generation: Mapped<u32>,
    /// Half of it for each of two generations, as of the next.
    rules: Mapped<Rule>,
    ranges: Mapped<Range>,
    classes: HashMap<MapData, ClassKey, u32>,
    prefixes: LpmTrie<MapData, Prefix, Found>,
    _lock: Option<Lock>,
}

impl Marks {
    /// Opens them to look at them.
    pub fn open() -> Result<Self> {
        Self::open_pins(None)
    }

    /// Opens them to change them.
    pub fn lock() -> Result<Self> {
        let pins = Pins::here()?;
        pins.loaded()?;
        Self::open_pins(Some(Lock::take(pins.cookie)?))
    }

    fn open_pins(lock: Option<Lock>) -> Result<Self> {
        let pins = Pins::here()?.loaded()?;
        Ok(Self {
            generation: Mapped::open(&pins.join("MARKS"))?,
            rules: Mapped::open(&pins.join("MARK_RULES"))?,
            ranges: Mapped::open(&pins.join("MARK_RANGES"))?,
            classes: HashMap::try_from(Map::HashMap(open(&pins.join("MARK_CLASSES"))?))?,
            prefixes: LpmTrie::try_from(Map::LpmTrie(open(&pins.join("MARK_PREFIXES"))?))?,
            _lock: lock,
        })
    }

    /// All rules, in the order in which they were added.
    pub fn rules(&self) -> Vec<Rule> {
        match self.generation.get(0) {
            0 => vec![],
            generation => {
                let first = half(generation, MARK_RULES);
                let all = (first..first + MARK_RULES / 2).map(|slot| self.rules.get(slot));
                all.take_while(|rule| rule.mark != 0).collect()
            }
        }
    }

    /// Makes these the rules.
    pub fn replace(&mut self, rules: &[Rule]) -> Result<()> {
        let most = MARK_RULES as usize / 2 - 1;
        if rules.len() > most {
            bail!("{most} rules is the most there can be; delete some first");
        }
        let old = self.generation.get(0);
        self.remove_all_but(old)?;
        // No packet looks any more at what the change before replaced.
        grace::wait();
        let new = if rules.is_empty() { 0 } else { old % (u32::MAX - 1) + 1 };
        if new != 0 {
            self.write(rules, new)?;
        }
        fence(Release);
        self.generation.set(0, new);
        grace::wait();
        self.remove_all_but(new)
    }

    fn write(&mut self, rules: &[Rule], generation: u32) -> Result<()> {
        let first_range = half(generation, MARK_RANGES);
        let Compiled { classes, prefixes, ranges } = compile(rules, generation, first_range)
            .ok_or_else(|| anyhow!("the rules overlap too much for the tables of marks; use fewer"))?;
        let first = half(generation, MARK_RULES);
        for (slot, rule) in (first..).zip(rules.iter().copied().chain([Rule::default()])) {
            self.rules.set(slot, rule);
        }
        for (slot, range) in (first_range..).zip(ranges) {
            self.ranges.set(slot, range);
        }
        for (prefix, length, found) in prefixes {
            let key = Key::new(Prefix::TABLE_BITS + u32::from(length), prefix);
            self.prefixes.insert(&key, found, 0)?;
        }
        for (key, table) in classes {
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

/// Where the half of a map begins that a generation uses.
const fn half(generation: u32, length: u32) -> u32 {
    generation % 2 * (length / 2)
}
