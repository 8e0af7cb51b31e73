//! Image archives: told apart by content, read as hostile input, written into the store.
