//! The kernel's own IPVS, as it stands now: what `import-ipvs` takes over.

mod connections;
mod services;

pub use connections::{Entry, entries};
pub use services::configuration;
