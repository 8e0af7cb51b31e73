//! Where an image may come from, and in which form: cases 2 to 6 of seed 004.

use anyhow::{Result, ensure};

use super::{code, make, make_file, refused, runs, show, story, tell, tell_with, tpcm};
use crate::command;
use crate::machine::Machine;
use crate::scenario::Scenario;
use crate::servers::{PASSWORD, Servers, USER};
use crate::switch::Switch;

pub(super) const SCENARIOS: &[Scenario] = &[
    story("tpcm: case 2, installs from an http and an https server", web),
    story("tpcm: case 3, installs from a remote server by scp", scp),
    story("tpcm: case 4, installs from a remote server by sftp", sftp),
    story("tpcm: case 5, installs from a local path, in every form, told apart by content", media),
    story("tpcm: installs from an OCI layout and from archives of one", oci),
    story("tpcm: case 6, installs from a registry, with and without login", registry),
];

/// An image on the servers: its file's name there, which is this switch's alone, and the file's digest.
fn published(servers: &Servers, switch: &Switch) -> Result<(String, String)> {
    let file = make_file(switch, "", "1")?;
    let name = format!("{}.tar", switch.name());
    servers.publish(switch, &file, &name)?;
    Ok((name, switch.ok(&format!("sha256sum {file} | cut -d' ' -f1; rm {file}"))?))
}

fn web(switch: &Switch) -> Result<()> {
    tell_with(switch, |servers| {
        let (file, sum) = published(servers, switch)?;
        let (address, ca) = (&servers.address, servers.give(switch, "ca.crt")?);

        tpcm(switch, &format!("install story http://{address}/{file} -y"))?;
        runs(switch, "story", "1")?;
        let source = show(switch, "story")?["source"].clone();
        ensure!(source == format!("http://{address}/{file}"), "the source is told as {source}");
        tpcm(switch, "uninstall story --purge -y")?;

        let secure = format!("install story https://{address}/{file} -y");
        refused(switch, &secure, code::NOT_TRUSTED, "certificate")?;
        let wrong = "0".repeat(64);
        refused(switch, &format!("{secure} --ca {ca} --sha256 {wrong}"), code::DIGEST, &sum)?;
        tpcm(switch, &format!("{secure} --ca {ca} --sha256 {sum}"))?;
        runs(switch, "story", "1")?;
        tpcm(switch, "uninstall story --purge -y")?;
        tpcm(switch, &format!("{secure} --insecure"))?;
        tpcm(switch, "uninstall story --purge -y")?;

        let private = format!("install story http://{address}/private/{file} -y");
        refused(switch, &private, code::LOGIN, "401")?;
        let login =
            format!("printf '%s\\n' '{PASSWORD}' | tpcm {private} --username {USER} --password-stdin");
        // Everybody on the way could read it.
        let clear = switch.refused(&login)?;
        ensure!(clear.status == code::NOT_TRUSTED, "in the clear: {} {}", clear.status, clear.stderr);
        switch.ok(&format!("{login} --insecure"))?;
        runs(switch, "story", "1")?;
        let told = tpcm(switch, "show story -o json")?;
        ensure!(!told.contains(PASSWORD), "the password is told: {told}");
        ensure!(
            !switch.sh(&format!("grep -rq '{PASSWORD}' /host/tpc"))?.success(),
            "the password is kept on /host"
        );
        tpcm(switch, "uninstall story --purge -y")?;

        refused(switch, &format!("install story http://{address}/none.tar -y"), code::UNREACHABLE, "404")?;
        refused(switch, "install story http://127.0.0.1:9/none.tar -y", code::UNREACHABLE, "127.0.0.1")?;
        // Through the management interface only; one that leads elsewhere is no way.
        tpcm(switch, &format!("install story http://{address}/{file} --interface eth0 -y"))?;
        tpcm(switch, "uninstall story --purge -y")?;
        refused(
            switch,
            &format!("install story http://{address}/{file} --interface none0 -y"),
            code::UNREACHABLE,
            "none0",
        )
        .map(drop)
    })
}

fn scp(switch: &Switch) -> Result<()> {
    ssh(switch, "scp")
}

fn sftp(switch: &Switch) -> Result<()> {
    ssh(switch, "sftp")
}

