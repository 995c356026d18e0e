//! The example service as processes of its own, over real HTTP, in memory and on real Redis servers.

mod bans;
mod canary;
mod demo;
mod exactness;
mod faults;
mod funnel;
mod generate_traffic;
mod lifecycle;
mod limits;
mod load_test;
mod logs;
mod losses;
mod maintenance;
mod ops;
mod secrets;
mod segments;
mod session_events;
mod sessions;
mod suspicion;
mod visitors;
