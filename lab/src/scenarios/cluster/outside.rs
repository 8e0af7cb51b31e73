//! A switch that belongs to no cluster and was never told of one, and what stories say to it and hear from it on its way
//! into one and out of it.

use anyhow::{Context, Result, ensure};

use super::member::{KNOBS, Member, SOON};
use crate::cluster::{Cluster, Invitation};
use crate::command::Output;
use crate::switch::{Moment, Switch};

/// What SONiC and its administrators may have put there, and what must be left alone.
const NOT_OURS: [(&str, &str); 3] = [
    ("/etc/sonic/kube_admin.conf", "# SONiC's\n"),
    ("/etc/cni/net.d/10-flannel.conflist", "{}\n"),
    ("/etc/systemd/system/kubelet.service.d/10-kubeadm.conf", "[Service]\nEnvironment=SONIC=1\n"),
];

/// What makes a switch a node. The globs are the shell's.
const OURS: &str = "/etc/systemd/system/kubelet.service.d/10-switchyard.conf /etc/kubernetes/kubelet.conf \
    /etc/kubernetes/bootstrap-kubelet.conf /etc/kubernetes/ca.crt /var/lib/kubelet/config.yaml \
    /var/lib/kubelet/pki/kubelet-client* /host/switchyard/kubernetes/token \
    /host/switchyard/kubernetes/kubelet-client.pem /host/switchyard/kubernetes/ca.crt";

