//! An image into the engine while it is still on its way into the store, so that its bytes are read once.
//!
//! The engine gets layers as files of no meaning, and waits. Only after the store has checked everything, and the step
//! before is done, it is told what they are; if that is never told, it throws them away, as it does when this process
//! dies.

use std::collections::BTreeSet;
use std::time::Duration;

use switchyard_core::{Digest, ImageId};
use switchyard_engine::{Engine, EngineError, PipeWriter, pipe};
use tokio::task::JoinHandle;

use super::steps::blocking;
use super::{OpsError, layout};
use crate::store::{Ahead, Store, StoreError};

/// One call of the engine that has begun.
pub(super) struct Loading {
    /// None: the archive could not be read, and what was written of it is broken.
    pub(super) ahead: Option<Ahead<PipeWriter>>,
    call: JoinHandle<Result<Vec<ImageId>, EngineError>>,
}

impl Loading {
    pub(super) fn begin(engine: &Engine) -> Self {
        let (writer, reader) = pipe();
        let engine = engine.clone();
        Self { ahead: Some(Ahead::new(writer)), call: tokio::spawn(async move { engine.load(reader).await }) }
    }

    /// The bytes that the engine has put by.
    pub(super) fn put_by(&self) -> u64 {
        self.ahead.as_ref().map_or(0, Ahead::bytes)
    }

    /// Tells the engine which image it has, under this name, with what it lacks of it from the store.
    pub(super) async fn complete(
        self,
        store: Store,
        image: &ImageId,
        name: String,
        there: Vec<Vec<Digest>>,
    ) -> Result<(), OpsError> {
        let (ahead, images) = (self.ahead, [(image.clone(), Some(name))]);
        let written = blocking(move || {
            let ahead = ahead.ok_or(StoreError::Output(std::io::ErrorKind::BrokenPipe.into()))?;
            let (_, writer) = store.complete(ahead, &images, &there)?;
            Ok(writer.finish().map_err(StoreError::Output)?)
        })
        .await;
        let loaded = answer(self.call).await;
        // A store that is damaged breaks the stream, and tells more than the engine does; an engine that refuses breaks
        // the pipe, and then it is the engine that tells more.
        if !matches!(written, Err(OpsError::Store(StoreError::Output(_)))) {
            written?;
        }
        if loaded?.contains(image) { Ok(()) } else { Err(StoreError::NoSuchImage(image.clone()).into()) }
    }

    /// The engine throws away what it has got, and has done so afterwards.
    pub(super) async fn give_up(self) {
        drop(self.ahead);
        // That the archive is broken is what it is to find.
        let _ = answer(self.call).await;
    }
}

/// Waits for archives that the engine is busy with: once it has all of one, it goes on also if whoever sent it has died. It
/// has each in a directory of its own, which goes when it is done, and when it starts.
pub(super) async fn wait_for_others(engine: &Engine) -> Result<(), OpsError> {
    /// As long as one may take.
    const TIME_MAX: Duration = Duration::from_hours(1);
    const LOOK: Duration = Duration::from_millis(100);
    let directory = engine.data_root().await?.join("tmp");
    let busy = || -> Result<BTreeSet<String>, OpsError> {
        let names = layout::entries(&directory)?;
        Ok(names.into_iter().filter(|name| name.starts_with("docker-import-")).collect())
    };
    let before = busy()?;
    let gone = async {
        while !busy()?.is_disjoint(&before) {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    };
    // One that takes longer than any does is nobody's.
    tokio::time::timeout(TIME_MAX, gone).await.unwrap_or(Ok(()))
}

async fn answer(call: JoinHandle<Result<Vec<ImageId>, EngineError>>) -> Result<Vec<ImageId>, OpsError> {
    let answered = call.await.map_err(|error| OpsError::File {
        action: "load",
        path: "the image".into(),
        source: std::io::Error::other(error),
    })?;
    Ok(answered?)
}
