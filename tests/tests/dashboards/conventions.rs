//! How the dashboards are written.
