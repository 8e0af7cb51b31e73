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

#[cfg(test)]
mod tests {
    use super::*;

    fn with(content: &str) -> Result<Global, String> {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("database_global.json");
        std::fs::write(&file, content).unwrap();
        Global::load(&file).map_err(|error| error.to_string())
    }

    #[test]
    fn without_the_file_there_is_one_asic_and_no_namespace() {
        let nowhere = tempfile::tempdir().unwrap();
        let global = Global::load(&nowhere.path().join("database_global.json")).unwrap();
        assert_eq!((global.asics(), global.namespaces().count()), (1, 0));
        assert!(global.database_config(AsicId(0)).is_err());
    }

    #[test]
    fn namespaces_are_counted_and_the_host_and_dpus_are_not() {
        let global = with(
            r#"{"INCLUDES": [
                {"include": "../../redis/sonic-db/database_config.json"},
                {"namespace": "asic1", "include": "../../redis1/sonic-db/database_config.json"},
                {"namespace": "asic0", "include": "../../redis0/sonic-db/database_config.json"},
                {"namespace": "", "include": "x"},
                {"container_name": "dpu0", "include": "../../redisdpu0/sonic-db/database_config.json"}
            ], "VERSION": "1.0"}"#,
        )
        .unwrap();
        assert_eq!(global.asics(), 2);
        assert_eq!(global.namespaces().collect::<Vec<_>>(), [AsicId(0), AsicId(1)]);
        assert!(
            global
                .database_config(AsicId(1))
                .unwrap()
                .ends_with("../../redis1/sonic-db/database_config.json")
        );
    }

    #[test]
    fn a_switch_with_dpus_only_has_one_asic() {
        let global = with(r#"{"INCLUDES": [{"include": "a"}, {"container_name": "dpu0", "include": "b"}]}"#);
        assert_eq!(global.unwrap().asics(), 1);
    }

    #[test]
    fn a_broken_file_is_told_by_its_name() {
        for (content, why) in [
            ("", "empty"),
            ("{", "not JSON"),
            ("{}", "INCLUDES"),
            (r#"{"INCLUDES": {}}"#, "INCLUDES"),
            (r#"{"INCLUDES": [{"namespace": "blue", "include": "x"}]}"#, "\"blue\" is not asicN"),
            (r#"{"INCLUDES": [{"namespace": "asic999", "include": "x"}]}"#, "asic999"),
            (r#"{"INCLUDES": [{"namespace": "asic0"}]}"#, "asic0 has no include"),
        ] {
            let error = with(content).unwrap_err();
            assert!(error.contains("database_global.json") && error.contains(why), "{content}: {error}");
        }
    }
}
