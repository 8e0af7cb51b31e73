//! The containers that Kubernetes started, found by the kubelet's labels (SONIC.md 7.6).

use std::collections::HashMap;

use bollard::query_parameters::ListContainersOptions;
use switchyard_core::{ContainerId, Instance, Pod};

use crate::{Engine, EngineError};

impl Engine {
    /// The running containers that pods have for this instance. The pause container is none of them.
    pub async fn pods(&self, instance: &Instance) -> Result<Vec<Pod>, EngineError> {
        let labels = vec![
            format!("io.kubernetes.container.name={}", instance.container_name()),
            "io.kubernetes.docker.type=container".to_owned(),
        ];
        let options = ListContainersOptions {
            filters: Some(HashMap::from([
                ("label".to_owned(), labels),
                ("status".to_owned(), vec!["running".to_owned()]),
            ])),
            ..ListContainersOptions::default()
        };
        let listed =
            self.docker.list_containers(Some(options)).await.map_err(|error| self.error("", error))?;
        let ids = listed.into_iter().filter_map(|summary| ContainerId::parse(summary.id.as_deref()?).ok());
        Ok(ids.map(|id| Pod { id }).collect())
    }

    /// The names of all containers that run now, pods' ones by their container name.
    pub async fn running_names(&self) -> Result<Vec<String>, EngineError> {
        let listed = self
            .docker
            .list_containers(None::<ListContainersOptions>)
            .await
            .map_err(|error| self.error("", error))?;
        let name =
            |names: Option<Vec<String>>| names?.first().map(|name| name.trim_start_matches('/').to_owned());
        Ok(listed.into_iter().filter_map(|summary| name(summary.names)).collect())
    }
}
