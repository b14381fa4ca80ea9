//! Where peers find this node: what it tells in invitations.

use super::node::Node;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;

/// Keeps the addresses of the last run, for invitations that are made while no node runs.
const FILE_NAME: &str = "listening";

/// An address of the documentation range; nothing is ever sent there, the system is only asked by
/// which of its own addresses it would go.
const ELSEWHERE: [(&str, u16); 2] = [("192.0.2.1", 9), ("2001:db8::1", 9)];

/// The addresses that an invitation names: those of the settings, else those of the running node,
/// else those of the last run.
pub fn announced(node: &Node) -> Vec<String> {
    let set = &node.config.sync_announce.value;
    if !set.is_empty() {
        return set.clone();
    }
    match node.started_network().and_then(|network| network.listening()) {
        Some(address) => reachable(address),
        None => remembered(&node.dir),
    }
}

/// An address that others can call. One that stands for every interface becomes the one by which
/// the machine would leave.
pub fn reachable(address: SocketAddr) -> Vec<String> {
    if !address.ip().is_unspecified() {
        return vec![address.to_string()];
    }
    let own = own_addresses();
    let mut reachable: Vec<String> = own
        .into_iter()
        .filter(|own| own.is_ipv4() || address.is_ipv6())
        .map(|own| SocketAddr::new(own, address.port()).to_string())
        .collect();
    if reachable.is_empty() {
        let local = if address.is_ipv4() {
            IpAddr::from([127, 0, 0, 1])
        } else {
            Ipv6Addr::LOCALHOST.into()
        };
        reachable.push(SocketAddr::new(local, address.port()).to_string());
    }
    reachable
}

fn own_addresses() -> Vec<IpAddr> {
    let ask = |(target, port): &(&str, u16)| {
        let any = if target.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect((*target, *port)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    ELSEWHERE.iter().filter_map(ask).collect()
}

/// Keeps the addresses for the time when the node does not run.
pub fn remember(dir: &Path, addresses: &[String]) -> std::io::Result<()> {
    crate::base::file::replace(&dir.join(FILE_NAME), addresses.join("\n").as_bytes())
}

fn remembered(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join(FILE_NAME)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_one_interface_is_told_as_it_is() {
        let address: SocketAddr = "127.0.0.1:4433".parse().expect("an address");
        assert_eq!(reachable(address), ["127.0.0.1:4433"]);
    }

    #[test]
    fn an_address_of_every_interface_becomes_one_that_can_be_called() {
        for text in ["0.0.0.0:4433", "[::]:4433"] {
            let told = reachable(text.parse().expect("an address"));
            assert!(!told.is_empty());
            for address in told {
                let address: SocketAddr = address.parse().expect("an address");
                assert_eq!(address.port(), 4433);
            }
        }
    }

    #[test]
    fn the_last_run_is_remembered() {
        let dir = tempfile::tempdir().expect("a directory");
        assert!(remembered(dir.path()).is_empty());
        remember(dir.path(), &["a:1".to_owned(), "b:2".to_owned()]).expect("kept");
        assert_eq!(remembered(dir.path()), ["a:1", "b:2"]);
    }
}
