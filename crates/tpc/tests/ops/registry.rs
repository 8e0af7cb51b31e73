//! A real registry, from which an installation is killed while the engine has what it pulled.

use switchyard_core::tpc::{Source, SshOptions};
use switchyard_tpc::ops::{InstallRequest, OpsError, Options, SourceRequest};

use crate::cuts::large;
use crate::kills::killed;
use crate::registry_server::Registry;
use crate::site::{Nobody, ONE, Site, docker};

impl Registry {
    /// Publishes a site's image; the engine does not keep it.
    fn publish(&self, site: &Site) -> String {
        let name = format!("{}/{}:1", self.address, site.name);
        docker(&["load", "--quiet", "--input", site.archive(&ONE).to_str().unwrap()]);
        let local = format!("{}:1", site.name);
        docker(&["tag", &local, &name]);
        docker(&["push", "--quiet", &name]);
        docker(&["rmi", &local, &name]);
        name
    }
}

#[tokio::test]
async fn what_was_pulled_goes_with_an_installation_that_was_killed() {
    let (registry, site) = (Registry::start(), Site::new("pull"));
    let name = registry.publish(&site);
    std::fs::write(site.root.join("reference"), &name).unwrap();
    drop(site.open());
    std::fs::write(site.root.join("tpc/.store/lock"), "").unwrap();
    let nothing = site.everything();
    assert!(killed(&site, "install-reference", "pull:after"), "it was not pulled");
    assert_ne!(site.everything(), nothing, "the engine has it now");
    site.open().recover().await.unwrap();
    assert_eq!(site.everything(), nothing);

    install(&site).await.unwrap();
    assert_eq!(site.running().as_deref(), Some("1"));
    let images: Vec<_> = site.everything().into_keys().filter(|name| name.starts_with("image ")).collect();
    assert_eq!(images, [format!("image tpc/{}:latest", site.name)]);
}

#[tokio::test]
async fn a_pull_that_has_no_room_is_given_up_with_the_figures_and_leaves_nothing() {
    let (registry, site) = (Registry::start(), Site::on_a_partition("pulr", 96));
    large(&site, &ONE);
    let name = registry.publish(&site);
    std::fs::write(site.root.join("reference"), &name).unwrap();
    drop(site.open());
    std::fs::write(site.root.join("tpc/.store/lock"), "").unwrap();
    std::fs::create_dir_all(site.root.join("tpc/.store/journal")).unwrap();
    // More than what is in the way of any pull, less than its 24 MB twice.
    site.leave(40);
    let nothing = site.everything();
    let OpsError::NoSpace { what, needed, free, .. } = install(&site).await.unwrap_err() else {
        panic!("it failed otherwise");
    };
    assert_eq!(what, "pulling the image", "needed {needed}, free {free}");
    let megabytes = |text: &str| text.strip_suffix('M').unwrap().parse::<f64>().unwrap();
    assert!(megabytes(&needed) > 64.0 && megabytes(&free) < 41.0, "needed {needed}, free {free}");
    assert_eq!(site.everything(), nothing);
}

/// Installs what the site has a reference to.
pub(crate) async fn install(site: &Site) -> Result<(), OpsError> {
    let reference = std::fs::read_to_string(site.root.join("reference")).unwrap();
    let source = SourceRequest::new(Source::parse(&reference, &SshOptions::default()).unwrap());
    let request = InstallRequest { name: site.name.clone(), source, options: Options::default() };
    site.open().install(request, &mut Nobody).await.map(drop)
}