fn ssh(switch: &Switch, protocol: &str) -> Result<()> {
    tell_with(switch, |servers| {
        let (file, _) = published(servers, switch)?;
        let address = &servers.address;
        let (known, key) = (servers.give(switch, "known_hosts")?, servers.give(switch, "user_key")?);
        let server =
            format!("--protocol {protocol} --server {address} --username {USER} /srv/files/{file} -y");
        let with_password = |line: &str, password: &str| {
            format!("printf '%s\\n' '{password}' | tpcm {line} --password-stdin")
        };

        refused(switch, &format!("install story {server} --key {key}"), code::NOT_TRUSTED, "known_hosts")?;
        let line = format!("install story {server} --known-hosts {known}");
        let wrong = switch.refused(&with_password(&line, "wrong"))?;
        ensure!(wrong.status == code::LOGIN, "a wrong password bears {}: {}", wrong.status, wrong.stderr);

        switch.ok(&with_password(&line, PASSWORD))?;
        runs(switch, "story", "1")?;
        tpcm(switch, "uninstall story --purge -y")?;

        tpcm(switch, &format!("{line} --key {key}"))?;
        runs(switch, "story", "1")?;
        tpcm(switch, "uninstall story --purge -y")?;

        // As a URL, with the known keys where ssh has them, and a password that everybody may see.
        switch.ok(&format!("mkdir -p /root/.ssh && cp {known} /root/.ssh/known_hosts"))?;
        let url = format!("install story {protocol}://{USER}@{address}/srv/files/{file} -y");
        let said = switch
            .sh(&format!("tpcm {url} --password '{PASSWORD}'; code=$?; rm -r /root/.ssh; exit $code"))?;
        ensure!(said.success(), "{protocol} URL ended with {}: {}", said.status, said.stderr);
        ensure!(said.stderr.contains("list of processes"), "no word about --password: {}", said.stderr);
        runs(switch, "story", "1")?;
        tpcm(switch, "uninstall story --purge -y")?;

        let missing = server.replace(&file, "none.tar");
        refused(
            switch,
            &format!("install story {missing} --known-hosts {known} --key {key}"),
            code::UNREACHABLE,
            "none.tar",
        )
        .map(drop)
    })
}

fn media(switch: &Switch) -> Result<()> {
    tell(switch, || {
        make(switch, "", "1")?;
        switch.ok(
            "cd /root && mkdir story && docker save -o story/saved story:1
             id=$(docker create story:1) && docker export -o story/exported \"$id\" && docker rm \"$id\" > /dev/null
             docker rmi story:1 > /dev/null",
        )?;
        for (form, packers) in [("saved", &["gzip", "xz", "zstd"][..]), ("exported", &["gzip"])] {
            pack(switch, &format!("/root/story/{form}"), packers)?;
        }
        for form in ["saved", "saved.as-gzip", "saved.as-xz", "saved.as-zstd", "exported", "exported.as-gzip"]
        {
            let command = if form.starts_with("exported") { "--args '--entrypoint /app'" } else { "" };
            tpcm(switch, &format!("install story /root/story/{form} {command} -y"))?;
            runs(switch, "story", "1")?;
            // The operator's own file stays where it was.
            switch.ok(&format!("test -s /root/story/{form}"))?;
            tpcm(switch, "uninstall story --purge -y")?;
        }
        refused(switch, "install story /root/story/none -y", code::UNREACHABLE, "/root/story/none").map(drop)
    })
}

