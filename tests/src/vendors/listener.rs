//! What every simulated vendor's HTTP server is made of: a thread of its own, a body that breaks off,
//! and a rate limit that counts the second that ends now.
//!
//! Absent: routes, statuses and bodies; they are the vendor's.

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError, mpsc};
use std::task::{Context, Poll};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, MessageBody};
use actix_web::dev::ServerHandle;
use actix_web::web::{Bytes, ServiceConfig};
use actix_web::{App, HttpServer};

/// Serves what `configure` registers on `listener`, on a thread of its own, until the handle stops it.
///
/// # Errors
/// The system gives no thread, or the socket cannot be listened on.
pub(super) fn spawn(
    name: &str,
    listener: TcpListener,
    configure: impl Fn(&mut ServiceConfig) + Clone + Send + 'static,
) -> io::Result<(ServerHandle, JoinHandle<()>)> {
    let (started, starting) = mpsc::sync_channel(1);
    let thread = std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let listening = HttpServer::new(move || App::new().configure(configure.clone()))
                    .workers(1)
                    .disable_signals()
                    .listen(listener);
                match listening {
                    Ok(server) => {
                        let server = server.run();
                        // The receiver waits below; if it is gone, there is nobody to serve.
                        if started.send(Ok(server.handle())).is_ok() {
                            let _ = server.await;
                        }
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
        })?;
    let server = starting
        .recv()
        .map_err(|_| io::Error::other("the simulator's thread ended before it served"))??;
    Ok((server, thread))
}

/// When the requests of the last second came.
#[derive(Debug, Default)]
pub(super) struct Window(Mutex<VecDeque<Instant>>);

impl Window {
    /// Counts a request against the second that ends now; false if there is no room.
    pub(super) fn has_room(&self, requests_per_second_max: u32) -> bool {
        let now = Instant::now();
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while recent
            .front()
            .is_some_and(|at| now.duration_since(*at) >= Duration::from_secs(1))
        {
            recent.pop_front();
        }
        if recent.len() >= requests_per_second_max as usize {
            return false;
        }
        recent.push_back(now);
        true
    }
}

/// A body that promises bytes and then breaks: the server can only close the connection.
pub(super) struct Broken;

impl MessageBody for Broken {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(1024)
    }

    fn poll_next(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, io::Error>>> {
        Poll::Ready(Some(Err(io::ErrorKind::ConnectionAborted.into())))
    }
}
