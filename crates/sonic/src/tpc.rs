//! Third-party containers in the databases: CONFIG_DB `TPC` enables and limits what is installed, STATE_DB `TPC` tells
//! how it is. A row never installs anything; what is in it is checked by whoever acts on it.

use crate::changes::Channel;
use crate::switch::{CONFIG, INITIALIZED, STATE};
use crate::{Changes, Fields, SonicError, Switch, parse_bool};

const TABLE: &str = "TPC";
const MANAGEMENT_VRF: (&str, &str, &str) = ("MGMT_VRF_CONFIG", "vrf_global", "mgmtVrfEnabled");

impl Switch {
    /// The configured TPCs, each with its row.
    pub fn tpc_configs(&mut self) -> Result<Vec<(String, Fields)>, SonicError> {
        let db = self.db(None, CONFIG)?;
        let mut rows = Vec::new();
        for key in db.keys(TABLE)? {
            // One that is deleted meanwhile is left out.
            if let Some(fields) = db.row(TABLE, &key)? {
                rows.push((key, fields));
            }
        }
        Ok(rows)
    }

    /// Hears of changes to all that is configured about TPCs: their rows, the management VRF, and whether the
    /// configuration is loaded. Read it after this returns. Needs a tokio runtime.
    pub async fn tpc_changes(&self) -> Result<Changes, SonicError> {
        let config = self.host.address(CONFIG)?.clone();
        let keys = [config.key(TABLE, "*"), config.key(MANAGEMENT_VRF.0, MANAGEMENT_VRF.1)];
        let channels = keys.iter().map(String::as_str).chain([INITIALIZED]);
        Changes::subscribe(channels.map(|key| Channel::of(&config, key)).collect()).await
    }

    /// Writes what is configured of a TPC: these fields and no others.
    pub fn set_tpc_config(&mut self, name: &str, fields: &[(&str, String)]) -> Result<(), SonicError> {
        self.replace_tpc(CONFIG, name, fields)
    }

    /// Forgets the configuration of a TPC.
    pub fn delete_tpc_config(&mut self, name: &str) -> Result<(), SonicError> {
        self.db(None, CONFIG)?.delete_row(TABLE, name)
    }

    /// Tells how a TPC is: these fields and no others.
    pub fn set_tpc_state(&mut self, name: &str, fields: &[(&str, String)]) -> Result<(), SonicError> {
        self.replace_tpc(STATE, name, fields)
    }

    /// Tells no more of a TPC.
    pub fn delete_tpc_state(&mut self, name: &str) -> Result<(), SonicError> {
        self.db(None, STATE)?.delete_row(TABLE, name)
    }

    /// Whether the management VRF is configured.
    pub fn management_vrf(&mut self) -> Result<bool, SonicError> {
        let (table, key, field) = MANAGEMENT_VRF;
        let word = self.db(None, CONFIG)?.field(table, key, field)?;
        Ok(word.is_some_and(|word| parse_bool(&word).unwrap_or_default()))
    }

    /// New fields first, so that no reader meets a row with nothing in it.
    fn replace_tpc(
        &mut self,
        database: &'static str,
        name: &str,
        fields: &[(&str, String)],
    ) -> Result<(), SonicError> {
        let db = self.db(None, database)?;
        let pairs: Vec<(&str, &str)> = fields.iter().map(|(field, value)| (*field, value.as_str())).collect();
        db.set(TABLE, name, &pairs)?;
        let row = db.row(TABLE, name)?.unwrap_or_default();
        let others =
            row.keys().map(String::as_str).filter(|field| fields.iter().all(|(ours, _)| ours != field));
        db.delete_fields(TABLE, name, &others.collect::<Vec<_>>())
    }
}
