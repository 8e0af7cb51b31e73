//! One attempt at a file on a web server: redirects, the part that is missing, the body with a time limit.

mod body;
mod exchange;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use switchyard_core::tpc::HttpUrl;
use url::Url;

use super::error::one_line;
use super::partial::Partial;
use super::{FetchError, Progress, Request};
use exchange::{Answer, ask};

/// As many as a download behind a balancer and a login page's first step takes.
const REDIRECTS_MAX: usize = 5;

/// Gets what is missing of the file.
pub(super) async fn attempt(
    from: &HttpUrl,
    request: &Request<'_>,
    part: &mut Partial<'_>,
    progress: &mut dyn Progress,
) -> Result<(), FetchError> {
    let mut url = Url::parse(&from.address())
        .map_err(|error| FetchError::Protocol { server: from.shown(), why: one_line(&error.to_string()) })?;
    let origin = url.origin();
    let authorization = authorization(from, request)?;
    for _ in 0..=REDIRECTS_MAX {
        // A password is for the server that the operator named, and for nobody it points to.
        let authorization = authorization.as_ref().filter(|_| url.origin() == origin);
        let answer = ask(&url, authorization, request, part).await?;
        match answer.status {
            StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT => url = redirect(&url, &answer.headers)?,
            _ => return take(answer, &url, request, part, progress).await,
        }
    }
    Err(FetchError::Redirect { url: from.shown(), to: shown(&url), why: "it is one too many" })
}

fn authorization(from: &HttpUrl, request: &Request<'_>) -> Result<Option<HeaderValue>, FetchError> {
    let (Some(user), Some(password)) = (from.username(), &request.login.password) else { return Ok(None) };
    if !from.is_secure() && !request.insecure {
        return Err(FetchError::ClearPassword(from.shown()));
    }
    let text = format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose())));
    let mut value = HeaderValue::from_str(&text)
        .map_err(|error| FetchError::Protocol { server: from.shown(), why: one_line(&error.to_string()) })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

fn redirect(from: &Url, headers: &HeaderMap) -> Result<Url, FetchError> {
    let location = headers.get(header::LOCATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let location = String::from_utf8_lossy(location);
    let refused = |why| FetchError::Redirect { url: shown(from), to: one_line(&location), why };
    let to = from.join(&location).map_err(|_| refused("that is no URL"))?;
    match (from.scheme(), to.scheme()) {
        ("https", "http") => Err(refused("it leaves TLS")),
        (_, "http" | "https") if !location.is_empty() => Ok(to),
        _ => Err(refused("that is nothing to download from")),
    }
}

/// The URL as errors show it: what follows the path may be a token.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    one_line(url.as_str())
}

async fn take(
    answer: Answer,
    url: &Url,
    request: &Request<'_>,
    part: &mut Partial<'_>,
    progress: &mut dyn Progress,
) -> Result<(), FetchError> {
    let not_so = |why: &str| FetchError::Protocol { server: answer.server.clone(), why: why.to_owned() };
    match answer.status {
        StatusCode::OK => {
            let length = content_length(&answer.headers);
            part.restart(validator(&answer.headers), length, progress)?;
        }
        StatusCode::PARTIAL_CONTENT => {
            let (first, total) =
                content_range(&answer.headers).ok_or_else(|| not_so("its part has no range"))?;
            if first != part.len() || part.total().is_some_and(|known| Some(known) != total) {
                // Not what was asked for: the next attempt begins anew.
                part.restart(None, None, progress)?;
                return Err(answer.cut(part, "it sent another part than asked for"));
            }
            part.go_on(progress)?;
        }
        StatusCode::RANGE_NOT_SATISFIABLE if part.len() > 0 => {
            let all = part.total() == Some(part.len());
            // The same version, or else it would have sent all of it: only the end was lost.
            if all {
                return part.go_on(progress);
            }
            part.restart(None, None, progress)?;
            return Err(answer.cut(part, "it knows no such part"));
        }
        StatusCode::UNAUTHORIZED | StatusCode::PROXY_AUTHENTICATION_REQUIRED => {
            return Err(FetchError::Login { url: shown(url), status: answer.status.as_u16() });
        }
        status => {
            let hint = match status.as_u16() {
                403 => ": it does not give this to us",
                404 | 410 => ": there is no such file",
                500.. => ": it has trouble of its own",
                _ => "",
            };
            return Err(FetchError::Status { url: shown(url), status: status.as_u16(), hint });
        }
    }
    body::receive(answer, request, part, progress).await
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The first byte's place and the number of all bytes.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let text = headers.get(header::CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (range, total) = text.split_once('/')?;
    let first = range.split_once('-')?.0.trim().parse().ok()?;
    Some((first, total.trim().parse().ok()))
}

/// What `If-Range` takes. A weak tag may be the same for different bytes.
fn validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let tag = text(header::ETAG).filter(|tag| tag.starts_with('"'));
    tag.or_else(|| text(header::LAST_MODIFIED)).map(ToOwned::to_owned)
}
