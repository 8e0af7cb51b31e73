//! Which of the switch's own addresses the API server sees.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::{UdpSocket, lookup_host};

use crate::address::ServerAddress;
use crate::error::{ClusterError, one_line};
use crate::https::{CALL_MAX, within};

/// The address from which the kernel would speak to the API server: the node's address. Nothing is sent.
///
/// SONiC's fixed `--node-ip=::` breaks switches with IPv4-only management (buildimage #27353).
pub async fn local_address_towards(server: &ServerAddress) -> Result<IpAddr, ClusterError> {
    within(server, CALL_MAX, async {
        let mut last = "its name resolves to no address".to_owned();
        for address in resolve(server).await? {
            match source_for(address).await {
                Ok(source) => return Ok(source),
                Err(error) => last = one_line(&error.to_string()),
            }
        }
        Err(ClusterError::Unreachable { server: server.clone(), cause: last })
    })
    .await
}

/// The addresses of the server's name.
pub(crate) async fn resolve(server: &ServerAddress) -> Result<Vec<SocketAddr>, ClusterError> {
    let found = lookup_host((server.host(), server.port())).await;
    found.map(Iterator::collect).map_err(|error| ClusterError::Unreachable {
        server: server.clone(),
        cause: one_line(&error.to_string()),
    })
}

async fn source_for(target: SocketAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(target).await?;
    Ok(socket.local_addr()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BI#27353: a fixed `--node-ip=::` broke switches whose management has IPv4 alone.
    #[tokio::test]
    async fn towards_this_machine_it_is_the_loopback_address() {
        let server = |host: &str| ServerAddress::new(host, 6443).unwrap();
        assert_eq!(local_address_towards(&server("127.0.0.1")).await.unwrap(), Ipv4Addr::LOCALHOST);
        let error = local_address_towards(&server("no-such-host.invalid")).await.unwrap_err();
        assert_eq!(error.reason(), "ServerUnreachable");
    }
}
