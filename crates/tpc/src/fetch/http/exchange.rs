//! One request, over a connection of its own, up to the head of the answer.

use http_body_util::Empty;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request as HttpRequest, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use url::{Host, Url};

use super::super::connect::{Server, connect};
use super::super::error::one_line;
use super::super::partial::Partial;
use super::super::{FetchError, Request, tls};

/// Moves the bytes; ends with whoever uses the connection.
pub(super) struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The head of an answer, and its body still to come.
pub(super) struct Answer {
    pub(super) server: String,
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Incoming,
    pub(super) _driver: Driver,
}

impl Answer {
    /// The connection is of no use any more.
    pub(super) fn cut(&self, part: &Partial<'_>, cause: &str) -> FetchError {
        cut(&self.server, part, cause)
    }
}

pub(super) fn cut(server: &str, part: &Partial<'_>, cause: &str) -> FetchError {
    FetchError::Cut {
        server: server.to_owned(),
        got: part.len(),
        total: part.total(),
        cause: one_line(cause),
    }
}

/// Asks for the file, or for what is missing of it.
pub(super) async fn ask(
    url: &Url,
    authorization: Option<&HeaderValue>,
    request: &Request<'_>,
    part: &Partial<'_>,
) -> Result<Answer, FetchError> {
    let host = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => String::new(),
    };
    let server = Server { host, port: url.port_or_known_default().unwrap_or_default() };
    let tcp = connect(&server, request.interface, &request.patience).await?;
    if url.scheme() == "https" {
        let stream = tls::wrap(tcp, &server, request).await?;
        over(stream, url, authorization, &server, request, part).await
    } else {
        over(tcp, url, authorization, &server, request, part).await
    }
}

async fn over(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    url: &Url,
    authorization: Option<&HeaderValue>,
    server: &Server,
    request: &Request<'_>,
    part: &Partial<'_>,
) -> Result<Answer, FetchError> {
    let shown = server.shown();
    let broken = |error: &hyper::Error| {
        if error.is_parse() {
            let why = format!("that is not HTTP ({error})");
            return FetchError::Protocol { server: shown.clone(), why };
        }
        cut(&shown, part, &error.to_string())
    };
    let exchange = async {
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        let driver = Driver(tokio::spawn(async { drop(connection.await) }));
        let question = question(url, authorization, part).map_err(|error| FetchError::Protocol {
            server: shown.clone(),
            why: format!("it cannot be asked so ({error})"),
        })?;
        let response = sender.send_request(question).await.map_err(|error| broken(&error))?;
        let (head, body) = response.into_parts();
        Ok(Answer {
            server: shown.clone(),
            status: head.status,
            headers: head.headers,
            body,
            _driver: driver,
        })
    };
    let max = request.patience.stall;
    timeout(max, exchange)
        .await
        .unwrap_or_else(|_| Err(FetchError::NoAnswer { server: shown.clone(), seconds: max.as_secs() }))
}

fn question(
    url: &Url,
    authorization: Option<&HeaderValue>,
    part: &Partial<'_>,
) -> Result<HttpRequest<Empty<Bytes>>, hyper::http::Error> {
    let mut question = HttpRequest::get(&url[url::Position::BeforePath..url::Position::AfterQuery])
        .header(header::HOST, &url[url::Position::BeforeHost..url::Position::AfterPort])
        .header(header::USER_AGENT, concat!("switchyard/", env!("CARGO_PKG_VERSION")))
        .header(header::ACCEPT, "*/*")
        // The bytes as they lie there: their digest is checked, and they are packed already.
        .header(header::ACCEPT_ENCODING, "identity");
    if let Some(secret) = authorization {
        question = question.header(header::AUTHORIZATION, secret);
    }
    if let Some(validator) = part.validator() {
        question = question
            .header(header::RANGE, format!("bytes={}-", part.len()))
            .header(header::IF_RANGE, validator);
    }
    question.body(Empty::new())
}
