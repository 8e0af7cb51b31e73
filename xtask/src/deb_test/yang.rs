//! Whether our models take the rows they should and refuse the others.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use switchyard_lab::command::{run, step};

/// Directories of rows below `packaging/tests`, with the models that they are to obey; ours last.
const MODELS: [(&str, &[&str]); 2] = [
    (
        "yang",
        &[
            "tests/yang/sonic-types.yang",
            "tests/yang/sonic-feature.yang",
            "yang/sonic-feature-switchyard.yang",
        ],
    ),
    ("yang-tpc", &["yang/sonic-tpc.yang"]),
];

/// Gives each row to yanglint: those called good must pass, those called bad must not.
pub(super) fn check(packaging: &Path) -> Result<()> {
    step("checking the models with yanglint", || {
        MODELS.iter().try_for_each(|(rows, models)| check_rows(packaging, rows, models))
    })
}

fn check_rows(packaging: &Path, rows: &str, models: &[&str]) -> Result<()> {
    let path = |name: &str| packaging.join(name).to_string_lossy().into_owned();
    let mut seen = (0, 0);
    for entry in fs::read_dir(packaging.join("tests").join(rows))? {
        let row = entry?.path();
        let name = row.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if row.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let mut arguments = vec!["-t".to_owned(), "config".to_owned(), "-p".to_owned(), path("tests/yang")];
        arguments.extend(models.iter().map(|name| path(name)));
        arguments.push(row.to_string_lossy().into_owned());
        let output = run("yanglint", &arguments).context("install Debian's libyang-tools")?;
        let good = name.starts_with("good-");
        ensure!(output.success() == good, "{name}: yanglint ended with {}: {}", output.status, output.stderr);
        // A model that does not load refuses the bad rows as well; only the rows may be at fault here.
        ensure!(!output.stderr.contains("schema"), "{name}: {}", output.stderr);
        if good { seen.0 += 1 } else { seen.1 += 1 }
    }
    ensure!(seen.0 > 0 && seen.1 > 0, "there are no rows to try the models {models:?} with");
    Ok(())
}
