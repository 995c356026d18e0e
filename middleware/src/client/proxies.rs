//! Whether the trusted proxies and their header fit what requests come with.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use http::HeaderMap;

use super::ForwardedHeader;

/// Looks at the first thousand requests, says once what does not fit, and then costs a request one relaxed load.
///
/// What it says needs half of them, since any client can send the header.
#[derive(Debug, Default)]
pub(super) struct ProxyCheck {
    is_over: AtomicBool,
    requests: AtomicU32,
    /// From a trusted peer.
    trusted: AtomicU32,
    /// From a trusted peer, with the header.
    believed: AtomicU32,
    /// From any other peer, with the header.
    ignored: AtomicU32,
}

impl ProxyCheck {
    const ENOUGH: u32 = 1_000;

    #[inline]
    pub(super) fn heed(&self, is_trusted: bool, header: ForwardedHeader, headers: &HeaderMap) {
        if !self.is_over.load(Ordering::Relaxed) {
            self.look(is_trusted, header, header.is_in(headers));
        }
    }

    #[cold]
    fn look(&self, is_trusted: bool, header: ForwardedHeader, has_header: bool) {
        let add = |count: &AtomicU32, is_one: bool| {
            let one = u32::from(is_one);
            count.fetch_add(one, Ordering::Relaxed) + one
        };
        let trusted = add(&self.trusted, is_trusted);
        let believed = add(&self.believed, is_trusted && has_header);
        let ignored = add(&self.ignored, !is_trusted && has_header);
        // One request alone is the thousandth.
        if add(&self.requests, true) != Self::ENOUGH {
            return;
        }
        self.is_over.store(true, Ordering::Relaxed);
        let half = Self::ENOUGH / 2;
        if trusted == 0 && ignored >= half {
            tracing::warn!(
                target: "palisade::client",
                event = "forwarded_header_ignored",
                key = "client.trusted_proxies",
                header = header.as_str(),
                "requests come with a forwarding header, but none from a trusted proxy: everybody behind one proxy counts \
                 as one client; if they come through proxies of yours, list these"
            );
        }
        if trusted >= half && believed == 0 {
            tracing::warn!(
                target: "palisade::client",
                event = "forwarded_header_missing",
                key = "client.forwarded_header",
                header = header.as_str(),
                "trusted proxies send requests without the configured header: everybody behind one proxy counts as one \
                 client; let them write it, or name the header that they write"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Lines;

    /// Lines after so many requests, each from a trusted peer or not, with the header or without.
    fn said(requests: impl IntoIterator<Item = (bool, bool)>) -> Vec<String> {
        let (lines, _guard) = Lines::capture();
        let check = ProxyCheck::default();
        for (is_trusted, has_header) in requests {
            let mut headers = HeaderMap::new();
            if has_header {
                headers.insert("x-forwarded-for", "192.0.2.1".parse().unwrap());
            }
            check.heed(is_trusted, ForwardedHeader::XForwardedFor, &headers);
        }
        lines.take()
    }

    #[test]
    fn a_header_that_nobody_trusted_sends_is_told_once() {
        let ignored =
            "WARN forwarded_header_ignored header=x-forwarded-for key=client.trusted_proxies";
        assert_eq!(said([(false, true); 999]), [""; 0]);
        assert_eq!(said([(false, true); 3_000]), [ignored]);
        // Some clients send it of themselves; a proxy that is trusted shows that the list fits.
        let some = (0..3_000).map(|n| (false, n % 3 == 0));
        assert_eq!(said(some), [""; 0]);
        let health = (0..3_000).map(|n| (n == 7, true));
        assert_eq!(said(health), [""; 0]);
    }

    #[test]
    fn a_trusted_proxy_that_sends_no_header_is_told_once() {
        let missing =
            "WARN forwarded_header_missing header=x-forwarded-for key=client.forwarded_header";
        assert_eq!(said([(true, false); 3_000]), [missing]);
        let one = (0..3_000).map(|n| (true, n == 7));
        assert_eq!(said(one), [""; 0]);
        assert_eq!(said([(false, false); 3_000]), [""; 0]);
    }
}
