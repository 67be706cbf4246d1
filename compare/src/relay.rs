//! One connection through this process: what passes is copied, and kept in the order in which it passed.
//!
//! In: where the edge listens. Out: where to connect instead; then what passed. Bytes are kept before they are handed on, so that an
//! answer never stands before its question.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use analysis::tcp::flow::Side;

use crate::counts::Passed;

/// A relay for one connection.
pub struct Relay {
    address: SocketAddr,
    passed: Arc<Mutex<Passed>>,
    thread: JoinHandle<io::Result<()>>,
}

impl Relay {
    /// Listens, and will hand the first connection on to the edge.
    ///
    /// # Errors
    /// If it cannot listen on loopback.
    pub fn to(edge: SocketAddr, patience: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let passed = Arc::new(Mutex::new(Passed::new()));
        let kept = Arc::clone(&passed);
        let thread = std::thread::spawn(move || {
            let (client, _) = listener.accept()?;
            let server = TcpStream::connect_timeout(&edge, patience)?;
            for stream in [&client, &server] {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(patience))?;
            }
            std::thread::scope(|scope| {
                scope.spawn(|| copy(Side::Client, &client, &server, &kept));
                copy(Side::Server, &server, &client, &kept);
            });
            Ok(())
        });
        Ok(Self { address, passed, thread })
    }

    /// Where to connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What passed, once the client is done.
    ///
    /// # Errors
    /// If the edge could not be connected to.
    pub fn passed(self) -> io::Result<Passed> {
        // A client that never came would be waited for.
        drop(TcpStream::connect(self.address));
        self.thread.join().map_err(|_| io::Error::other("the relay's thread panicked"))??;
        Ok(std::mem::take(&mut *self.passed.lock().unwrap_or_else(std::sync::PoisonError::into_inner)))
    }
}

fn copy(side: Side, mut from: &TcpStream, mut to: &TcpStream, kept: &Mutex<Passed>) {
    let mut buffer = [0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((side, buffer[..n].to_vec()));
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    // A client that is gone waits for nothing more; an edge that is gone has perhaps not heard all.
    let _ = to.shutdown(if side == Side::Client { Shutdown::Both } else { Shutdown::Write });
}
