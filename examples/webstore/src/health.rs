//! `--health`: asks a running process how it is, for a container's health check, whose image has no curl.

use std::fmt::Display;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use axum::http::Uri;

/// How long connecting, asking and reading may take, each.
const PATIENCE: Duration = Duration::from_secs(2);
/// As much of an answer as is read, in bytes: its status line, and what little `/readyz` says.
const ANSWER: u64 = 8 * 1024;

/// Asks for the URL, and fails with what went wrong unless the answer is a 2xx.
pub(crate) fn check(url: &Uri) -> Result<(), String> {
    let shown = url.to_string();
    // A user and a password may stand before the host.
    let shown = match (shown.split_once("://"), shown.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, host))) => format!("{scheme}://…@{host}"),
        _ => shown,
    };
    let failed = |why: &dyn Display| format!("--health {shown}: {why}");
    let authority = match (url.scheme_str(), url.authority()) {
        (Some("http"), Some(authority)) => authority,
        _ => return Err(failed(&"not an absolute http URL")),
    };
    let port = authority.port_u16().unwrap_or(80);
    // An IPv6 address stands in brackets in a URL, and without them in a socket's address.
    let host = authority.host().trim_matches(['[', ']']);
    let path = url.path_and_query().map_or("/", |path| path.as_str());
    let answer = ask(host, port, authority.as_str(), path).map_err(|error| failed(&error))?;
    let status = answer.lines().next().unwrap_or_default();
    let code = status.split(' ').nth(1).unwrap_or_default();
    if code.len() == 3 && code.starts_with('2') {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    Err(failed(
        &format_args!("{status} {}", body.trim()).to_string(),
    ))
}

fn ask(host: &str, port: u16, authority: &str, path: &str) -> io::Result<String> {
    let mut last = io::Error::other("the name has no address");
    for address in (host, port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(stream) => return exchange(stream, authority, path),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn exchange(mut stream: TcpStream, authority: &str, path: &str) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(ANSWER).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
