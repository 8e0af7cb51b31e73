//! The store `/host/tpc/.store`: layers by digest, images, records, journal.
