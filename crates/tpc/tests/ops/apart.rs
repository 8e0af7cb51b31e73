//! What is wrong with one container is in the way of that one alone.

use std::fs;

use switchyard_core::tpc::TpcName;
use switchyard_tpc::ops::{InstallRequest, OpsError, Options, State};

use crate::site::{Nobody, ONE, Site, TWO, docker};

#[tokio::test]
async fn a_record_that_cannot_be_read_keeps_no_other_container_from_anything() {
    let site = Site::new("read");
    site.install(&ONE).await.unwrap();
    let other = TpcName::parse("ops-unread-other").unwrap();
    let records = site.root.join("tpc/.store/tpcs");
    fs::create_dir(records.join(other.as_str())).unwrap();
    fs::write(records.join(other.as_str()).join("record.json"), r#"{"format": 99}"#).unwrap();

    let rows = site.open().list().await.unwrap();
    let states: Vec<_> = rows.iter().map(|row| (row.name.clone(), row.state)).collect();
    let inconsistent = (other.clone(), State::Inconsistent);
    assert!(states.len() == 2 && states.contains(&inconsistent), "{states:?}");
    assert!(states.contains(&(site.name.clone(), State::Running)), "{states:?}");
    let error = site.open().save(&[]).await.unwrap_err();
    assert!(matches!(error, OpsError::Damaged { .. }) && error.to_string().contains("format 99"), "{error}");
    assert!(site.open().show(&site.name).await.unwrap().saved.is_some(), "the other one is saved");

    site.on_another_image();
    let error = site.open().restore().await.unwrap_err();
    assert!(matches!(error, OpsError::Damaged { .. }), "{error}");
    assert_eq!(site.running().as_deref(), Some("1"));
    docker(&["stop", site.name.as_str()]);
    let ran = tokio::time::timeout(crate::starts::LASTS, site.open().run(&site.name)).await;
    assert!(ran.is_err(), "{ran:?}");
    let layers = || fs::read_dir(site.root.join("tpc/.store/layers/sha256")).unwrap().count();
    let before = layers();
    site.upgrade(&TWO).await.unwrap();
    site.open().uninstall(&site.name, true).await.unwrap();
    assert!(layers() > before, "what the other one needs is not known");
    let problems = site.open().verify().await.unwrap().problems;
    assert!(problems.iter().any(|problem| problem.contains("format 99")), "{problems:?}");
}

#[tokio::test]
async fn a_container_that_cannot_be_saved_takes_only_itself_out() {
    const MEGABYTES: u64 = 20;
    let site = Site::on_a_partition("part", 256);
    let names = ["", "-b", "-c"].map(|end| TpcName::parse(&format!("{}{end}", site.name)).unwrap());
    for name in &names {
        let (name, source) = (name.clone(), site.source(&ONE));
        let request = InstallRequest { name: name.clone(), source, options: Options::default() };
        site.open().install(request, &mut Nobody).await.unwrap();
        let fill = format!("dd if=/dev/urandom of=/big bs=1M count={MEGABYTES}");
        docker(&["exec", name.as_str(), "/bin/sh", "-c", &fill]);
    }
    // Besides what is always kept free for others there is room for two of them.
    site.leave(16 + 2 * MEGABYTES + MEGABYTES / 2);
    let error = site.open().save(&[]).await.unwrap_err();
    assert!(matches!(error, OpsError::NoSpace { .. }), "{error}");
    let mut saved = 0;
    for name in &names {
        saved += usize::from(site.open().show(name).await.unwrap().saved.is_some());
    }
    assert_eq!(saved, 2, "each has room that comes before");
    assert!(site.open().verify().await.unwrap().problems.is_empty());
}

#[tokio::test]
async fn a_link_above_the_root_is_saved_and_restored_as_it_is() {
    let site = Site::new("link");
    site.install(&ONE).await.unwrap();
    let name = site.name.as_str();
    docker(&["exec", name, "/bin/busybox", "ln", "-s", "../../etc", "/above"]);
    site.open().save(&[]).await.unwrap();
    site.on_another_image();
    site.open().restore().await.unwrap();
    assert_eq!(docker(&["exec", name, "/bin/busybox", "readlink", "/above"]), "../../etc");
}
