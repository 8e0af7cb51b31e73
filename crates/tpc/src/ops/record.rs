//! What is remembered of each TPC: one file that is the truth about it, replaced whole, on the partition that outlives
//! SONiC images.

use serde::{Deserialize, Deserializer, Serialize};
use switchyard_core::tpc::{Limits, Operation, TpcName};
use switchyard_core::{FeatureName, ImageId};

use super::OpsError;
use super::layout::{self, Layout};

/// The form of the file. A newer one is not touched.
const FORMAT: u32 = 1;

/// So much of the past is told.
const HISTORY_MAX: usize = 50;

const HINT: &str =
    "restore it from a backup, or remove the TPC's directory below .store/tpcs and install it again";

/// One version of a TPC, with everything that is needed to make its container again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Release {
    /// Where the image came from, without secrets.
    pub(super) source: String,
    /// What its registry or the sum of its file calls it; of a file on this switch without --sha256, the image's id.
    pub(super) digest: Option<String>,
    /// The image as it came.
    pub(super) image: ImageId,
    /// The same with the writable layer on top, as of the last save.
    pub(super) saved: Option<Saved>,
    /// `IMAGE_VERSION` or the version label.
    pub(super) version: Option<String>,
    /// The text of `--args`.
    pub(super) args: String,
    pub(super) limits: Limits,
    /// Features that start before it.
    #[serde(deserialize_with = "features")]
    pub(super) after: Vec<FeatureName>,
    pub(super) shared: bool,
}

/// Earlier versions wrote down whatever `--after` said, and who made the archive of an import could too. What is no
/// feature's name goes into no unit; it has never put anything in order.
fn features<'de, D: Deserializer<'de>>(reader: D) -> Result<Vec<FeatureName>, D::Error> {
    let texts = Vec::<String>::deserialize(reader)?;
    Ok(texts.iter().filter_map(|text| FeatureName::parse(text).ok()).collect())
}

impl Release {
    /// The newest state that the store has.
    pub(super) fn newest(&self) -> &ImageId {
        self.saved.as_ref().map_or(&self.image, |saved| &saved.image)
    }
}

/// An image with a writable layer in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Saved {
    pub(super) image: ImageId,
    pub(super) at: String,
}

/// Something that happened to a TPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Happened {
    /// When, local time.
    pub at: String,
    /// What.
    pub operation: Operation,
    /// More about it.
    pub note: String,
    /// What its hooks said, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub said: Vec<Said>,
}

/// What a hook said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Which hook.
    pub hook: String,
    /// The last lines of its output.
    pub output: String,
}

/// What is looked at first.
#[derive(Deserialize)]
struct Format {
    format: u32,
}

/// One TPC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) format: u32,
    pub(super) name: TpcName,
    /// Whether it is to run.
    pub(super) enabled: bool,
    pub(super) current: Release,
    /// The version before, which `rollback` goes to.
    pub(super) before: Option<Release>,
    /// The container that has the newest state, on whichever SONiC image. Another one of the same name is older.
    pub(super) container: Option<String>,
    /// States of other SONiC images that were newer on none; only `prune` removes them.
    pub(super) older: Vec<Saved>,
    pub(super) created: String,
    /// Why a person is needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) inconsistent: Option<String>,
    pub(super) history: Vec<Happened>,
}

/// A TPC's record, or why it cannot be read.
pub(super) type Named = (TpcName, Result<Record, OpsError>);

impl Record {
    pub(super) fn new(name: TpcName, current: Release, now: &str) -> Self {
        Self {
            format: FORMAT,
            name,
            enabled: true,
            current,
            before: None,
            container: None,
            older: Vec::new(),
            created: now.to_owned(),
            inconsistent: None,
            history: Vec::new(),
        }
    }

    pub(super) fn load(layout: &Layout, name: &TpcName) -> Result<Option<Self>, OpsError> {
        let path = layout.record(name);
        // Of a newer one the rest may mean anything.
        let Some(Format { format }) = layout::read_json(&path, HINT)? else { return Ok(None) };
        if format > FORMAT {
            let why = format!("written by a newer tpcm, format {format}");
            let hint = "boot the SONiC image that wrote it, or upgrade this one";
            return Err(OpsError::Damaged { path, why, hint });
        }
        let record: Option<Self> = layout::read_json(&path, HINT)?;
        match record {
            Some(record) if record.name != *name => {
                let why = format!("it is that of {}", record.name);
                Err(OpsError::Damaged { path, why, hint: HINT })
            }
            record => Ok(record),
        }
    }

    /// All of them, by name, or nothing if one cannot be read.
    pub(super) fn load_all(layout: &Layout) -> Result<Vec<Self>, OpsError> {
        Self::load_each(layout)?.into_iter().map(|(_, record)| record).collect()
    }

    /// Each of them, by name, or why it cannot be read.
    pub(super) fn load_each(layout: &Layout) -> Result<Vec<Named>, OpsError> {
        let names = layout::entries(&layout.records())?;
        let names = names.iter().filter_map(|name| TpcName::parse(name).ok());
        Ok(names
            .filter_map(|name| Self::load(layout, &name).transpose().map(|record| (name, record)))
            .collect())
    }

    /// Those that can be read, and why the first one cannot that cannot. That one starts nothing and reserves nothing, and
    /// must not keep the others from what is theirs.
    pub(super) fn load_readable(layout: &Layout) -> Result<(Vec<Self>, Option<OpsError>), OpsError> {
        let (mut records, mut first_failure) = (Vec::new(), None);
        for (name, record) in Self::load_each(layout)? {
            match record {
                Ok(record) => records.push(record),
                Err(error) => {
                    tracing::error!("{name}: {error}");
                    first_failure.get_or_insert(error);
                }
            }
        }
        Ok((records, first_failure))
    }

    pub(super) fn store(&self, layout: &Layout) -> Result<(), OpsError> {
        layout::create(&layout.of(&self.name), 0o700)?;
        layout::write_json(&layout.record(&self.name), self)
    }

    /// Adds to its history.
    pub(super) fn note(&mut self, at: &str, operation: Operation, note: String) {
        self.history.push(Happened { at: at.to_owned(), operation, note, said: Vec::new() });
        let too_many = self.history.len().saturating_sub(HISTORY_MAX);
        self.history.drain(..too_many);
    }

    /// Every image that the store must keep for it.
    pub(super) fn images(&self) -> Vec<ImageId> {
        let releases = [Some(&self.current), self.before.as_ref()];
        let mut images: Vec<ImageId> = releases
            .into_iter()
            .flatten()
            .flat_map(|release| [Some(&release.image), release.saved.as_ref().map(|saved| &saved.image)])
            .flatten()
            .chain(self.older.iter().map(|saved| &saved.image))
            .cloned()
            .collect();
        images.sort();
        images.dedup();
        images
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_loads_whatever_it_says_it_starts_after_and_only_features_get_into_a_unit() {
        #[derive(Deserialize)]
        struct After(#[serde(deserialize_with = "features")] Vec<FeatureName>);
        let text = r#"["swss", "snmp.service", "a,b", "x\nExecStartPre=/bin/sh", "", "bgp"]"#;
        let After(after) = serde_json::from_str(text).unwrap();
        assert_eq!(after.iter().map(FeatureName::as_str).collect::<Vec<_>>(), ["swss", "bgp"]);
    }
}
