//! The containers that Kubernetes started, found by the kubelet's labels (SONIC.md 7.6).

use std::collections::HashMap;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum};
use bollard::query_parameters::ListContainersOptions;
use switchyard_core::tpc::LABEL;
use switchyard_core::{ContainerId, Instance, Pod};

use crate::{Engine, EngineError};

impl Engine {
    /// The running containers that pods have for this instance. The pause container is none of them.
    ///
    /// A container that has just begun to run may have asked for its turn before the engine lists it as running. Asked
    /// about that one alone, the engine answers once its start is over; `starting` says whether it is asked.
    pub async fn pods(&self, instance: &Instance, starting: bool) -> Result<Vec<Pod>, EngineError> {
        let labels = vec![
            format!("io.kubernetes.container.name={}", instance.container_name()),
            "io.kubernetes.docker.type=container".to_owned(),
        ];
        let options = ListContainersOptions {
            filters: Some(HashMap::from([
                ("label".to_owned(), labels),
                ("status".to_owned(), vec!["running".to_owned(), "created".to_owned()]),
            ])),
            ..ListContainersOptions::default()
        };
        let listed =
            self.docker.list_containers(Some(options)).await.map_err(|error| self.error("", error))?;
        let mut pods = Vec::new();
        for summary in listed.into_iter().filter(|summary| !is_tpc(summary)) {
            let Some(id) = summary.id.as_deref().and_then(|id| ContainerId::parse(id).ok()) else { continue };
            let begun = summary.state != Some(ContainerSummaryStateEnum::CREATED);
            if begun || (starting && self.runs(&id).await?) {
                pods.push(Pod { id });
            }
        }
        Ok(pods)
    }

    async fn runs(&self, id: &ContainerId) -> Result<bool, EngineError> {
        match self.inspect(id.as_str()).await {
            Ok(container) => Ok(container.state.and_then(|state| state.running).unwrap_or_default()),
            Err(EngineError::NoSuchContainer(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Stops and removes all containers that a kubelet made, their pause containers too. For a switch that is no node any
    /// more: nobody else would.
    pub async fn remove_pods(&self) -> Result<(), EngineError> {
        let options = ListContainersOptions {
            all: true,
            filters: Some(HashMap::from([("label".to_owned(), vec!["io.kubernetes.pod.uid".to_owned()])])),
            ..ListContainersOptions::default()
        };
        let listed =
            self.docker.list_containers(Some(options)).await.map_err(|error| self.error("", error))?;
        let pods = listed.into_iter().filter(|summary| !is_tpc(summary));
        for id in pods.filter_map(|summary| summary.id) {
            self.stop(&id, None).await?;
            self.remove(&id).await?;
        }
        Ok(())
    }

    /// What all containers that run now are called: by their names, and by the first digits of their ids as rows have
    /// them.
    pub async fn running_names(&self) -> Result<Vec<String>, EngineError> {
        let listed = self
            .docker
            .list_containers(None::<ListContainersOptions>)
            .await
            .map_err(|error| self.error("", error))?;
        let names = listed.into_iter().flat_map(|summary| {
            let id = summary.id.as_deref().and_then(|id| ContainerId::parse(id).ok());
            let names = summary.names.unwrap_or_default().into_iter();
            let names = names.map(|name| name.trim_start_matches('/').to_owned());
            names.chain(id.map(|id| id.short().to_string())).collect::<Vec<_>>()
        });
        Ok(names.collect())
    }
}

/// A third-party container inherits whatever labels its image has, those of a kubelet too. It is no pod.
fn is_tpc(summary: &ContainerSummary) -> bool {
    summary.labels.iter().flatten().any(|(key, value)| key == LABEL && !value.is_empty())
}
