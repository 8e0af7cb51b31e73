//! The body of an answer, piece by piece, each in time and all of it in number.

use http_body_util::BodyExt;
use tokio::time::timeout_at;

use super::super::partial::Partial;
use super::super::watch::Watch;
use super::super::{FetchError, Progress, Request};
use super::exchange::Answer;

/// Writes what comes. Fails unless all of it came.
pub(super) async fn receive(
    mut answer: Answer,
    request: &Request<'_>,
    part: &mut Partial<'_>,
    progress: &mut dyn Progress,
) -> Result<(), FetchError> {
    let mut watch = Watch::new(request.patience.stall);
    loop {
        let frame =
            timeout_at(watch.deadline(), answer.body.frame()).await.map_err(|_| FetchError::Stalled {
                server: answer.server.clone(),
                seconds: request.patience.stall.as_secs(),
                got: part.len(),
            })?;
        let Some(frame) = frame else { break };
        let frame = frame.map_err(|error| {
            let cause =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            answer.cut(part, &cause)
        })?;
        let Ok(data) = frame.into_data() else { continue };
        watch.came(data.len());
        if part.total().is_some_and(|total| part.len() + data.len() as u64 > total) {
            part.restart(None, None, progress)?;
            return Err(FetchError::Protocol {
                server: answer.server.clone(),
                why: "it sends more bytes than it said".to_owned(),
            });
        }
        part.write(&data, progress)?;
    }
    match part.total() {
        Some(total) if part.len() < total => Err(answer.cut(part, "the file ends too early")),
        _ => Ok(()),
    }
}
