use http::{Method, StatusCode};

use crate::ConfigError;
use crate::model::Route;

/// A stage of the funnel: the responses that reach it, and its payment methods.
#[derive(Debug, Clone)]
#[must_use]
pub struct Stage {
    pub(super) name: Box<str>,
    pub(super) routes: Vec<(Method, Route)>,
    pub(super) class: StatusClass,
    pub(super) payment_methods: Vec<Box<str>>,
}

/// A class of final status codes (RFC 9110, section 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum StatusClass {
    /// 2xx.
    #[default]
    Successful = 2,
    /// 3xx, as after a form that was posted; `304 Not Modified` is one too.
    Redirection = 3,
    /// 4xx.
    ClientError = 4,
    /// 5xx.
    ServerError = 5,
}

impl StatusClass {
    /// Whether the status is of this class.
    #[must_use]
    pub fn contains(self, status: StatusCode) -> bool {
        status.as_u16() / 100 == self as u16
    }
}

impl Stage {
    /// A stage of this name. A handler can name it by [`Reached`](super::Reached), and [`on`](Self::on) adds a route whose
    /// responses reach it.
    ///
    /// The name is the label: 1 to 64 characters of `a-z0-9_-`.
    pub fn new(name: impl Into<Box<str>>) -> Self {
        Self {
            name: name.into(),
            routes: Vec::new(),
            class: StatusClass::default(),
            payment_methods: Vec::new(),
        }
    }

    /// Adds a way to reach the stage: this method, exactly, on the route of this template.
    pub fn on(mut self, method: Method, template: impl Into<Route>) -> Self {
        self.routes.push((method, template.into()));
        self
    }

    /// Which responses reach the stage; 2xx unless set.
    pub fn status(mut self, class: StatusClass) -> Self {
        self.class = class;
        self
    }

    /// The payment methods of this stage, each 1 to 64 characters of `a-z0-9_-`. Any other that a handler names,
    /// or none, counts as `other`. Without this setting the stage has no payment methods.
    pub fn payment_methods(
        mut self,
        methods: impl IntoIterator<Item = impl Into<Box<str>>>,
    ) -> Self {
        self.payment_methods = methods.into_iter().map(Into::into).collect();
        self
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn routes(&self) -> impl Iterator<Item = &(Method, Route)> {
        self.routes.iter()
    }

    pub(super) fn is_on(&self, method: &Method, route: &Route) -> bool {
        let mut routes = self.routes.iter();
        routes.any(|(of, template)| of == method && template == route)
    }

    /// How many series the stage has in one country.
    pub(super) fn series(&self) -> usize {
        match self.payment_methods.len() {
            0 => 1,
            methods => methods + 1,
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        if !is_label(&self.name) {
            return Err(ConfigError::new("stages", &self.name, LABEL));
        }
        let of_stage = |key: &str| format!("stages.{}.{key}", self.name);
        for (method, template) in &self.routes {
            if !template.as_str().starts_with('/') {
                return Err(ConfigError::new(
                    of_stage("routes"),
                    format_args!("{method} {template}"),
                    "a method and a route template that starts with `/`",
                ));
            }
        }
        let refused = |method: &str, allowed: &str| {
            Err(ConfigError::new(
                of_stage("payment_methods"),
                method,
                allowed,
            ))
        };
        for (index, method) in self.payment_methods.iter().enumerate() {
            if !is_label(method) {
                return refused(method, LABEL);
            }
            if &**method == OTHER {
                return refused(
                    method,
                    "any other name: this one stands for whatever is not listed",
                );
            }
            if self.payment_methods[..index].contains(method) {
                return refused(method, "each payment method once");
            }
        }
        Ok(())
    }
}

/// The label of a payment method that the stage does not list.
pub(super) const OTHER: &str = "other";

const LABEL: &str = "1 to 64 characters of `a-z0-9_-`";

fn is_label(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-'))
}
