//! One request over one connection: bounded in time and size, never redirected, never sent to whom is not verified.
//!
//! Not the `kube` crate: of Kubernetes a switch needs a handful of calls, and needs of each what that crate leaves open:
//! an answer that cannot fill the memory, and the reason why a server was refused. The Docker client brings hyper
//! along in any case, and without Kubernetes' hundreds of types the binary and the agent stay small.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::ClientConfig;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::address::ServerAddress;
use crate::error::{ClusterError, one_line};
use crate::tls;

/// How long one call may take, from the name's resolution to the answer's last byte.
pub(crate) const CALL_MAX: Duration = Duration::from_secs(10);

/// How much of an ordinary answer is taken.
pub(crate) const ANSWER_MAX: usize = 1 << 20;

/// A peer that vanished without a word is noticed by the kernel after about a minute, so that nobody here has to look.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_RETRIES: u32 = 3;

/// What is asked.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// A media type and a body.
    pub(crate) body: Option<(&'static str, Vec<u8>)>,
    /// The value of the header `Authorization`, marked as not to be shown.
    pub(crate) authorization: Option<HeaderValue>,
    /// Others.
    pub(crate) headers: Vec<(&'static str, HeaderValue)>,
}

impl Ask {
    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self { method: Method::GET, path: path.into(), body: None, authorization: None, headers: Vec::new() }
    }

    pub(crate) fn send(method: Method, path: impl Into<String>, kind: &'static str, body: Vec<u8>) -> Self {
        Self { method, body: Some((kind, body)), ..Self::get(path) }
    }
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Vec<u8>,
    /// The server's clock, as it wrote it.
    pub(crate) date: Option<String>,
}

/// What Kubernetes answers when it does not do as it was asked.
#[derive(Debug, Deserialize)]
struct Status {
    kind: String,
    #[serde(default)]
    message: String,
}

impl Answer {
    /// The answer's object. `doing` says what was asked, `shown` as whom.
    pub(crate) fn object<T: DeserializeOwned>(
        &self,
        server: &ServerAddress,
        doing: &str,
        shown: &str,
    ) -> Result<T, ClusterError> {
        self.check(server, doing, shown)?;
        serde_json::from_slice(&self.body).map_err(|error| self.not_understood(server, &error))
    }

    /// Whether it did what was asked.
    pub(crate) fn check(&self, server: &ServerAddress, doing: &str, shown: &str) -> Result<(), ClusterError> {
        if self.status.is_success() {
            return Ok(());
        }
        let server = server.clone();
        let status: Option<Status> = serde_json::from_slice(&self.body).ok();
        let Some(status) = status.filter(|status| status.kind == "Status") else {
            // What stands before an API server says such things in its own words.
            if matches!(self.status.as_u16(), 429 | 500..) {
                let message = one_line(&String::from_utf8_lossy(&self.body));
                return Err(ClusterError::Refused {
                    server,
                    doing: doing.to_owned(),
                    status: self.status.as_u16(),
                    message,
                });
            }
            let found = format!("it answers {} in words that are not Kubernetes'", self.status.as_u16());
            return Err(ClusterError::NotAnApiServer { server, found });
        };
        let message = one_line(&status.message);
        Err(match self.status {
            StatusCode::UNAUTHORIZED => ClusterError::Unauthorized { server, what: shown.to_owned() },
            StatusCode::FORBIDDEN => ClusterError::Forbidden {
                server,
                doing: doing.to_owned(),
                message,
                remedy: "kubectl apply -f packaging/cluster/".to_owned(),
            },
            status => {
                ClusterError::Refused { server, doing: doing.to_owned(), status: status.as_u16(), message }
            }
        })
    }

    fn not_understood(&self, server: &ServerAddress, error: &serde_json::Error) -> ClusterError {
        let server = server.clone();
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&self.body).is_ok();
        if is_json {
            return ClusterError::BadAnswer { server, why: one_line(&error.to_string()) };
        }
        ClusterError::NotAnApiServer { server, found: "its answer is no JSON".to_owned() }
    }
}

/// A connection over which one request goes.
pub(crate) struct Connection {
    server: ServerAddress,
    sender: SendRequest<Full<Bytes>>,
    /// The certificates that the server presented.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    driver: Driver,
}

