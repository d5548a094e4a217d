//! The schedulers against IPVS: what it was recorded to do, and what its sources say.

mod balancer;
mod properties;
mod recorded;
mod vectors;
