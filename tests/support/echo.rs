//! Servers that speak like Redis and repeat in their errors whatever they were sent, as some proxies do, and those that are no
//! Redis at all.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

/// How a server treats a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echo {
    /// Every command is refused, with all that it said.
    Everything,
    /// The same as the code of the error, in capitals.
    AsCode,
    /// The connection may begin; every later command is refused with what began it.
    Later,
    /// What is no Redis answers this to whatever it is sent.
    Always(&'static [u8]),
}

/// Starts a server for as long as the test runs, and returns its port.
///
/// # Panics
/// There is no free port.
#[must_use]
pub fn start(echo: Echo) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || serve(stream, echo));
        }
    });
    port
}

const GREETING: &[u8] = b"%3\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$6\r\nmaster\r\n";

fn serve(mut stream: TcpStream, echo: Echo) {
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        let commands = buffer[..read]
            .windows(2)
            .enumerate()
            .filter(|(at, pair)| {
                let begins = *at == 0 || buffer[at - 1] == b'\n';
                begins && pair[0] == b'*' && pair[1].is_ascii_digit()
            })
            .count();
        heard.extend_from_slice(&buffer[..read.min(512)]);
        heard.truncate(2_048);
        let text = String::from_utf8_lossy(&heard).replace(['\r', '\n'], " ");
        let is_greeting = buffer[..read].windows(5).any(|it| it == b"HELLO");
        if let Echo::Always(answer) = echo {
            let _ = stream.write_all(answer);
            return;
        }
        for _ in 0..commands {
            let answer = match echo {
                Echo::Later if is_greeting => GREETING.to_vec(),
                Echo::AsCode => {
                    let code = text.split(' ').rfind(|it| it.len() > 8).unwrap_or("ERR");
                    format!("-{} {text}\r\n", code.to_uppercase()).into_bytes()
                }
                _ => format!("-ERR you said {text}\r\n").into_bytes(),
            };
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    }
}
