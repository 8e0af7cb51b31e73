//! A web server whose connections break: of no use to anybody but a story about downloads.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

use crate::machine::Machine;
use crate::switch::Switch;

/// How it breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    /// Nothing from this tenth of the file on is ever sent.
    ForGoodAt(usize),
    /// A connection carries so many tenths and ends.
    EachAfter(usize),
    /// From this tenth of the file on every connection stays open and says nothing.
    StallsAt(usize),
}

#[derive(Debug)]
struct State {
    content: Vec<u8>,
    how: Mutex<Break>,
    connections: AtomicUsize,
    resumed: AtomicBool,
}

/// Serves one file on the machine's bridge until the process ends.
#[derive(Debug)]
pub(super) struct CutServer {
    address: SocketAddr,
    state: Arc<State>,
}

impl CutServer {
    /// Serves this file of the switch at an address of this machine.
    pub(super) fn of(switch: &Switch, file: &str, address: &str) -> Result<CutServer> {
        let copy = Machine::path(&format!("build/{}-cut.tar", switch.name()));
        switch.copy_out(file, &copy.to_string_lossy())?;
        let content = fs::read(&copy).context("the file to serve")?;
        fs::remove_file(&copy)?;
        let listener =
            TcpListener::bind((address, 0)).with_context(|| format!("cannot listen at {address}"))?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            content,
            how: Mutex::new(Break::EachAfter(10)),
            connections: AtomicUsize::new(0),
            resumed: AtomicBool::new(false),
        });
        let served = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                served.connections.fetch_add(1, Ordering::Relaxed);
                // Whoever hangs up is none of our business: that is what this server is for.
                let _ = serve(stream, &served);
            }
        });
        Ok(CutServer { address, state })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/story.tar", self.address)
    }

    pub(super) fn cut_for_good_at(&self, tenth: usize) {
        self.set(Break::ForGoodAt(tenth));
    }

    pub(super) fn cut_each_after(&self, tenths: usize) {
        self.set(Break::EachAfter(tenths));
    }

    pub(super) fn stall_at(&self, tenth: usize) {
        self.set(Break::StallsAt(tenth));
    }

    /// Since the way of breaking was last changed.
    pub(super) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    /// Whether anybody asked for the rest of the file.
    pub(super) fn resumed(&self) -> bool {
        self.state.resumed.load(Ordering::Relaxed)
    }

    fn set(&self, how: Break) {
        *self.state.how.lock().unwrap_or_else(PoisonError::into_inner) = how;
        self.state.connections.store(0, Ordering::Relaxed);
        self.state.resumed.store(false, Ordering::Relaxed);
    }
}

fn serve(mut stream: TcpStream, state: &State) -> Result<()> {
    let mut from = 0;
    let mut head = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        head.read_line(&mut line)?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(range) = line.strip_prefix("range: bytes=") {
            from = range.split('-').next().unwrap_or_default().parse()?;
        }
    }
    if from > 0 {
        state.resumed.store(true, Ordering::Relaxed);
    }
    let whole = state.content.len();
    let tenth = whole / 10;
    let how = *state.how.lock().unwrap_or_else(PoisonError::into_inner);
    let end = match how {
        Break::ForGoodAt(tenths) | Break::StallsAt(tenths) => tenth * tenths,
        Break::EachAfter(tenths) => from + tenth * tenths,
    };
    let end = end.clamp(from.min(whole), whole);
    let status = if from > 0 {
        format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{whole}", whole - 1)
    } else {
        "200 OK".to_owned()
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nETag: \"one\"\r\nAccept-Ranges: bytes\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        whole - from
    )?;
    stream.write_all(&state.content[from..end])?;
    if matches!(how, Break::StallsAt(_)) {
        // Until the other side has had enough.
        io::copy(&mut head, &mut io::sink())?;
    }
    Ok(())
}