/// Moves the bytes; ends with whoever uses the connection.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Resolves, connects, shakes hands.
pub(crate) async fn connect(
    server: &ServerAddress,
    config: Arc<ClientConfig>,
) -> Result<Connection, ClusterError> {
    let unreachable = |cause: &dyn std::fmt::Display| ClusterError::Unreachable {
        server: server.clone(),
        cause: one_line(&cause.to_string()),
    };
    let tcp =
        TcpStream::connect((server.host(), server.port())).await.map_err(|error| unreachable(&error))?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_RETRIES);
    SockRef::from(&tcp).set_tcp_keepalive(&keepalive).map_err(|error| unreachable(&error))?;
    // A request waits for no acknowledgement of the handshake's end.
    tcp.set_nodelay(true).map_err(|error| unreachable(&error))?;
    let tls = TlsConnector::from(config)
        .connect(server.tls_name(), tcp)
        .await
        .map_err(|error| tls::handshake_failure(server, &error))?;
    let chain = tls.get_ref().1.peer_certificates().unwrap_or_default();
    let chain = chain.iter().map(|certificate| certificate.clone().into_owned()).collect();
    let (sender, connection) =
        http1::handshake(TokioIo::new(tls)).await.map_err(|error| unreachable(&error))?;
    // Its end, good or bad, is also what the request's future tells.
    let driver = Driver(tokio::spawn(async { drop(connection.await) }));
    Ok(Connection { server: server.clone(), sender, chain, driver })
}

impl Connection {
    /// Sends the request and waits for the head of the answer. A redirect is refused here.
    pub(crate) async fn send(mut self, ask: Ask) -> Result<Stream, ClusterError> {
        let server = self.server.clone();
        let request = self.request(ask)?;
        let response = self.sender.send_request(request).await.map_err(|error| broken(&server, &error))?;
        if response.status().is_redirection() {
            let to = response.headers().get(header::LOCATION).map(HeaderValue::as_bytes);
            let to = one_line(&String::from_utf8_lossy(to.unwrap_or(b"nowhere")));
            return Err(ClusterError::Redirected { server, to });
        }
        Ok(Stream { server, response, _driver: self.driver })
    }

    fn request(&self, ask: Ask) -> Result<Request<Full<Bytes>>, ClusterError> {
        let mut request = Request::builder()
            .method(ask.method)
            .uri(ask.path)
            .header(header::HOST, self.server.to_string())
            .header(header::ACCEPT, "application/json")
            .header(header::USER_AGENT, concat!("switchyard/", env!("CARGO_PKG_VERSION")));
        if let Some(secret) = ask.authorization {
            request = request.header(header::AUTHORIZATION, secret);
        }
        for (name, value) in ask.headers {
            request = request.header(name, value);
        }
        let mut body = Bytes::new();
        if let Some((kind, content)) = ask.body {
            request = request.header(header::CONTENT_TYPE, kind);
            body = content.into();
        }
        request.body(Full::new(body)).map_err(|error| ClusterError::BadAnswer {
            server: self.server.clone(),
            why: format!("it cannot be asked so ({error})"),
        })
    }
}

/// An answer whose body is still to come.
pub(crate) struct Stream {
    server: ServerAddress,
    response: Response<Incoming>,
    _driver: Driver,
}

impl Stream {
    pub(crate) fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The next piece of the body; none at its end.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>, ClusterError> {
        loop {
            let Some(frame) = self.response.body_mut().frame().await else { return Ok(None) };
            let frame = frame.map_err(|error| broken(&self.server, &error))?;
            if let Ok(data) = frame.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// Everything, if it is not more than `max` bytes.
    pub(crate) async fn whole(mut self, max: usize) -> Result<Answer, ClusterError> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await? {
            if body.len() + piece.len() > max {
                return Err(ClusterError::AnswerTooLarge { server: self.server, max });
            }
            body.extend_from_slice(&piece);
        }
        let date = self.response.headers().get(header::DATE);
        let date = date.and_then(|date| date.to_str().ok()).map(ToOwned::to_owned);
        Ok(Answer { status: self.response.status(), body, date })
    }
}

/// Connects, asks and reads, all within [`CALL_MAX`].
pub(crate) async fn call(
    server: &ServerAddress,
    config: Arc<ClientConfig>,
    ask: Ask,
    answer_max: usize,
) -> Result<Answer, ClusterError> {
    within(server, CALL_MAX, async {
        connect(server, config).await?.send(ask).await?.whole(answer_max).await
    })
    .await
}

/// Gives up after `max`.
pub(crate) async fn within<T>(
    server: &ServerAddress,
    max: Duration,
    work: impl Future<Output = Result<T, ClusterError>>,
) -> Result<T, ClusterError> {
    tokio::time::timeout(max, work)
        .await
        .unwrap_or_else(|_| Err(ClusterError::TimedOut { server: server.clone(), after: max }))
}

/// What a broken exchange tells: what cannot be read as HTTP is somebody else, all other ends are the network's.
fn broken(server: &ServerAddress, error: &hyper::Error) -> ClusterError {
    let server = server.clone();
    if error.is_parse() {
        return ClusterError::NotAnApiServer { server, found: one_line(&error.to_string()) };
    }
    let cause = std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string);
    ClusterError::Unreachable { server, cause: one_line(&cause) }
}
