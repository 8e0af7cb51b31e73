//! What can be typed after `tpcm`: one set of definitions serves parsing, `--help`, man pages and completions.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::args::{Output, VERSION};

/// Installs and manages third-party containers: they stay across reboots and SONiC images, with their data.
#[derive(Debug, Parser)]
#[command(name = "tpcm", version = VERSION, after_help = "\
Examples:
  tpcm install monitor http://server/monitor.tar.gz -y
  tpcm install monitor --protocol sftp --server host --username me /images/monitor.tar.gz
  tpcm install monitor /media/usb/monitor.tar --args '-e LEVEL=info -v data:/var/lib/monitor' --memory 256M
  tpcm install monitor registry.example/monitor:1.2 -y
  tpcm upgrade monitor http://server/monitor-2.tar.gz -y
  tpcm show monitor
  tpcm export --all /media/usb/tpcs.tar     before an ONIE net-install; afterwards: tpcm import

Exit codes: 0 done; 1 failed; 2 wrong arguments; 3 no such container; 4 not confirmed; 5 no permission; 6 database;
7 container engine; 8 refused; 9 another tpcm holds the lock; 10 service does not start or stay up;
11 server or file cannot be reached, or broke off; 12 login refused; 13 server's key or certificate not trusted;
14 not an image, or a hostile archive; 15 wrong digest; 16 no space; 17 limits do not fit; 18 a hook failed;
19 store damaged or written by a newer version; 20 inconsistent: needs a person, tpcm show tells what to do;
21 container arguments refused; 22 a SONiC package; 129, 130, 143 stopped by SIGHUP, SIGINT, SIGTERM and undone.")]
pub(crate) struct Tpcm {
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    pub(crate) output: Output,
    /// Do not wait for another tpcm that is at work
    #[arg(long, global = true)]
    pub(crate) no_wait: bool,
    #[command(subcommand)]
    pub(crate) verb: TpcmVerb,
}

/// What can be done with third-party containers.
#[derive(Debug, Subcommand)]
pub(crate) enum TpcmVerb {
    /// Bring a container onto the switch, and keep it there
    #[command(after_help = "\
Examples:
  tpcm install monitor https://server/monitor.tar.zst --ca /media/usb/ca.pem --sha256 0f3a… -y
  tpcm install monitor scp://me@host/images/monitor.tar.gz --key /root/.ssh/id_ed25519
  tpcm install monitor monitor:latest --username me --password-stdin < password")]
    Install(Install),
    /// Replace a container's image; the old one comes back with its data if the new one does not run
    #[command(after_help = "\
Examples:
  tpcm upgrade monitor http://server/monitor-2.tar.gz -y
  tpcm upgrade monitor registry.example/monitor@sha256:0f3a… --skip_data -y

What was given at install (arguments, limits, order) stays unless it is given again.")]
    Upgrade(Upgrade),
    /// Take a container, its service and its image off the switch
    Uninstall {
        #[command(flatten)]
        name: Name,
        /// Its data below /host/tpc too
        #[arg(long)]
        purge: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// List the containers
    List,
    /// Tell everything about one: source, image, state and since when, limits and their use, history
    Show(Name),
    /// Go back to the version before the last upgrade
    Rollback {
        #[command(flatten)]
        name: Name,
        /// Leave the private volume as it is now, instead of as it was before the upgrade
        #[arg(long = "keep_data", alias = "keep-data")]
        keep_data: bool,
        #[command(flatten)]
        consent: Consent,
    },
    /// Change the limits of a container; it goes on running
    #[command(
        after_help = "Examples:\n  tpcm resources monitor --cpu 50% --memory 512M\n  tpcm resources monitor --disk 2G"
    )]
    Resources {
        #[command(flatten)]
        name: Name,
        #[command(flatten)]
        limits: Limits,
        #[command(flatten)]
        consent: Consent,
    },
    /// Finish or undo what was interrupted; done by every command and at boot by itself
    Recover {
        /// Print what would be finished and what undone, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Check every digest and file of the store against its journal; changes nothing
    Verify,
    /// Remove from the store what no container needs: older versions, states of other SONiC images, cut-off downloads
    Prune(Consent),
    /// Save the writable layers now, as is done before another SONiC image boots
    Save(Save),
    /// Restore containers, services and limits from the store, and start them: what tpcm.service does at boot
    #[command(hide = true)]
    Restore {
        /// Print the plan and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Make what runs agree with CONFIG_DB TPC, and the management VRF's rule with the configuration
    #[command(hide = true)]
    Apply,
    /// As apply, again after each change, until nothing is installed: what tpcm-apply.service does
    #[command(hide = true)]
    Watch,
    /// Run a container until it ends: the main process of its unit
    #[command(hide = true)]
    Run(Name),
    /// Stop a container, as its unit does
    #[command(hide = true)]
    Stop(Name),
    /// Write one container as a docker-save archive, or all with their data for an ONIE net-install
    #[command(
        after_help = "Examples:\n  tpcm export monitor /media/usb/monitor.tar\n  tpcm export --all /media/usb/tpcs.tar"
    )]
    Export(Export),
    /// Bring back what `export --all` wrote
    Import {
        /// The archive
        file: PathBuf,
        #[command(flatten)]
        consent: Consent,
    },
}

