//! Databases that no agent follows, for stories about what is written and shown.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::SOON;
use crate::switch::Switch;

/// Databases of our own, on a private socket below a root of their own.
pub(super) struct Private<'a> {
    switch: &'a Switch,
}

pub(super) const ROOT: &str = "/run/lab-config";

pub(super) fn redis(command: &str) -> String {
    format!("redis-cli -s {ROOT}/var/run/redis/redis.sock {command}")
}

impl<'a> Private<'a> {
    pub(super) fn start(switch: &'a Switch) -> Result<Self> {
        let private = Private { switch };
        drop(private.stop());
        switch.ok(&format!(
            "mkdir -p {ROOT}/var/run/redis/sonic-db {ROOT}/etc/sonic {ROOT}/host && cd {ROOT}/var/run/redis
             jq --arg socket $PWD/redis.sock '.INSTANCES.redis = {{hostname: \"127.0.0.1\", unix_socket_path: $socket}}' \
               /var/run/redis/sonic-db/database_config.json > sonic-db/database_config.json
             redis-server --port 0 --unixsocket $PWD/redis.sock --save '' --databases 100 --daemonize yes"
        ))?;
        switch.wait_ok("the private databases are up", SOON, &redis("ping"))?;
        private.set("4 'DEVICE_METADATA|localhost' hostname Leaf-1")?;
        Ok(private)
    }

    fn stop(&self) -> Result<()> {
        self.switch.ok(&format!("{}; rm -rf {ROOT}", redis("shutdown nosave"))).map(drop)
    }

    /// `<database> <row> <field> <value> …`
    pub(super) fn set(&self, what: &str) -> Result<()> {
        let (database, row) = what.split_once(' ').context("no row")?;
        self.switch.ok(&redis(&format!("-n {database} hset {row}"))).map(drop)
    }

    /// The fields of a row, sorted: `field=value …`.
    pub(super) fn row(&self, database: u8, row: &str) -> Result<String> {
        self.switch.ok(&format!(
            "{} | paste -sd '=\\n' | sort | paste -sd ' '",
            redis(&format!("-n {database} hgetall '{row}'"))
        ))
    }

    /// Runs one of our commands there; standard output as it is.
    pub(super) fn ask(&self, command: &str) -> Result<String> {
        let output = self.switch.sh(&format!("SWITCHYARD_ROOT={ROOT} {command}"))?;
        ensure!(output.success() && output.stderr.is_empty(), "{command} said {:?}", output.stderr);
        Ok(output.stdout)
    }

    pub(super) fn prints(&self, command: &str, wanted: &str) -> Result<()> {
        let told = self.ask(command)?;
        ensure!(told == wanted, "{command} should print\n{wanted}\nand printed\n{told}");
        Ok(())
    }

    pub(super) fn json(&self, command: &str) -> Result<Value> {
        let text = self.ask(&format!("{command} -o json"))?;
        serde_json::from_str(&text).with_context(|| format!("{command} prints no JSON: {text}"))
    }

    pub(super) fn does(&self, command: &str) -> Result<()> {
        self.prints(command, "")
    }
}

impl Drop for Private<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("the private databases are still there: {error:#}");
        }
    }
}
