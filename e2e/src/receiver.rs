//! A webhook that remembers. In: alerts by POST. Out: what was heard; it refuses with whatever status it is told to.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::Value;

use crate::RUNTIME;

/// The receiver; it listens until the test's process ends.
#[derive(Clone, Debug)]
pub struct Receiver(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    status: AtomicU16,
    heard: Mutex<Vec<Value>>,
}

impl Receiver {
    /// Listens at a port of 127.0.0.1 and answers with a status.
    #[must_use]
    pub fn listening(port: u16, status: u16) -> Self {
        let receiver = Self(Arc::new(Inner { status: AtomicU16::new(status), heard: Mutex::default() }));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("a free port");
        listener.set_nonblocking(true).expect("a socket of our own");
        // Bodies may be those of a whole exposition.
        let router = Router::new().route("/", post(hear)).layer(DefaultBodyLimit::max(16 << 20)).with_state(receiver.clone());
        RUNTIME.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime");
            axum::serve(listener, router).await
        });
        receiver
    }

    /// Answers with another status from now on.
    pub fn answer(&self, status: u16) {
        self.0.status.store(status, Ordering::SeqCst);
    }

    /// All that it took.
    #[must_use]
    pub fn heard(&self) -> Vec<Value> {
        self.0.heard.lock().expect("no holder panicked").clone()
    }

    /// How often it heard this status of the check `target`.
    #[must_use]
    pub fn said(&self, status: &str) -> usize {
        self.heard().iter().filter(|e| e["status"] == status && e["check"] == "target").count()
    }
}

async fn hear(State(receiver): State<Receiver>, Json(event): Json<Value>) -> StatusCode {
    let status = receiver.0.status.load(Ordering::SeqCst);
    if status == 200 {
        receiver.0.heard.lock().expect("no holder panicked").push(event);
    }
    StatusCode::from_u16(status).expect("a status")
}