/// A third-party container's name.
#[derive(Debug, Clone, Args)]
pub(crate) struct Name {
    /// The container
    pub(crate) name: String,
}

/// Whether it is done, asked about or only told.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Consent {
    /// Do not ask; without a terminal to ask at, nothing is done unless this is given
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Print the plan and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Limits; what is not given is taken from /host/tpc/.store/defaults.json, or stays as it is.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct Limits {
    /// Share of the machine's processors; 20% unless said otherwise
    #[arg(long, value_name = "PERCENT")]
    pub(crate) cpu: Option<String>,
    /// Memory, such as 256M
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Private volume and writable layer together, such as 1G
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk: Option<String>,
}

/// Which protocol a path on a server is fetched by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// The protocol of scp
    Scp,
    /// The protocol of sftp
    Sftp,
}

/// Where an image comes from.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Source")]
pub(crate) struct From {
    /// http(s)://, scp:// or sftp:// URL, path on this switch or, with --protocol, on the server, or image[:tag|@digest]
    pub(crate) source: String,
    /// Fetch the path from a server
    #[arg(long, value_enum, requires = "server")]
    pub(crate) protocol: Option<Protocol>,
    /// The server
    #[arg(long, requires = "protocol", value_name = "HOST")]
    pub(crate) server: Option<String>,
    /// Its port, if it is not the usual one
    #[arg(long, requires = "server", value_name = "PORT")]
    pub(crate) port: Option<u16>,
    /// Who logs in: at the server, or at the registry
    #[arg(long, value_name = "USER")]
    pub(crate) username: Option<String>,
    /// The password; everybody on the switch can read it in the list of processes while the command runs
    #[arg(long, conflicts_with_all = ["password_stdin", "key"], value_name = "PASSWORD")]
    pub(crate) password: Option<String>,
    /// Read the password from standard input
    #[arg(long, conflicts_with = "key")]
    pub(crate) password_stdin: bool,
    /// Log in with this private key
    #[arg(long, value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,
    /// The known keys of servers; ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts unless said otherwise
    #[arg(long, value_name = "FILE")]
    pub(crate) known_hosts: Option<PathBuf>,
    /// Trust the authorities in this file instead of those of the switch
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,
    /// Accept any certificate, and send a password in the clear
    #[arg(long)]
    pub(crate) insecure: bool,
    /// Fetch through this interface only, such as eth0
    #[arg(long, value_name = "INTERFACE")]
    pub(crate) interface: Option<String>,
    /// What the file's digest must be
    #[arg(long, value_name = "HEX")]
    pub(crate) sha256: Option<String>,
}

/// How the container is made and run.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Container")]
pub(crate) struct Make {
    /// Further arguments of `docker create`, in one word
    #[arg(long, value_name = "ARGUMENTS", allow_hyphen_values = true)]
    pub(crate) args: Option<String>,
    /// Leave out the volume that all share, /tpc_shared
    #[arg(long)]
    pub(crate) no_shared: bool,
    /// Start after this feature; may be given several times
    #[arg(long, value_name = "FEATURE")]
    pub(crate) after: Vec<String>,
    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// `tpcm install`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Install {
    #[command(flatten)]
    pub(crate) name: Name,
    #[command(flatten)]
    pub(crate) from: From,
    #[command(flatten)]
    pub(crate) make: Make,
    #[command(flatten)]
    pub(crate) consent: Consent,
}

/// `tpcm upgrade`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Upgrade {
    #[command(flatten)]
    pub(crate) install: Install,
    /// Neither run hooks nor carry the backup over
    #[arg(long = "skip_data", alias = "skip-data")]
    pub(crate) skip_data: bool,
}

/// `tpcm save`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Save {
    /// Only if the next boot is another SONiC image
    #[arg(long)]
    pub(crate) if_next_boot_differs: bool,
    /// Print the plan and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// `tpcm export`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Export {
    /// Everything: containers, images, data, settings
    #[arg(long)]
    pub(crate) all: bool,
    /// The container, unless all are written, and where the archive is written; there must be no such file yet
    #[arg(required = true, num_args = 1..=2, value_names = ["NAME", "FILE"])]
    pub(crate) what: Vec<String>,
    /// Print the plan and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}
