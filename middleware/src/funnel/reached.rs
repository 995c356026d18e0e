use std::borrow::Cow;

/// The stage that a response reached, as its handler says by this extension of the response.
///
/// It takes precedence over the stage that the route declares. A stage that the layer does not know is not
/// counted, and a warning is logged once.
///
/// With axum, return it as a part of the response:
///
/// ```
/// # #[cfg(feature = "axum")] {
/// use axum::Extension;
/// use palisade::funnel::Reached;
///
/// async fn order() -> (Extension<Reached>, &'static str) {
///     (Extension(Reached::payment("checkout_complete", "paypal")), "thank you")
/// }
/// # let _: axum::Router = axum::Router::new().route("/orders", axum::routing::post(order));
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached(pub(super) What);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    Nothing,
    Stage {
        name: &'static str,
        payment_method: Cow<'static, str>,
    },
}

impl Reached {
    /// The stage of this name, whatever the route. Where that stage has payment methods, it counts as `other`.
    #[must_use]
    pub const fn stage(name: &'static str) -> Self {
        Self(What::Stage {
            name,
            payment_method: Cow::Borrowed(""),
        })
    }

    /// The stage of this name and the payment method: one of the stage's, else `other`.
    #[must_use]
    pub fn payment(name: &'static str, method: impl Into<Cow<'static, str>>) -> Self {
        Self(What::Stage {
            name,
            payment_method: method.into(),
        })
    }

    /// No stage, though the route declares one: for an answer that was given before.
    #[must_use]
    pub const fn nothing() -> Self {
        Self(What::Nothing)
    }
}
