//! One switch: its databases, opened when first needed, and the rows that Switchyard reads and writes in them.
//!
//! FEATURE configuration, labels and the Kubernetes server are the host's; what is recorded of an instance stands in
//! the database of its namespace (SONIC.md 1.3), under the name of the feature.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    time::{Duration, Instant},
};

use switchyard_core::{AsicId, FeatureConfig, FeatureName, FeatureState, Instance, RowChange, Version};

use crate::server::STATIC_PODS;
use crate::{
    Changes, Db, DbConfig, Fields, Paths, SonicError,
    changes::Channel,
    global::Global,
    parse_config, parse_state,
    rows::boolean_of,
    watch::{Kind, Source, Watch},
    write,
};

pub(crate) const CONFIG: &str = "CONFIG_DB";
pub(crate) const STATE: &str = "STATE_DB";
const FEATURE: &str = "FEATURE";
pub(crate) const SERVER_TABLE: &str = "KUBERNETES_MASTER";
pub(crate) const SERVER_KEY: &str = "SERVER";
pub(crate) const LABELS_TABLE: &str = "KUBE_LABELS";
pub(crate) const LABELS_KEY: &str = "SET";
pub(crate) const INITIALIZED: &str = "CONFIG_DB_INITIALIZED";

/// The databases of one switch.
pub struct Switch {
    paths: Paths,
    pub(crate) host: DbConfig,
    global: Global,
    open: BTreeMap<(Option<AsicId>, &'static str), Db>,
}

/// The keys of CONFIG_DB's FEATURE table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureKeys {
    /// The features, in natural order.
    pub names: Vec<FeatureName>,
    /// Keys that cannot be the name of a feature; somebody should look at them.
    pub strange: Vec<String>,
}

impl Switch {
    /// Finds the databases. Nothing is connected yet.
    pub fn open(paths: Paths) -> Result<Self, SonicError> {
        let host = DbConfig::load(&paths.database_config())?;
        let global = Global::load(&paths.database_global())?;
        Ok(Self { paths, host, global, open: BTreeMap::new() })
    }

    /// As [`Switch::open`], for use at boot: waits until the files are there and whole, in all namespaces. After half a
    /// minute one that is not is no reason to do without the others.
    ///
    /// They lie in several directories that may not exist yet, so there is nothing to hang a watch on; SONiC's own
    /// start-up scripts look again and again for so long, too.
    pub fn open_waiting(paths: &Paths) -> Result<Self, SonicError> {
        Self::open_when(paths, |switch| {
            switch.global.namespaces().try_for_each(|asic| switch.config_of(Some(asic)).map(drop))
        })
    }

    /// As [`Switch::open_waiting`], inside an image: the files of other namespaces may not be mounted there.
    pub fn open_waiting_inside(paths: &Paths) -> Result<Self, SonicError> {
        Self::open_when(paths, |_| Ok(()))
    }

    fn open_when(paths: &Paths, whole: impl Fn(&Self) -> Result<(), SonicError>) -> Result<Self, SonicError> {
        const WAIT_MAX: Duration = Duration::from_secs(30);
        const LOOK_AGAIN: Duration = Duration::from_millis(200);
        let begin = Instant::now();
        loop {
            match Self::open(paths.clone()).and_then(|switch| whole(&switch).map(|()| switch)) {
                Err(SonicError::FileMissing { .. } | SonicError::FileBroken { .. })
                    if begin.elapsed() < WAIT_MAX =>
                {
                    std::thread::sleep(LOOK_AGAIN);
                }
                Err(_) => return Self::open(paths.clone()),
                opened => return opened,
            }
        }
    }

    /// Where the switch keeps its files.
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// How many ASICs the switch has.
    pub fn asics(&self) -> u8 {
        self.global.asics()
    }

    /// All features that are configured.
    pub fn feature_names(&mut self) -> Result<Vec<FeatureName>, SonicError> {
        Ok(self.feature_keys()?.names)
    }

