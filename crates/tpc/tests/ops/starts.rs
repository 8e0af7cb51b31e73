//! What the unit's own process, `tpcm run`, starts and what it refuses to start.

use std::fs;
use std::time::Duration;

use switchyard_tpc::ops::NOT_AGAIN;

use crate::kills::killed;
use crate::site::{ONE, Site, docker, running};

#[tokio::test]
async fn what_was_disabled_under_another_sonic_image_does_not_start_under_this_one() {
    let site = Site::new("disa");
    site.install(&ONE).await.unwrap();
    let enabled = site.root.join("units").join(format!("{}.enabled", site.name.unit()));
    assert!(enabled.exists());
    site.newest_is_elsewhere();
    site.change_record(|record| record["enabled"] = false.into());
    site.open().restore().await.unwrap();
    assert!(!enabled.exists() && site.running().is_none());
    // systemd may have queued it before.
    let ran = tokio::time::timeout(LASTS, site.open().run(&site.name)).await;
    assert_eq!(ran.expect("it was started").unwrap(), NOT_AGAIN);
}

/// A run that is not refused lasts as long as its container.
pub(crate) const LASTS: Duration = Duration::from_secs(10);

#[tokio::test]
async fn what_an_operation_found_running_starts_again_under_a_cap_that_was_lowered() {
    let site = Site::new("lowe");
    site.install(&ONE).await.unwrap();
    assert!(killed(&site, "upgrade", "stop:after"));
    let defaults = site.root.join("tpc/.store/defaults.json");
    let text = fs::read_to_string(&defaults).unwrap();
    fs::write(&defaults, text.replacen('{', r#"{"cap": {"cpu": "2%"}, "#, 1)).unwrap();
    let ran = tokio::time::timeout(LASTS, site.open().run(&site.name)).await;
    assert!(ran.is_err() && running(site.name.as_str()), "{ran:?}");
    site.open().recover().await.unwrap();
    assert_eq!(site.running().as_deref(), Some("1"));
    docker(&["stop", site.name.as_str()]);
    let ran = tokio::time::timeout(LASTS, site.open().run(&site.name)).await;
    assert_eq!(ran.expect("it was started").unwrap(), NOT_AGAIN, "by itself it does not fit");
}
