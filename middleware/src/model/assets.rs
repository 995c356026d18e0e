//! Paths that browsers, phones and crawlers ask for by themselves, whether or not a site has them, and files of a page that a
//! release has taken away.

const FILES: [&str; 13] = [
    "/ads.txt",
    "/app-ads.txt",
    "/apple-app-site-association",
    "/browserconfig.xml",
    "/crossdomain.xml",
    "/humans.txt",
    "/manifest.json",
    "/manifest.webmanifest",
    "/robots.txt",
    "/security.txt",
    "/site.webmanifest",
    "/sitemap.xml",
    "/sitemap_index.xml",
];

/// Icons of any size: the beginnings and the ends of their names.
const ICONS: [(&str, &[&str]); 4] = [
    ("/favicon", &[".ico", ".png", ".svg"]),
    ("/apple-touch-icon", &[".png"]),
    ("/android-chrome-", &[".png"]),
    ("/mstile-", &[".png"]),
];

/// Where bundlers put what a page is made of. A page of yesterday's release, or of a broken one, asks for many such files.
const BUILDS: [&str; 9] = [
    "/_app/",
    "/_next/static/",
    "/_nuxt/",
    "/assets/",
    "/build/",
    "/chunks/",
    "/dist/",
    "/packs/",
    "/static/",
];

/// What they put there.
const BUILT: [&str; 15] = [
    ".avif", ".css", ".gif", ".ico", ".jpeg", ".jpg", ".js", ".map", ".mjs", ".png", ".svg",
    ".ttf", ".webp", ".woff", ".woff2",
];

/// Whether a path is one of these: the files, the icons, everything in `/.well-known/` (RFC 8615), and scripts, styles, fonts and
/// pictures below a folder of builds.
pub(super) fn is_asset(path: &str) -> bool {
    // Nothing that a server may read as another path.
    let is_plain = |rest: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/".contains(&byte);
        rest.bytes().all(plain) && !rest.contains("..")
    };
    let is_icon = |(begin, ends): &(&str, &[&str])| {
        let rest = path.strip_prefix(begin);
        let name = rest.and_then(|rest| ends.iter().find_map(|end| rest.strip_suffix(end)));
        name.is_some_and(|name| is_plain(name) && !name.contains('/'))
    };
    let is_built = |folder: &&str| {
        let rest = path.strip_prefix(folder);
        rest.is_some_and(|rest| is_plain(rest) && BUILT.iter().any(|end| rest.ends_with(end)))
    };
    FILES.contains(&path)
        || ICONS.iter().any(is_icon)
        || path.strip_prefix("/.well-known/").is_some_and(is_plain)
        || BUILDS.iter().any(is_built)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_is_asked_for_unbidden_and_nothing_that_hides_behind_it() {
        for path in [
            "/favicon.ico",
            "/favicon-32x32.png",
            "/apple-touch-icon.png",
            "/apple-touch-icon-120x120-precomposed.png",
            "/robots.txt",
            "/.well-known/security.txt",
            "/.well-known/acme-challenge/token",
            "/assets/chunk-9.js",
            "/assets/index-BfQ2x3Yk.css",
            "/static/js/main.8f3c2a1b.chunk.js.map",
            "/_next/static/chunks/pages/_app-1a2b.js",
            "/build/fonts/inter.woff2",
        ] {
            assert!(is_asset(path), "{path}");
        }
        for path in [
            "/",
            "/favicon.php",
            "/favicon/../wp-login.png",
            "/apple-touch-icon/wp.png",
            "/blog/robots.txt",
            "/robots.txt/",
            "/.well-known",
            "/.well-known/../wp-login.php",
            "/.well-known/%2e%2e/wp-login.php",
            "/assets/",
            "/assets/shell.php",
            "/assets/config.json",
            "/assets/.env",
            "/assets/../admin.js",
            "/assets/%2e%2e/admin.js",
            "/assets/a.php;.js",
            "/blog/assets/a.js",
            "/admin.js",
        ] {
            assert!(!is_asset(path), "{path}");
        }
    }
}
