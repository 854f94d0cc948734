//! A TCP proxy between the engine and the server, which the driver cuts and slows.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What the proxy does with bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Way {
    /// Passes them on.
    Open,
    /// Passes a few of them on at a time.
    Slow,
    /// Accepts connections and closes them.
    Cut,
}

/// The proxy. Its threads end with the process.
pub(crate) struct Proxy {
    port: u16,
    way: Arc<AtomicU8>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// Listens on a free port of 127.0.0.1, and connects to `target` there.
    pub(crate) fn start(target: u16) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (way, open) = (Arc::new(AtomicU8::new(Way::Open as u8)), Arc::new(Mutex::new(Vec::new())));
        let proxy = Proxy { port, way: Arc::clone(&way), open: Arc::clone(&open) };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if way.load(Ordering::SeqCst) == Way::Cut as u8 {
                    continue;
                }
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)) else { continue };
                for (from, to) in [(&client, &server), (&server, &client)] {
                    let (from, to, way) = (from.try_clone().unwrap(), to.try_clone().unwrap(), Arc::clone(&way));
                    std::thread::spawn(move || pass_on(from, to, &way));
                }
                open.lock().unwrap().extend([client, server]);
            }
        });
        proxy
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// Changes what happens to bytes from now on.
    pub(crate) fn set(&self, way: Way) {
        self.way.store(way as u8, Ordering::SeqCst);
        if way == Way::Cut {
            for stream in self.open.lock().unwrap().drain(..) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, way: &AtomicU8) {
    let mut buffer = [0; 1 << 16];
    loop {
        let slow = way.load(Ordering::SeqCst) == Way::Slow as u8;
        let most = if slow { 700 } else { buffer.len() };
        match from.read(&mut buffer[..most]) {
            Ok(read) if read > 0 && to.write_all(&buffer[..read]).is_ok() => {}
            _ => break,
        }
        if slow {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}
