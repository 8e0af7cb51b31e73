//! Which namespaces a switch has and where each keeps its database configuration: `database_global.json`
//! (SONIC.md 1.3). The file is there only if there is more than one ASIC or DPU.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;
use switchyard_core::AsicId;

use crate::{SonicError, dbconfig::read_json};

/// The namespaces of a switch, each with its database configuration file.
#[derive(Debug, Clone, Default)]
pub(crate) struct Global {
    file: PathBuf,
    namespaces: BTreeMap<AsicId, PathBuf>,
}

const HINT: &str = "it is written at boot on a switch with several ASICs: systemctl restart database";

impl Global {
    /// Reads the file; without it the host is all there is.
    pub(crate) fn load(file: &Path) -> Result<Self, SonicError> {
        let json = match read_json(file, HINT) {
            Err(SonicError::FileMissing { .. }) => return Ok(Self { file: file.into(), ..Self::default() }),
            read => read?,
        };
        let broken = |why: String| SonicError::FileBroken { file: file.into(), why, hint: HINT };
        let includes = json
            .get("INCLUDES")
            .and_then(Value::as_array)
            .ok_or_else(|| broken("INCLUDES is missing or no list".into()))?;
        let directory = file.parent().unwrap_or(Path::new("/"));
        let mut namespaces = BTreeMap::new();
        for entry in includes {
            // Without a namespace it is the host's own entry, or that of a DPU, where none of our features run.
            let Some(namespace) = entry.get("namespace").and_then(Value::as_str).filter(|n| !n.is_empty())
            else {
                continue;
            };
            let asic = namespace
                .strip_prefix("asic")
                .and_then(|number| number.parse().ok())
                .ok_or_else(|| broken(format!("namespace {namespace:?} is not asicN")))?;
            let include = entry
                .get("include")
                .and_then(Value::as_str)
                .ok_or_else(|| broken(format!("namespace {namespace} has no include")))?;
            namespaces.insert(AsicId(asic), directory.join(include));
        }
        Ok(Self { file: file.into(), namespaces })
    }

    /// How many ASICs the switch has.
    pub(crate) fn asics(&self) -> u8 {
        u8::try_from(self.namespaces.len()).unwrap_or(u8::MAX).max(1)
    }

    /// All namespaces, in order.
    pub(crate) fn namespaces(&self) -> impl Iterator<Item = AsicId> + '_ {
        self.namespaces.keys().copied()
    }

    /// The database configuration of a namespace.
    pub(crate) fn database_config(&self, asic: AsicId) -> Result<&Path, SonicError> {
        self.namespaces
            .get(&asic)
            .map(PathBuf::as_path)
            .ok_or_else(|| SonicError::NoSuchNamespace { asic, file: self.file.clone() })
    }
}
