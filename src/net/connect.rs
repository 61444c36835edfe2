//! Connections to services, opened through a host.

use std::sync::Arc;

use super::tls::Shaker;
use crate::domain::base::name::bare_address;
use crate::domain::check::seen::Observation;
use crate::domain::inventory::inventory::Endpoint;
use crate::port::{OpenError, Remote, Stream};

/// Why nothing was observed, with the resulting observation.
pub(super) enum Failed {
    Said(Observation),
    /// The service failed to answer.
    Service(String),
}

impl From<OpenError> for Failed {
    fn from(error: OpenError) -> Failed {
        Failed::Said(match error {
            OpenError::Refused(why) => Observation::NoService { why },
            OpenError::Blind(why) => Observation::Blind { why },
            OpenError::NoContact(why) => Observation::NoContact { why },
        })
    }
}

/// Opens connections through hosts, and performs TLS handshakes over them.
pub(super) struct Connector {
    pub remote: Arc<dyn Remote>,
    pub shaker: Shaker,
}

impl Connector {
    pub async fn open(&self, host: &Endpoint, address: &str, port: &str) -> Result<Box<dyn Stream>, Failed> {
        let Ok(port) = port.parse() else {
            return Err(Failed::Said(Observation::Blind { why: format!("{port:?} is no port") }));
        };
        Ok(self.remote.open(host, bare_address(address), port).await?)
    }
}
