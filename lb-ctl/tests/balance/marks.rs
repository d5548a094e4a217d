//! The rules of firewall marks, as tables in the maps.

use super::kernel::Kernel;
use aya::maps::{HashMap, LpmTrie, lpm_trie::Key};
use lb_common::mark::{ClassKey, Found, Prefix, Rule};
use lb_ebpf::mark::compile;

impl Kernel {
    /// Puts the tables of rules in, as those of generation 1.
    pub fn install_marks(&mut self, rules: &[Rule]) {
        let tables = compile(rules, 1, 0).unwrap();
        let mut classes: HashMap<_, ClassKey, u32> =
            HashMap::try_from(self.ebpf.map_mut("MARK_CLASSES").unwrap()).unwrap();
        for (key, table) in tables.classes {
            classes.insert(key, table, 0).unwrap();
        }
        let mut prefixes: LpmTrie<_, Prefix, Found> =
            LpmTrie::try_from(self.ebpf.map_mut("MARK_PREFIXES").unwrap()).unwrap();
        for (prefix, length, found) in tables.prefixes {
            let key = Key::new(Prefix::TABLE_BITS + u32::from(length), prefix);
            prefixes.insert(&key, found, 0).unwrap();
        }
        for (index, range) in (0..).zip(tables.ranges) {
            self.set("MARK_RANGES", index, range);
        }
    }
}
