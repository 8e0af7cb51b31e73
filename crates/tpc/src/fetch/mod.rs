//! Sources: http(s), scp, sftp, local media, a registry.
