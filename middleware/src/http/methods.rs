//! Methods as labels and log fields.

/// The methods known to the OTel HTTP conventions: RFC 9110, PATCH (RFC 5789) and QUERY (RFC 10008). Last, what
/// stands for any other, which is the client's own text.
pub(crate) const METHODS: [&str; 11] = [
    "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE", "QUERY",
    "_OTHER",
];

/// The place of a method among [`METHODS`]; methods are case-sensitive (RFC 9110, section 9.1), so `get` is another.
pub(crate) fn place(method: &http::Method) -> usize {
    const OTHER: usize = METHODS.len() - 1;
    let mut known = METHODS[..OTHER].iter();
    let found = known.position(|name| *name == method.as_str());
    found.unwrap_or(OTHER)
}

/// Whether the method is one of [`METHODS`].
pub(crate) fn is_standard(method: &http::Method) -> bool {
    place(method) < METHODS.len() - 1
}
