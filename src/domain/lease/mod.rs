//! Leases of operators: hosts that one of them keeps for a time or for a connection, and who waits for which hosts.

pub mod claim;
pub mod lease;
pub mod window;
