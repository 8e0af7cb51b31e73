//! What each feature's local image is called, as the build of this SONiC image wrote it (SONIC.md 5.10).

use std::collections::BTreeMap;

use serde_json::Value;
use switchyard_core::FeatureName;

use crate::{Paths, SonicError, dbconfig::read_json};

const HINT: &str = "it comes with the SONiC image; without it the feature's container tells";

/// The image of each feature that the list names: `snmp` is `docker-snmp`. A switch without the list has an empty one,
/// and what is no name of a feature or of an image is left out.
pub fn image_names(paths: &Paths) -> Result<BTreeMap<FeatureName, String>, SonicError> {
    let file = paths.templates.join("ctr_image_names.json");
    let json = match read_json(&file, HINT) {
        Err(SonicError::FileMissing { .. }) => return Ok(BTreeMap::new()),
        read => read?,
    };
    let list = json.as_object().ok_or_else(|| SonicError::FileBroken {
        file,
        why: "it is no JSON object".into(),
        hint: HINT,
    })?;
    let names = list.iter().filter_map(|(feature, image)| {
        let image = Value::as_str(image)?.trim();
        Some((FeatureName::parse(feature).ok()?, image.to_owned())).filter(|_| !image.is_empty())
    });
    Ok(names.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(content: &str) -> Result<BTreeMap<FeatureName, String>, String> {
        let root = tempfile::tempdir().unwrap();
        let paths = Paths::below(root.path());
        std::fs::create_dir_all(&paths.templates).unwrap();
        std::fs::write(paths.templates.join("ctr_image_names.json"), content).unwrap();
        image_names(&paths).map_err(|error| error.to_string())
    }

    #[test]
    fn the_list_names_the_image_of_a_feature() {
        let names =
            with(r#"{"bgp": "docker-fpm-frr", "a b": "x", "snmp": "", "lldp": 1, "pmon": null}"#).unwrap();
        let bgp = FeatureName::parse("bgp").unwrap();
        assert_eq!(names, BTreeMap::from([(bgp, "docker-fpm-frr".to_owned())]));
    }

    #[test]
    fn a_switch_without_the_list_has_an_empty_one_and_a_broken_one_is_named() {
        let root = tempfile::tempdir().unwrap();
        assert!(image_names(&Paths::below(root.path())).unwrap().is_empty());
        for content in ["", "{", "[]"] {
            let error = with(content).unwrap_err();
            assert!(error.contains("ctr_image_names.json"), "{content:?}: {error}");
        }
    }
}
