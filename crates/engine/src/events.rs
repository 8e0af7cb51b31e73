//! What the engine tells of by itself: containers that begin and end to run.

use std::collections::HashMap;
use std::time::SystemTime;

use bollard::query_parameters::EventsOptions;
use futures_util::{Stream, StreamExt};

use crate::{Engine, EngineError};

/// The kubelet's label for the name that the pod gives the container.
const NAME_IN_POD: &str = "io.kubernetes.container.name";

impl Engine {
    /// The names of containers that begin or end to run, as it happens; of a pod's container the name that the pod gives
    /// it. From now on; look at everything after this returns. Ends with an error when the engine goes away: subscribe anew then, and look at everything.
    pub fn events(&self) -> impl Stream<Item = Result<String, EngineError>> + use<> {
        let filters = HashMap::from([
            ("type".to_owned(), vec!["container".to_owned()]),
            ("event".to_owned(), vec!["start".to_owned(), "die".to_owned()]),
        ]);
        // The engine is asked when the stream is first polled, and tells what happened since this call.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let since = Some(format!("{}.{:09}", now.as_secs(), now.subsec_nanos()));
        let options = EventsOptions { filters: Some(filters), since, ..EventsOptions::default() };
        let engine = self.clone();
        let events = self.docker.events(Some(options));
        events.filter_map(move |event| {
            let told = match event {
                Ok(event) => event.actor.and_then(|actor| name(actor.attributes?)).map(Ok),
                Err(error) => Some(Err(engine.error("", error))),
            };
            std::future::ready(told)
        })
    }
}

fn name(mut attributes: HashMap<String, String>) -> Option<String> {
    attributes.remove(NAME_IN_POD).or_else(|| attributes.remove("name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pods_container_goes_by_the_name_that_the_pod_gives_it() {
        let of = |pairs: &[(&str, &str)]| {
            name(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        assert_eq!(of(&[("name", "snmp")]).as_deref(), Some("snmp"));
        assert_eq!(of(&[("name", "k8s_snmp_x"), (NAME_IN_POD, "snmp")]).as_deref(), Some("snmp"));
        assert_eq!(of(&[]), None);
    }
}
