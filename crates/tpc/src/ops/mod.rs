//! Operations: journal, steps, recovery; install, upgrade, uninstall, rollback, save, restore.