    /// All features that are configured, and the keys beside them that name none.
    pub fn feature_keys(&mut self) -> Result<FeatureKeys, SonicError> {
        let mut keys = FeatureKeys { names: Vec::new(), strange: Vec::new() };
        for key in self.db(None, CONFIG)?.keys(FEATURE)? {
            match FeatureName::parse(&key) {
                Ok(name) => keys.names.push(name),
                Err(_) => keys.strange.push(key),
            }
        }
        keys.names.sort_by_cached_key(|name| natural(name.as_str()));
        Ok(keys)
    }

    /// All instances that have a record, whether their features are configured or not.
    pub fn recorded_instances(&mut self) -> Result<Vec<Instance>, SonicError> {
        let namespaces: Vec<_> = [None].into_iter().chain(self.global.namespaces().map(Some)).collect();
        let mut instances = Vec::new();
        for asic in namespaces {
            let keys = self.db(asic, STATE)?.keys(FEATURE)?;
            let names = keys.iter().filter_map(|key| FeatureName::parse(key).ok());
            instances.extend(names.map(|feature| Instance { feature, asic }));
        }
        Ok(instances)
    }

    /// Whether a feature is configured.
    pub fn has_feature(&mut self, name: &FeatureName) -> Result<bool, SonicError> {
        self.db(None, CONFIG)?.exists(FEATURE, name.as_str())
    }

    /// The configuration of a feature; none if it has no row.
    pub fn feature_config(&mut self, name: &FeatureName) -> Result<Option<FeatureConfig>, SonicError> {
        let fields = self.raw_config(name)?;
        Ok(fields.map(|fields| parse_config(name, &fields)).transpose()?)
    }

    /// What is recorded of an instance; none if it has no row.
    pub fn feature_state(&mut self, instance: &Instance) -> Result<Option<FeatureState>, SonicError> {
        let fields = self.raw_state(instance)?;
        Ok(fields.map(|fields| parse_state(instance, &fields)).transpose()?)
    }

    /// What came of the last enabling or disabling, in `featured`'s words: `enabled`, `disabled` or `failed`.
    pub fn admin_outcome(&mut self, instance: &Instance) -> Result<Option<String>, SonicError> {
        self.db(instance.asic, STATE)?.field(FEATURE, instance.feature.as_str(), "state")
    }

    /// Records that outcome, on the host and in every namespace, as `featured` does.
    pub fn record_admin_outcome(&mut self, name: &FeatureName, outcome: &str) -> Result<(), SonicError> {
        let namespaces: Vec<_> = self.global.namespaces().map(Some).chain([None]).collect();
        for namespace in namespaces {
            self.db(namespace, STATE)?.set(FEATURE, name.as_str(), &[("state", outcome)])?;
        }
        Ok(())
    }

    /// The fields of a feature's configuration as they stand there.
    pub fn raw_config(&mut self, name: &FeatureName) -> Result<Option<Fields>, SonicError> {
        self.db(None, CONFIG)?.row(FEATURE, name.as_str())
    }

    /// The fields of an instance's record as they stand there.
    pub fn raw_state(&mut self, instance: &Instance) -> Result<Option<Fields>, SonicError> {
        self.db(instance.asic, STATE)?.row(FEATURE, instance.feature.as_str())
    }

    /// Writes a change, unless what it rests on is no longer so: then it is false and nothing is written.
    ///
    /// Also false if a server that restarted meanwhile got the change twice; look at the row before trying again.
    pub fn write_state(&mut self, instance: &Instance, change: &RowChange) -> Result<bool, SonicError> {
        let argument = write::argument(change, &crate::version::local_time());
        let db = self.db(instance.asic, STATE)?;
        let key = db.key(FEATURE, instance.feature.as_str());
        db.eval(write::SCRIPT, &key, &argument)
    }

    /// Configures one field of a feature, on the host and in every namespace, as SONiC's `config feature` does.
    pub fn set_feature_field(
        &mut self,
        name: &FeatureName,
        field: &str,
        value: &str,
    ) -> Result<(), SonicError> {
        self.set_feature_fields(name, &[(field, value)])
    }

