//! Whether everything that is linked into what we ship may be shipped with it.
//!
//! `deny.toml` is the one list of licences, so that this and `cargo deny check` agree. `xtask` and
//! what only it uses stay here and are not looked at.

use std::{collections::HashSet, fs};

use anyhow::{Context, Result, bail};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use spdx::{Expression, Licensee, ParseMode};

pub fn check() -> Result<()> {
    let metadata = MetadataCommand::new().exec()?;
    let allowed =
        allowed(&fs::read_to_string(metadata.workspace_root.join("deny.toml")).context("deny.toml")?)?;
    let shipped = shipped(&metadata)?;
    let mut complaints = Vec::new();
    for package in metadata.packages.iter().filter(|package| shipped.contains(&package.id)) {
        let licence = package.license.as_deref().unwrap_or_default();
        if !satisfied(licence, &allowed) {
            complaints.push(format!("{} {}: {licence:?}", package.name, package.version));
        }
    }
    if !complaints.is_empty() {
        bail!("not among the licences of deny.toml:\n  {}", complaints.join("\n  "));
    }
    Ok(())
}

fn allowed(deny: &str) -> Result<Vec<Licensee>> {
    let deny: toml::Table = deny.parse().context("deny.toml")?;
    let list = deny.get("licenses").and_then(|section| section.get("allow")?.as_array());
    let names = list.context("deny.toml has no list licenses.allow")?.iter().filter_map(toml::Value::as_str);
    names.map(|name| Licensee::parse(name).with_context(|| format!("deny.toml: {name}"))).collect()
}

/// The members but for xtask, and all that they need at run time.
fn shipped(metadata: &Metadata) -> Result<HashSet<PackageId>> {
    let graph = metadata.resolve.as_ref().context("cargo metadata resolved nothing")?;
    let members = metadata.workspace_packages();
    let mut waiting: Vec<&PackageId> =
        members.iter().filter(|package| package.name != "xtask").map(|package| &package.id).collect();
    let mut seen = HashSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id.clone()) {
            continue;
        }
        let node =
            graph.nodes.iter().find(|node| node.id == *id).context("an unknown package in the graph")?;
        let normal = node
            .deps
            .iter()
            .filter(|dependency| dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal));
        waiting.extend(normal.map(|dependency| &dependency.pkg));
    }
    Ok(seen)
}

fn satisfied(licence: &str, allowed: &[Licensee]) -> bool {
    // Lax: some older crates write MIT/Apache-2.0.
    let Ok(expression) = Expression::parse_mode(licence, ParseMode::LAX) else { return false };
    expression.evaluate(|required| allowed.iter().any(|licensee| licensee.satisfies(required)))
}

#[cfg(test)]
mod tests {
    use super::{allowed, satisfied};

    #[test]
    fn expressions_are_judged_by_the_list() -> anyhow::Result<()> {
        let allowed = allowed("[licenses]\nallow = [\"MIT\", \"GPL-2.0-only\"]\n")?;
        for (licence, expected) in [
            ("MIT OR Apache-2.0", true),
            ("MIT/Apache-2.0", true),
            ("Apache-2.0", false),
            ("MIT AND Apache-2.0", false),
            ("GPL-2.0-only", true),
            ("", false),
        ] {
            assert_eq!(satisfied(licence, &allowed), expected, "{licence}");
        }
        Ok(())
    }
}
