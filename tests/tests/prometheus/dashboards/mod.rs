//! Grafana's dashboards and Prometheus's rules, held to conventions and against the real thing: whatever they ask must be
//! answered by a real Prometheus that scraped the real webstore under the real load.

mod ask;
mod conventions;
mod live;
mod preview;
mod rig;
mod rules;
