//! Child processes that never outlive the benchmark.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::Result;

/// A process of this program that ends when its standard input does.
///
/// The pipe closes however this process ends (return, panic, ctrl-c, SIGKILL), so nothing is left behind.
pub(crate) struct Tethered {
    child: Child,
    // Options, so that the pipe can be closed before the wait.
    pipe: Option<ChildStdin>,
    output: Option<BufReader<ChildStdout>>,
}

impl Tethered {
    /// Starts this program again with other arguments.
    pub(crate) fn start(arguments: &[String]) -> Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Self {
            pipe: child.stdin.take(),
            output: child.stdout.take().map(BufReader::new),
            child,
        })
    }

    /// Starts another program below a process of this one that holds the tether.
    pub(crate) fn start_program(program: &str, arguments: &[String]) -> Result<Self> {
        let tether = ["tether", "--", program].map(str::to_owned);
        Self::start(&[&tether, arguments].concat())
    }

    /// The process, to look up what it has used.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if let Some(output) = &mut self.output {
            output.read_line(&mut line)?;
        }
        if line.is_empty() {
            return Err("a process of the benchmark ended early; see above".into());
        }
        Ok(line.trim_end().to_owned())
    }

    /// What [`answer_parent`] answers.
    pub(crate) fn ask(&mut self) -> Result<String> {
        if let Some(pipe) = &mut self.pipe {
            pipe.write_all(b"\n")?;
        }
        self.line()
    }
}

impl Drop for Tethered {
    fn drop(&mut self) {
        drop(self.pipe.take());
        // A process that is gone already leaves nothing to wait for.
        let _ = self.child.wait();
    }
}

/// Prints an answer for each line of standard input, and ends this process when that ends.
pub(crate) fn answer_parent(answer: impl Fn() -> String + Send + 'static) {
    thread::spawn(move || {
        for _ in std::io::stdin().lines().map_while(std::io::Result::ok) {
            println!("{}", answer());
        }
        std::process::exit(0);
    });
}

/// Runs a program until it ends or the parent does.
pub(crate) fn tether(command: &[String]) -> Result<()> {
    let (program, arguments) = command.split_first().ok_or("no program to run")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot start {program}: {error}"))?;
    let (ended, parent_ended) = mpsc::channel();
    thread::spawn(move || {
        wait_for_parent();
        ended.send(())
    });
    loop {
        if let Some(status) = child.try_wait()? {
            return Err(format!("{program} ended early: {status}").into());
        }
        if parent_ended
            .recv_timeout(Duration::from_millis(200))
            .is_ok()
        {
            child.kill()?;
            child.wait()?;
            return Ok(());
        }
    }
}

fn wait_for_parent() {
    // Nothing is ever written: the read ends with the parent, by end of file or by an error.
    let _ = std::io::stdin().read(&mut [0]);
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// CPU that a process has used so far, user and system, in µs; `None` where there is no `/proc`.
pub(crate) fn cpu_micros(id: u32) -> Option<f64> {
    // Fields 14 and 15, in ticks of 1/100 s on every Linux; the name before them may hold spaces.
    let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    Some((user + system) * 10_000.0)
}

/// Memory of this process that is in RAM, in bytes; `None` where there is no `/proc`.
pub(crate) fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024.0)
}
