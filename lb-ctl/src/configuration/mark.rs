//! Firewall marks in a configuration file.

use super::{document::Reader, position::Fault};
use crate::spec::mark;
use anyhow::anyhow;
use lb_common::{address::Address, mark::Rule};
use serde::Deserialize;
use std::collections::HashSet;
use toml::Spanned;

/// A rule.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MarkTable {
    mark: Spanned<i64>,
    source: Option<Spanned<String>>,
    destination: Option<Spanned<String>>,
    protocol: Option<Spanned<String>>,
    dport: Option<Spanned<String>>,
    interface: Option<Spanned<String>>,
}

impl Reader<'_> {
    /// Reads rules.
    pub(super) fn marks(&self, tables: &[Spanned<MarkTable>]) -> Result<Vec<Rule>, Fault> {
        let (mut rules, mut seen) = (Vec::with_capacity(tables.len()), HashSet::new());
        for table in tables {
            let rule = self.mark(table.as_ref())?;
            mark::check_families(&rule).map_err(|error| self.fault(table.span(), error))?;
            if !seen.insert(mark::conditions(&rule)) {
                let again = anyhow!("a mark for the same packets stands here already; remove one");
                return Err(self.fault(table.span(), again));
            }
            rules.push(rule);
        }
        Ok(rules)
    }

    fn mark(&self, table: &MarkTable) -> Result<Rule, Fault> {
        let prefix = |value: &_| {
            let prefix = self.option(value, |text: &String| mark::parse_prefix(text))?;
            Ok(prefix.unwrap_or((Address::UNSPECIFIED, 0)))
        };
        let (source, source_length) = prefix(&table.source)?;
        let (destination, destination_length) = prefix(&table.destination)?;
        let ports = self.option(&table.dport, |text| mark::parse_ports(text))?;
        let (first_port, last_port) = ports.unwrap_or((0, u16::MAX));
        Ok(Rule {
            mark: self.within(&table.mark, 1, u32::MAX)?,
            source,
            source_length,
            destination,
            destination_length,
            first_port,
            last_port,
            protocol: self.option(&table.protocol, |text| mark::parse_protocol(text))?.unwrap_or(0),
            name: self.option(&table.interface, |text| mark::parse_interface(text))?.unwrap_or_default(),
            ..mark::EVERYTHING
        })
    }
}