    /// Configures several fields at once, so that nobody acts on half a row.
    ///
    /// The host's row, which decides, comes last: a failure on the way leaves all as it was for those who ask there.
    pub fn set_feature_fields(
        &mut self,
        name: &FeatureName,
        fields: &[(&str, &str)],
    ) -> Result<(), SonicError> {
        let namespaces: Vec<_> = self.global.namespaces().map(Some).chain([None]).collect();
        for namespace in namespaces {
            self.db(namespace, CONFIG)?.set(FEATURE, name.as_str(), fields)?;
        }
        Ok(())
    }

    /// Configures one field of a feature on the host alone: nowhere else is asked whether its local image may run, or when
    /// it is updated.
    pub fn set_host_feature_field(
        &mut self,
        name: &FeatureName,
        field: &str,
        value: &str,
    ) -> Result<(), SonicError> {
        self.db(None, CONFIG)?.set(FEATURE, name.as_str(), &[(field, value)])
    }

    /// The fields of a feature's configuration in every namespace and on the host, which comes last. Where it has no
    /// row there is none.
    pub fn raw_configs(&mut self, name: &FeatureName) -> Result<Vec<Option<Fields>>, SonicError> {
        let namespaces: Vec<_> = self.global.namespaces().map(Some).chain([None]).collect();
        namespaces.into_iter().map(|asic| self.db(asic, CONFIG)?.row(FEATURE, name.as_str())).collect()
    }

    /// Forgets a feature, on the host and in every namespace.
    pub fn delete_feature(&mut self, name: &FeatureName) -> Result<(), SonicError> {
        let namespaces: Vec<_> = self.global.namespaces().map(Some).chain([None]).collect();
        for namespace in namespaces {
            self.db(namespace, CONFIG)?.delete_row(FEATURE, name.as_str())?;
        }
        Ok(())
    }