/// What skopeo and buildah write, made of the one layer and the config of an image that docker saved.
const TO_OCI: &str = r#"set -e; cd /root/story; mkdir -p saved oci/blobs/sha256; tar -xf saved.tar -C saved
blob() { # file: its descriptor with a media type, and the file among the blobs
    digest=$(sha256sum "$1" | cut -d' ' -f1); cp "$1" "oci/blobs/sha256/$digest"
    printf '{"mediaType":"application/vnd.oci.image.%s+%s","digest":"sha256:%s","size":%s}'         "$2" "$3" "$digest" "$(stat -c %s "$1")"
}
gzip < saved/*/layer.tar > layer.gz
config=$(blob saved/$(jq -r '.[0].Config' saved/manifest.json) config.v1 json)
layer=$(blob layer.gz layer.v1.tar gzip)
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":%s,"layers":[%s]}'     "$config" "$layer" > manifest
printf '{"schemaVersion":2,"manifests":[%s]}' "$(blob manifest manifest.v1 json)" > oci/index.json
printf '{"imageLayoutVersion":"1.0.0"}' > oci/oci-layout
tar -C oci -cf oci.tar . ; gzip < oci.tar > oci.packed"#;

fn oci(switch: &Switch) -> Result<()> {
    tell(switch, || {
        make(switch, "-k 400", "1")?;
        switch.ok("mkdir /root/story && docker save -o /root/story/saved.tar story:1 && docker rmi story:1 > /dev/null")?;
        switch.ok(TO_OCI)?;
        let id = switch.ok("sha256sum < /root/story/saved/$(jq -r '.[0].Config' /root/story/saved/manifest.json) | cut -d' ' -f1")?;
        for form in ["oci", "oci.tar", "oci.packed"] {
            tpcm(switch, &format!("install story /root/story/{form} -y"))?;
            runs(switch, "story", "1")?;
            let image = switch.ok("docker inspect --format '{{.Id}}' tpc/story")?;
            ensure!(image == format!("sha256:{id}"), "of {form} became another image: {image}, not {id}");
            tpcm(switch, "uninstall story --purge -y")?;
        }
        // A layer that is not what its name says.
        switch.ok("cd /root/story/oci/blobs/sha256 && tar -cz /etc/hostname > $(ls -S | head -1)")?;
        let line = "install story /root/story/oci -y";
        refused(switch, line, code::DIGEST, "digest")?;
        refused(switch, "install story /root/story/saved -y", code::NOT_AN_IMAGE, "index.json").map(drop)
    })
}

/// Beside a file of the switch, packed by programs that the switch does not have, as `<file>.as-<program>`.
fn pack(switch: &Switch, file: &str, programs: &[&str]) -> Result<()> {
    let copy = Machine::path(&format!("build/{}-pack", switch.name()));
    let packed = copy.with_extension("packed");
    let (copy, packed) = (copy.to_string_lossy(), packed.to_string_lossy());
    switch.copy_out(file, &copy)?;
    for program in programs {
        command::ok("sh", &["-c", "\"$0\" -c \"$1\" > \"$2\"", *program, &*copy, &*packed])?;
        switch.copy_in(&packed, &format!("{file}.as-{program}"))?;
    }
    command::ok("rm", &[&*copy, &*packed]).map(drop)
}

fn registry(switch: &Switch) -> Result<()> {
    tell_with(switch, |servers| {
        make(switch, "", "1")?;
        let (open, closed) = (format!("{}:5000", servers.address), format!("{}:5001", servers.address));
        let login =
            format!("printf '%s' '{PASSWORD}' | docker login --username {USER} --password-stdin {closed}");
        switch.ok(&login)?;
        let digest = switch.ok(&format!(
            "set -e
             for door in {open} {closed}; do
               docker tag story:1 $door/story:1; docker push --quiet $door/story:1 > /dev/null
             done
             docker inspect --format '{{{{index .RepoDigests 0}}}}' {open}/story:1 | cut -d@ -f2
             docker logout {closed} > /dev/null
             docker rmi {open}/story:1 {closed}/story:1 story:1 > /dev/null"
        ))?;

        tpcm(switch, &format!("install story {open}/story:1 -y"))?;
        runs(switch, "story", "1")?;
        let named = switch.ok("docker images --format '{{.Repository}}:{{.Tag}}'")?;
        ensure!(
            !named.contains("/story:1") || !named.contains(&open),
            "a tag from outside is in the engine: {named}"
        );
        tpcm(switch, "uninstall story --purge -y")?;

        tpcm(switch, &format!("install story {open}/story@{digest} -y"))?;
        runs(switch, "story", "1")?;
        let told = show(switch, "story")?["digest"].clone();
        ensure!(told == digest, "the digest is told as {told} instead of {digest}");
        tpcm(switch, "uninstall story --purge -y")?;

        refused(switch, &format!("install story {closed}/story:1 -y"), code::LOGIN, "login")?;
        switch.ok(&format!(
            "printf '%s\\n' '{PASSWORD}' | tpcm install story {closed}/story:1 --username {USER} --password-stdin -y"
        ))?;
        runs(switch, "story", "1")?;
        tpcm(switch, "uninstall story --purge -y")?;

        refused(switch, &format!("install story {open}/story:none -y"), code::UNREACHABLE, "none").map(drop)
    })
}