/// Tells a story on a switch that is no member. Whether it is one afterwards is the story's.
pub(super) fn outside(switch: &Switch, story: impl FnOnce(&Member<'_>) -> Result<()>) -> Result<()> {
    let member = Member { cluster: Cluster::up()?, switch };
    let told = member.settle(KNOBS).and_then(|()| member.go_out()).and_then(|()| story(&member));
    let told = told.with_context(|| member.now().unwrap_or_default());
    told.and(member.tidy().context("and it was not tidied up"))
}

impl Member<'_> {
    fn go_out(&self) -> Result<()> {
        self.switch.ok("switchyard config kubernetes reset --force --timeout 100 &&
            sonic-db-cli CONFIG_DB DEL 'KUBERNETES_MASTER|SERVER' > /dev/null &&
            find /host/switchyard/kubernetes -type f -delete")?;
        self.is_forgotten()
    }

    /// As an administrator of the cluster does.
    pub(super) fn delete_node(&self) -> Result<()> {
        self.cluster.kubectl_ok(&["delete", "node", self.switch.name(), "--ignore-not-found"]).map(drop)
    }

    /// Has the cluster forget a switch that has left. Of a Node that is gone nobody confirms the end of its pods; the
    /// garbage collector does, in a minute, and a kubelet that comes back before that stumbles over them.
    pub(super) fn is_forgotten(&self) -> Result<()> {
        self.delete_node()?;
        let here = format!("--field-selector=spec.nodeName={}", self.switch.name());
        let pods = ["delete", "pods", "--all-namespaces", &here, "--force", "--grace-period=0"];
        self.cluster.kubectl_ok(&pods).map(drop)
    }

    /// `config kubernetes server <field> <value>`.
    pub(super) fn server(&self, field: &str, value: &str) -> Result<()> {
        self.switch.ok(&format!("switchyard config kubernetes server {field} '{value}'")).map(drop)
    }

    /// Gives the switch a token, as a careful person does.
    pub(super) fn give_token(&self, token: &str) -> Result<()> {
        self.switch.write("/root/token", token)?;
        self.switch
            .ok("chmod 600 /root/token
                switchyard config kubernetes server token --token-file /root/token; code=$?
                rm /root/token; exit $code")
            .map(drop)
    }

    /// Points the switch at a server, and at no other in between. It tries to join at once.
    pub(super) fn point_to(&self, host: &str, port: u16) -> Result<()> {
        let row = format!("sonic-db-cli CONFIG_DB HSET 'KUBERNETES_MASTER|SERVER' ip '{host}' port {port}");
        self.switch.ok(&row).map(drop)
    }

    /// As [`Member::point_to`], at the right one.
    pub(super) fn point_home(&self) -> Result<()> {
        let Invitation { address, port, .. } = self.cluster.invitation()?;
        self.point_to(&address, port)
    }

    /// Lets a name of the switch's own mean the API server's address.
    pub(super) fn call_server(&self, name: &str) -> Result<()> {
        let address = self.cluster.invitation()?.address;
        let line = format!("{address} {name}");
        self.switch.ok(&format!("grep -qx '{line}' /etc/hosts || echo '{line}' >> /etc/hosts")).map(drop)
    }

    /// Waits until STATE_DB gives this reason, and insists that `show kubernetes status` does too.
    pub(super) fn wait_reason(&self, reason: &str) -> Result<()> {
        let script = "sonic-db-cli STATE_DB HGET 'KUBERNETES_MASTER|SERVER' reason";
        let mut last = String::new();
        self.switch
            .wait_until(&format!("the reason is {reason:?}"), SOON, || {
                self.switch.ok(script)?.clone_into(&mut last);
                Ok(last.contains(reason))
            })
            .with_context(|| format!("it last was {last:?}"))?;
        self.shows(reason)
    }

    /// Insists that `show kubernetes status` says this.
    pub(super) fn shows(&self, words: &str) -> Result<()> {
        let page = self.switch.ok("switchyard show kubernetes status")?;
        ensure!(page.contains(words), "the status should say {words:?}: {page}");
        Ok(())
    }

    /// Insists that the doctor finds this, and finds everything there or something missing.
    pub(super) fn doctor(&self, all_there: bool, finding: &str) -> Result<()> {
        let output = self.switch.sh("switchyard doctor")?;
        ensure!(output.success() == all_there, "the doctor ended with {}: {}", output.status, output.stdout);
        let line = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ").contains(finding);
        ensure!(output.stdout.lines().any(line), "the doctor should say {finding:?}: {}", output.stdout);
        Ok(())
    }

    /// `config kubernetes reset`, however it ends.
    pub(super) fn reset(&self, arguments: &str) -> Result<Output> {
        self.switch.sh(&format!("switchyard config kubernetes reset --timeout 100 {arguments}"))
    }

    /// A field of the Node; empty if there is none.
    pub(super) fn node(&self, path: &str) -> Result<String> {
        let path = format!("jsonpath={{{path}}}");
        self.cluster.kubectl_ok(&["get", "node", self.switch.name(), "--ignore-not-found", "--output", &path])
    }

    /// Waits until a label of the Node has this value; an empty one: until it is gone.
    pub(super) fn wait_label(&self, key: &str, value: &str) -> Result<()> {
        let path = format!(".metadata.labels.{}", key.replace('.', "\\."));
        let mut last = String::new();
        self.switch
            .wait_until(&format!("the label {key} is {value:?}"), SOON, || {
                self.node(&path)?.clone_into(&mut last);
                Ok(last == value)
            })
            .with_context(|| format!("it last was {last:?}"))
    }

    /// The process number of a unit.
    pub(super) fn pid(&self, unit: &str) -> Result<String> {
        self.switch.ok(&format!("systemctl show --property MainPID --value {unit}"))
    }

    /// Puts files there that are none of ours.
    pub(super) fn put_foreign_files(&self) -> Result<()> {
        for (path, content) in NOT_OURS {
            self.switch.ok(&format!("mkdir -p \"$(dirname {path})\""))?;
            self.switch.write(path, content)?;
        }
        self.switch.ok("systemctl daemon-reload").map(drop)
    }

    /// Insists that nothing on the switch makes it a node, and that what is not ours is untouched.
    pub(super) fn has_left(&self) -> Result<()> {
        let left = self.switch.ok(&format!("ls -d {OURS} 2> /dev/null || true"))?;
        ensure!(left.is_empty(), "left behind: {left}");
        // One that ended with another code than 0 has failed, and does not run either.
        let kubelet = self.switch.ok("systemctl show --property ActiveState --value kubelet")?;
        ensure!(["inactive", "failed"].contains(&kubelet.as_str()), "the kubelet is {kubelet}");
        let pods = self.switch.ok("docker ps --all --quiet --filter label=io.kubernetes.pod.uid")?;
        ensure!(pods.is_empty(), "containers of pods are left: {pods}");
        for (path, content) in NOT_OURS {
            let there = self.switch.ok(&format!("[ ! -e {path} ] || cat {path}"))?;
            ensure!(there.is_empty() || there == content.trim(), "{path} is now {there:?}");
        }
        Ok(())
    }

    /// Tells a story in which nobody but the membership may be disturbed: no local container, not the agent itself. Of
    /// these secrets nothing may show anywhere.
    pub(super) fn undisturbed(&self, secrets: &[&str], story: impl FnOnce() -> Result<()>) -> Result<()> {
        let containers = "docker ps --no-trunc --format '{{.ID}} {{.Names}}' | grep -v ' k8s_' | sort";
        let (since, pid) = (self.switch.now()?, self.pid("ctrmgrd")?);
        let before = self.switch.ok(containers)?;
        story()?;
        ensure!(self.pid("ctrmgrd")? == pid, "the agent is another process than before");
        let after = self.switch.ok(containers)?;
        ensure!(before == after, "local features were touched: before {before}\nafter {after}");
        self.switch.wait_features()?;
        self.no_secret(&since, secrets)
    }

    fn no_secret(&self, since: &Moment, secrets: &[&str]) -> Result<()> {
        let journal = self.switch.journal(since)?;
        let rows = self.switch.ok("for number in 4 6; do
              for key in $(redis-cli -s /run/redis/redis.sock -n $number KEYS 'KUBE*'; \
                           redis-cli -s /run/redis/redis.sock -n $number KEYS 'FEATURE*'); do
                redis-cli -s /run/redis/redis.sock -n $number HGETALL \"$key\"
              done
            done; switchyard show kubernetes status; switchyard show kubernetes server config
            switchyard show kubernetes server status -o wide; switchyard doctor; true")?;
        ensure!(!journal.contains("panicked"), "somebody panicked: {journal}");
        for secret in secrets {
            // Its second part is the secret; the first is its public name.
            let secret = secret.split_once('.').map_or(*secret, |(_, secret)| secret);
            for (place, text) in [("the journal", &journal), ("rows and commands", &rows)] {
                let line = text.lines().find(|line| line.contains(secret));
                ensure!(line.is_none(), "a secret stands in {place}: {line:?}");
            }
        }
        Ok(())
    }

    /// How often the agent has said this since then.
    pub(super) fn times_logged(&self, since: &Moment, words: &str) -> Result<usize> {
        let log = self.switch.journal_of(since, "--identifier=switchyard")?;
        Ok(log.lines().filter(|line| line.contains(words)).count())
    }

    /// Waits until the agent has said this since then: it says in rows first what it logs.
    pub(super) fn wait_logged(&self, since: &Moment, words: &str) -> Result<()> {
        self.switch
            .wait_until(&format!("the log says {words:?}"), SOON, || Ok(self.times_logged(since, words)? > 0))
    }

    /// The same, and insists that it said so once.
    pub(super) fn is_logged_once(&self, since: &Moment, words: &str) -> Result<()> {
        self.wait_logged(since, words)?;
        let times = self.times_logged(since, words)?;
        ensure!(times == 1, "{words:?} was said {times} times");
        Ok(())
    }
}