    /// Whether pods can come: the Kubernetes API server answered when it was last asked, or the kubelet runs static pods.
    pub fn pods_can_come(&mut self) -> Result<bool, SonicError> {
        for field in ["connected", STATIC_PODS] {
            let word = self.db(None, STATE)?.field(SERVER_TABLE, SERVER_KEY, field)?;
            if boolean_of(STATE, "KUBERNETES_MASTER|SERVER", field, word)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the configuration is loaded. Until then an absent row means nothing (SONIC.md 1.4).
    pub fn config_initialized(&mut self) -> Result<bool, SonicError> {
        // "0" stands there while it loads; the shipped readers let any text pass.
        Ok(self.db(None, CONFIG)?.string(INITIALIZED)?.as_deref() == Some("1"))
    }

    /// The wanted value of a node label.
    pub fn label(&mut self, name: &str) -> Result<Option<String>, SonicError> {
        self.db(None, STATE)?.field(LABELS_TABLE, LABELS_KEY, name)
    }

    /// Which version the local image of an instance has, as its own start-up call said; none if that cannot be told.
    ///
    /// That call knows only the databases that are mounted into its container: those of the instance's namespace.
    pub fn local_version(&mut self, instance: &Instance) -> Result<Option<Version>, SonicError> {
        let field = format!("{}_local", instance.feature);
        let text = self.db(instance.asic, STATE)?.field(LABELS_TABLE, LABELS_KEY, &field)?;
        Ok(text.and_then(|text| Version::parse(&text).ok()))
    }

    /// Its local image is another one now, which has not said its version yet.
    pub fn forget_local_version(&mut self, instance: &Instance) -> Result<(), SonicError> {
        let field = format!("{}_local", instance.feature);
        self.db(instance.asic, STATE)?.delete_fields(LABELS_TABLE, LABELS_KEY, &[&field])
    }

    /// Asks for a node label.
    pub fn set_label(&mut self, name: &str, value: &str) -> Result<(), SonicError> {
        self.db(None, STATE)?.set(LABELS_TABLE, LABELS_KEY, &[(name, value)])
    }

    /// Whether the switch is on its way through a warm or fast reboot (SONIC.md 2.7).
    pub fn warm_or_fast_reboot(&mut self) -> Result<bool, SonicError> {
        for (table, row) in [
            ("WARM_RESTART_ENABLE_TABLE", "WARM_RESTART_ENABLE_TABLE|system"),
            ("FAST_RESTART_ENABLE_TABLE", "FAST_RESTART_ENABLE_TABLE|system"),
        ] {
            let word = self.db(None, STATE)?.field(table, "system", "enable")?;
            if boolean_of(STATE, row, "enable", word)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Hears of changes to whatever a decision about this instance may rest on. Read the rows after this returns:
    /// no change is missed then. Needs a tokio runtime.
    pub async fn changes(&self, instance: &Instance) -> Result<Changes, SonicError> {
        let host_state = self.host.address(STATE)?.clone();
        let host_config = self.host.address(CONFIG)?.clone();
        let own_config = self.config_of(instance.asic)?;
        let own_state = own_config.as_ref().unwrap_or(&self.host).address(STATE)?.clone();
        let feature = instance.feature.as_str();
        let channels = vec![
            Channel::of(&own_state, &own_state.key(FEATURE, feature)),
            Channel::of(&host_config, &host_config.key(FEATURE, feature)),
            Channel::of(&host_config, INITIALIZED),
            Channel::of(&host_state, &host_state.key(SERVER_TABLE, SERVER_KEY)),
        ];
        Changes::subscribe(channels).await
    }

    /// Hears of changes to what is said of the Kubernetes server. Read it after this returns. Needs a tokio runtime.
    pub async fn server_changes(&self) -> Result<Changes, SonicError> {
        let state = self.host.address(STATE)?.clone();
        let key = state.key(SERVER_TABLE, SERVER_KEY);
        Changes::subscribe(vec![Channel::of(&state, &key)]).await
    }

    /// Hears of changes to anything that a decision about any feature may rest on. Look at everything after this
    /// returns: no change is missed then. Needs a tokio runtime.
    pub async fn watch(&self) -> Result<Watch, SonicError> {
        let mut sources = vec![
            Source { address: self.host.address(CONFIG)?.clone(), asic: None, kind: Kind::Config },
            Source { address: self.host.address(STATE)?.clone(), asic: None, kind: Kind::State },
        ];
        for asic in self.global.namespaces() {
            let config = DbConfig::load(self.global.database_config(asic)?)?;
            let address = config.address(STATE)?.clone();
            sources.push(Source { address, asic: Some(asic), kind: Kind::State });
        }
        Watch::subscribe(sources).await
    }

    pub(crate) fn db(&mut self, asic: Option<AsicId>, name: &'static str) -> Result<&mut Db, SonicError> {
        let is_open = self.open.contains_key(&(asic, name));
        let config = if is_open { None } else { self.config_of(asic)? };
        match self.open.entry((asic, name)) {
            Entry::Occupied(open) => Ok(open.into_mut()),
            Entry::Vacant(place) => {
                let address = config.as_ref().unwrap_or(&self.host).address(name)?;
                Ok(place.insert(Db::open(address)?))
            }
        }
    }

    /// The database configuration of a namespace; none for the host's, which is at hand.
    fn config_of(&self, asic: Option<AsicId>) -> Result<Option<DbConfig>, SonicError> {
        asic.map(|asic| DbConfig::load(self.global.database_config(asic)?)).transpose()
    }
}

/// A sort key under which `ethernet9` comes before `ethernet10`, as in SONiC's own tables.
fn natural(text: &str) -> Vec<(String, u64)> {
    let mut parts: Vec<(String, u64)> = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, tail) = rest.split_at(word);
        let digits = tail.find(|c: char| !c.is_ascii_digit()).unwrap_or(tail.len());
        let (digits, tail) = tail.split_at(digits);
        parts.push((word.to_owned(), digits.parse().unwrap_or(0)));
        rest = tail;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn names_with_numbers_sort_as_people_count() {
        let mut names = ["p10", "bgp", "p4rt", "p4", "acms", "p", "pmon", "dhcp_relay", "p04"];
        names.sort_by_cached_key(|name| natural(name));
        assert_eq!(names, ["acms", "bgp", "dhcp_relay", "p", "p4", "p04", "p4rt", "p10", "pmon"]);
    }
}
