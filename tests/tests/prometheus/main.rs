//! What operators see: dashboards, rules and alerts in a real Prometheus, and the files that configure it.

mod alerts;
mod compose;
mod dashboards;
mod observability;
