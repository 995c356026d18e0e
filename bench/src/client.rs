//! A few requests over one connection, to check a service and to fill its logs; the load itself is wrk's.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Result;
use crate::load::PATH;

/// A connection that is kept alive.
pub(crate) struct Connection(BufReader<TcpStream>);

/// What the checks look at.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Asks for the product list as client number `client`, as `load.lua` does.
    pub(crate) fn ask(&mut self, client: u32) -> Result<Answer> {
        let [_, a, b, c] = client.to_be_bytes();
        let request = format!(
            "GET {PATH} HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: 10.{a}.{b}.{c}\r\n\
             Authorization: Bearer user-token-c{client}\r\n\r\n"
        );
        self.0.get_mut().write_all(request.as_bytes())?;
        let status_line = self.line()?;
        let status = status_line
            .split(' ')
            .nth(1)
            .ok_or("no status line")?
            .parse()?;
        let mut length = 0;
        loop {
            let line = self.line()?.to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body)?;
        Ok(Answer { status, body })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        Ok(line.trim_end().to_owned())
    }
}
