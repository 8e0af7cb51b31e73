//! Which SONiC this is (`sonic_version.yml`, SONIC.md 11.1), and the time as SONiC writes it into rows.

use std::path::Path;

use crate::{Fields, SonicError};

const HINT: &str = "it comes with every SONiC image";

/// The facts of `sonic_version.yml`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SonicVersion(Fields);

impl SonicVersion {
    /// One fact by its key: `asic_type`, `branch`, ….
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// The version of the image, as in the name of its directory on /host.
    pub fn build_version(&self) -> Option<&str> {
        self.get("build_version")
    }
}

/// Reads which SONiC this is.
pub fn sonic_version(etc_sonic: &Path) -> Result<SonicVersion, SonicError> {
    let file = etc_sonic.join("sonic_version.yml");
    let text = std::fs::read_to_string(&file).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => SonicError::FileMissing { file: file.clone(), hint: HINT },
        _ => SonicError::FileUnreadable { file: file.clone(), source },
    })?;
    Ok(parse(&text))
}

/// Plain `key: value` lines: SONiC's build writes nothing else of YAML into it.
fn parse(text: &str) -> SonicVersion {
    let facts = text.lines().filter(|line| !line.trim_start().starts_with('#')).filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        Some((key.trim().to_owned(), unquoted(value.trim()).to_owned()))
    });
    SonicVersion(facts.collect())
}

fn unquoted(text: &str) -> &str {
    ['\'', '"'].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote)).unwrap_or(text)
}

/// Now, as rows have it: local time, `YYYY-MM-DD HH:MM:SS`.
pub fn local_time() -> String {
    jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// Now, as a syslog line begins: local time, `Nov  1 09:08:07`.
pub fn syslog_time() -> String {
    jiff::Zoned::now().strftime("%b %e %H:%M:%S").to_string()
}

/// A moment in UTC as RFC 3339 has it, which is how the engine tells moments.
pub fn utc_text(moment: std::time::SystemTime) -> String {
    jiff::Timestamp::try_from(moment).map(|moment| moment.to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_an_image_are_read_with_and_without_quotes() {
        let version = parse(
            "---\n# built\nbuild_version: '202511.7-abc'\nasic_type: vs\nbuild_date: Sat Aug 1 10:00:00 UTC 2026\n\
             branch: \"202511\"\nlibswsscommon: 1.0.0\nasic_subtype:\nodd\n",
        );
        assert_eq!(version.build_version(), Some("202511.7-abc"));
        assert_eq!(version.get("asic_type"), Some("vs"));
        assert_eq!(version.get("build_date"), Some("Sat Aug 1 10:00:00 UTC 2026"));
        assert_eq!(version.get("branch"), Some("202511"));
        assert_eq!(version.get("asic_subtype"), Some(""));
        assert_eq!(version.get("odd"), None);
    }

    #[test]
    fn an_image_without_the_file_is_told_by_its_name() {
        let nowhere = tempfile::tempdir().unwrap();
        let error = sonic_version(nowhere.path()).unwrap_err();
        assert!(matches!(&error, SonicError::FileMissing { .. }), "{error}");
        assert!(error.to_string().contains("sonic_version.yml"));
    }

    #[test]
    fn the_time_in_rows_has_sonics_form() {
        let now = local_time();
        let shape: String = now.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        assert_eq!(shape, "9999-99-99 99:99:99");
    }
}
