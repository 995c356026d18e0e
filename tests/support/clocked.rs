//! A real redis-server whose scripts read a clock that the test moves.
//!
//! A store connects to a proxy, which hands on all it says but one thing: in the text of a script each call of `TIME` becomes
//! the moment of the test. Such a text has another hash at each moment, so the server never knows the hash that the store asks
//! for, and the store sends the text each time. The server's answers pass as they are.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use redis::Connection;

use crate::redis::RedisServer;

/// What scripts call for the time.
const TIME: [&str; 2] = ["call('TIME')", "try('TIME')"];
/// Removes what has expired at this moment, in milliseconds, and the texts of the moments before.
const EXPIRE: &str = "
    for _, key in ipairs(redis.call('KEYS', '*')) do
        local expires = redis.call('PEXPIRETIME', key)
        if expires >= 0 and expires < tonumber(ARGV[1]) then
            redis.call('DEL', key)
        end
    end
";

/// The server, and the proxy before it.
pub struct ClockedRedis {
    server: RedisServer,
    port: u16,
    hand: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    admin: Mutex<Connection>,
}

impl ClockedRedis {
    /// A new server; its scripts find this moment, in microseconds since 1970. It should lie ahead of the real one, so that
    /// nothing expires but at [`set`](Self::set).
    ///
    /// # Panics
    /// No port is free.
    #[must_use]
    pub fn start(now: u64) -> Self {
        let server = RedisServer::start();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let hand = Arc::new(AtomicU64::new(now));
        let ended = Arc::new(AtomicBool::new(false));
        let (clock, end, upstream) = (Arc::clone(&hand), Arc::clone(&ended), server.port());
        thread::spawn(move || {
            for client in listener.incoming() {
                if end.load(Ordering::SeqCst) {
                    return;
                }
                let server = TcpStream::connect((Ipv4Addr::LOCALHOST, upstream));
                // Without the server the client finds its connection closed.
                if let (Ok(client), Ok(server)) = (client, server) {
                    hand_on(client, server, &clock);
                }
            }
        });
        let admin = redis::Client::open(server.admin_url()).expect("an address");
        let admin = admin.get_connection().expect("a connection");
        Self {
            server,
            port,
            hand,
            ended,
            admin: Mutex::new(admin),
        }
    }

    /// The server behind the proxy, with the real clock.
    #[must_use]
    pub fn server(&self) -> &RedisServer {
        &self.server
    }

    /// [`RedisServer::url`], through the proxy.
    #[must_use]
    pub fn url(&self) -> String {
        let (from, to) = (self.server.port().to_string(), self.port.to_string());
        self.server.url().replace(&from, &to)
    }

    /// Sets the clock, forward or back, and lets what has expired by then expire.
    ///
    /// # Panics
    /// The server fails.
    pub fn set(&self, now: u64) {
        self.hand.store(now, Ordering::SeqCst);
        let mut admin = self.admin.lock().unwrap_or_else(PoisonError::into_inner);
        redis::pipe()
            .cmd("SCRIPT")
            .arg("FLUSH")
            .cmd("EVAL")
            .arg(EXPIRE)
            .arg(0)
            .arg(now / 1_000)
            .exec(&mut *admin)
            .expect("what has expired to expire");
    }
}

impl Drop for ClockedRedis {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts, which then ends.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// Hands on both ways, until either side closes.
fn hand_on(client: TcpStream, server: TcpStream, clock: &Arc<AtomicU64>) {
    let clones = (client.try_clone(), server.try_clone());
    let (Ok(mut to_client), Ok(mut to_server)) = clones else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let clock = Arc::clone(clock);
    thread::spawn(move || {
        let mut from = BufReader::new(client);
        while let Some(command) = next_command(&mut from) {
            let command = encoded(at(command, clock.load(Ordering::SeqCst)));
            if to_server.write_all(&command).is_err() {
                break;
            }
        }
        let _ = to_server.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let mut from = server;
        let _ = std::io::copy(&mut from, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
}

/// The next command, as a client writes one: an array of texts.
fn next_command(from: &mut impl BufRead) -> Option<Vec<Vec<u8>>> {
    let parts = number(from, b'*')?;
    let part = |_| {
        let mut bytes = vec![0; number(from, b'$')? + 2];
        from.read_exact(&mut bytes).ok()?;
        bytes.truncate(bytes.len() - 2);
        Some(bytes)
    };
    (0..parts).map(part).collect()
}

fn number(from: &mut impl BufRead, mark: u8) -> Option<usize> {
    let mut line = Vec::new();
    from.read_until(b'\n', &mut line).ok()?;
    let digits = line.strip_prefix(&[mark])?.strip_suffix(b"\r\n")?;
    str::from_utf8(digits).ok()?.parse().ok()
}

/// The command, whose script reads this moment.
fn at(mut command: Vec<Vec<u8>>, now: u64) -> Vec<Vec<u8>> {
    if let [name, script, ..] = &mut *command
        && name.eq_ignore_ascii_case(b"EVAL")
    {
        let moment = format!("{{ {}, {} }}", now / 1_000_000, now % 1_000_000);
        let text = String::from_utf8_lossy(script).into_owned();
        let text = TIME
            .iter()
            .fold(text, |text, time| text.replace(time, &moment));
        assert!(!text.contains("'TIME'"), "a script reads another clock");
        *script = text.into_bytes();
    }
    command
}

fn encoded(command: Vec<Vec<u8>>) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for part in command {
        bytes.extend(format!("${}\r\n", part.len()).into_bytes());
        bytes.extend(part);
        bytes.extend(b"\r\n");
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_finds_the_moment_of_the_test_and_nothing_else_is_changed() {
        let command = |parts: &[&str]| -> Vec<Vec<u8>> {
            parts.iter().map(|part| part.as_bytes().to_vec()).collect()
        };
        let eval = command(&["EVAL", "local time = call('TIME')", "0", "call('TIME')"]);
        let moved = at(eval.clone(), 12_000_034);
        assert_eq!(moved[1], b"local time = { 12, 34 }");
        assert_eq!((&moved[0], &moved[2..]), (&eval[0], &eval[2..]));
        let set = command(&["SET", "k\r\n$", ""]);
        let written = encoded(set.clone());
        assert_eq!(written, b"*3\r\n$3\r\nSET\r\n$4\r\nk\r\n$\r\n$0\r\n\r\n");
        assert_eq!(next_command(&mut &*written), Some(set));
        assert_eq!(next_command(&mut &b"*1\r\n$9\r\nSE"[..]), None);
    }
}
