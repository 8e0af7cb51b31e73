//! What a switch says to API servers and to what is none, each a real TLS server on loopback.

mod discovery;
mod doctor;
mod node;
mod server;
mod watch;
