//! One TCP connection: the name looked up, each of its addresses tried, bound to an interface if one is named.

use std::io;
use std::net::SocketAddr;

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout;

use super::error::one_line;
use super::{FetchError, Patience};

/// Where to connect to, and what it is called in errors.
pub(super) struct Server {
    /// A name, or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

impl Server {
    pub(super) fn shown(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

/// Connects. Of several addresses the last one's failure is told.
pub(super) async fn connect(
    server: &Server,
    interface: Option<&str>,
    patience: &Patience,
) -> Result<TcpStream, FetchError> {
    let no_answer = || FetchError::NoAnswer { server: server.shown(), seconds: patience.connect.as_secs() };
    let unknown =
        |cause: &str| FetchError::NameNotFound { host: server.host.clone(), cause: one_line(cause) };
    let addresses = timeout(patience.connect, lookup_host((server.host.as_str(), server.port)))
        .await
        .map_err(|_| unknown("no name server answers in time"))?
        .map_err(|error| unknown(&error.to_string()))?;
    let mut last = unknown("it has no address");
    for address in addresses {
        last = match timeout(patience.connect, connect_to(address, interface)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(Failure::Interface(error))) => {
                let name = interface.unwrap_or_default().to_owned();
                return Err(FetchError::Interface { name, cause: one_line(&error.to_string()) });
            }
            Ok(Err(Failure::Connection(error))) => failed(server, &error),
            Err(_) => no_answer(),
        };
    }
    Err(last)
}

enum Failure {
    Interface(io::Error),
    Connection(io::Error),
}

async fn connect_to(address: SocketAddr, interface: Option<&str>) -> Result<TcpStream, Failure> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(Failure::Connection)?;
    // Keepalive is left out: whoever reads has a time limit of his own.
    if let Some(name) = interface {
        socket.bind_device(Some(name.as_bytes())).map_err(Failure::Interface)?;
    }
    let stream = socket.connect(address).await.map_err(Failure::Connection)?;
    stream.set_nodelay(true).map_err(Failure::Connection)?;
    Ok(stream)
}

fn failed(server: &Server, error: &io::Error) -> FetchError {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => FetchError::Refused(server.shown()),
        _ => FetchError::Unreachable { server: server.shown(), cause: one_line(&error.to_string()) },
    }
}
