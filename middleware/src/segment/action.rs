//! Actions of customers, as labels: declared once, so that no other text becomes one.

use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;

use crate::ConfigError;
use crate::model::{Countries, Route, Segment};

/// An action of customers, counted by segment and country when a response succeeds (2xx).
#[derive(Debug, Clone)]
#[must_use]
pub struct Action {
    name: Box<str>,
    routes: Vec<(Method, Route)>,
}

impl Action {
    /// An action of this name. A handler can report it by [`CustomerEvents`](super::CustomerEvents), and [`on`](Self::on)
    /// adds a route whose responses count as it.
    ///
    /// The name is the label: 1 to 64 characters of `a-z0-9_-`.
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self {
            name: name.into(),
            routes: Vec::new(),
        }
    }

    /// Adds a way to do it: this method, exactly, on the route of this template.
    pub fn on(mut self, method: Method, template: impl Into<Route>) -> Self {
        self.routes.push((method, template.into()));
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn routes(&self) -> impl Iterator<Item = &(Method, Route)> {
        self.routes.iter()
    }

    fn is_on(&self, method: &Method, route: &Route) -> bool {
        let mut routes = self.routes.iter();
        routes.any(|(of, template)| of == method && template == route)
    }
}

impl From<&str> for Action {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

/// All actions of a layer.
#[derive(Debug, Default)]
pub(super) struct Actions {
    actions: Box<[Action]>,
    /// Whether a handler's unknown action was reported: once for a layer, not for each response.
    warned: AtomicBool,
}

impl Actions {
    const MOST: usize = 64;
    /// The series that the OpenTelemetry SDK keeps of one instrument by default; all others would be lost in one.
    const MOST_SERIES: usize = 2_000;

    pub(super) fn new(actions: Vec<Action>, countries: &Countries) -> Result<Self, ConfigError> {
        if actions.len() > Self::MOST {
            let allowed = format!("at most {} actions", Self::MOST);
            return Err(ConfigError::new("actions", actions.len(), allowed));
        }
        for (index, action) in actions.iter().enumerate() {
            validate(action, &actions[..index])?;
        }
        // And `other`.
        let in_countries = countries.iter().count() + 1;
        let series = Segment::ALL.len() * actions.len() * in_countries;
        if series > Self::MOST_SERIES {
            let value = format!(
                "{} (actions) times {in_countries} (countries and `other`) times {} (segments)",
                actions.len(),
                Segment::ALL.len()
            );
            let allowed = format!("at most {} series in all", Self::MOST_SERIES);
            return Err(ConfigError::new("actions", value, allowed));
        }
        Ok(Self {
            actions: actions.into(),
            warned: AtomicBool::new(false),
        })
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.actions.iter().map(|action| &*action.name)
    }

    /// The action that a route declares.
    pub(super) fn on(&self, method: &Method, route: &Route) -> Option<usize> {
        let mut actions = self.actions.iter();
        actions.position(|action| action.is_on(method, route))
    }

    /// The action that a handler names.
    pub(super) fn named(&self, name: &'static str) -> Option<usize> {
        let found = self.names().position(|known| known == name);
        if found.is_none() && !self.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                target: "palisade::segment",
                event = "segment_action_unknown",
                action = name,
                "a handler named an action that the segments do not declare; it is not counted"
            );
        }
        found
    }
}

fn validate(action: &Action, earlier: &[Action]) -> Result<(), ConfigError> {
    let is_legal = (1..=64).contains(&action.name.len())
        && action
            .name
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'));
    if !is_legal {
        let allowed = "1 to 64 characters of `a-z0-9_-`";
        return Err(ConfigError::new("actions", &action.name, allowed));
    }
    if earlier.iter().any(|known| known.name == action.name) {
        let allowed = "a name of its own for each action";
        return Err(ConfigError::new("actions", &action.name, allowed));
    }
    for (method, template) in &action.routes {
        let refused = |allowed: &str| {
            Err(ConfigError::new(
                format!("actions.{}.routes", action.name),
                format_args!("{method} {template}"),
                allowed,
            ))
        };
        if !template.as_str().starts_with('/') {
            return refused("a method and a route template that starts with `/`");
        }
        if earlier.iter().any(|known| known.is_on(method, template)) {
            return refused("a route that no other action has: a response is one action");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(actions: Vec<Action>, countries: &Countries) -> String {
        Actions::new(actions, countries).unwrap_err().to_string()
    }

    #[test]
    fn refuses_names_that_are_no_labels_and_two_of_one_name_or_route() {
        let none = Countries::default();
        for name in ["", "Checkout", "check out", "käse", &"x".repeat(65)] {
            let message = refusal(vec![name.into()], &none);
            assert!(message.starts_with("`actions` cannot be"), "{message}");
        }
        let twice = refusal(vec!["a".into(), "a".into()], &none);
        assert!(twice.contains("a name of its own"), "{twice}");
        let on = |name: &str, template: &'static str| Action::new(name).on(Method::GET, template);
        let shared = refusal(vec![on("a", "/x"), on("b", "/x")], &none);
        assert!(shared.contains("`actions.b.routes`"), "{shared}");
        let relative = refusal(vec![on("a", "x")], &none);
        assert!(relative.contains("starts with `/`"), "{relative}");
    }

    #[test]
    fn refuses_more_than_2000_series() {
        let countries: Countries = (b'A'..=b'Z')
            .map(|letter| format!("A{}", char::from(letter)).parse().unwrap())
            .collect();
        let actions = |count: usize| (0..count).map(|n| Action::new(n.to_string())).collect();
        // 27 countries with `other`, five segments: 14 actions make 1,890 series and 15 make 2,025.
        assert!(Actions::new(actions(14), &countries).is_ok());
        let message = refusal(actions(15), &countries);
        assert!(message.contains("at most 2000 series"), "{message}");
        let message = refusal(actions(65), &Countries::default());
        assert!(message.contains("at most 64 actions"), "{message}");
    }
}
