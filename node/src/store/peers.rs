//! What is remembered of each peer: where it is, what it held, what it signed for.
//!
//! These rows lie in `log.db` too, so that a receipt or a used grant is as durable as the entries
//! of the same transaction. Peers are known by their transport keys, which are pinned before any
//! certificate is seen.

use super::error::StoreError;
use super::ledger::Ledger;
use carnet_sync_protocol::frontier::Frontier;
use carnet_sync_protocol::id::{NodeId, ReceiptId, TransportKey};
use rusqlite::Row;

type Result<T> = std::result::Result<T, StoreError>;

/// How this node came to know a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerOrigin {
    /// By the invitation with which one of the two joined.
    Invitation,
    /// The operator named it.
    Operator,
    /// It called.
    Met,
}

impl PeerOrigin {
    const ALL: [Self; 3] = [Self::Invitation, Self::Operator, Self::Met];
}

/// A peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The key that its link is pinned to.
    pub transport: TransportKey,
    /// The node, once its certificate has been seen.
    pub node: Option<NodeId>,
    /// Its site's name; empty until known.
    pub site: String,
    /// Where it may be reached, best first; without line breaks.
    pub addresses: Vec<String>,
    /// How it came to be known.
    pub origin: PeerOrigin,
    /// When the last sync with it ended; set by [`Ledger::note_sync`] only.
    pub last_sync_ms: Option<u64>,
}

/// A receipt as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredBytes {
    /// The receipt's id.
    pub id: ReceiptId,
    /// When it was signed.
    pub at_ms: u64,
    /// Its encoding.
    pub bytes: Vec<u8>,
}

fn read_peer(row: &Row<'_>) -> rusqlite::Result<Peer> {
    let addresses: String = row.get(3)?;
    let origin: usize = row.get::<_, u8>(4)?.into();
    Ok(Peer {
        transport: TransportKey(row.get(0)?),
        node: row.get::<_, Option<_>>(1)?.map(NodeId),
        site: row.get(2)?,
        addresses: addresses.lines().map(str::to_owned).collect(),
        origin: *PeerOrigin::ALL.get(origin).unwrap_or(&PeerOrigin::Met),
        last_sync_ms: row.get::<_, Option<i64>>(5)?.map(|ms| ms as u64),
    })
}

fn read_receipt(row: &Row<'_>) -> rusqlite::Result<StoredBytes> {
    let at_ms = row.get::<_, i64>(1)? as u64;
    Ok(StoredBytes { id: ReceiptId(row.get(0)?), at_ms, bytes: row.get(2)? })
}

const PEER: &str = "SELECT transport, node, site, addresses, origin, last_sync FROM peers";

impl Ledger {
    /// Every peer, by site.
    pub fn peers(&self) -> Result<Vec<Peer>> {
        self.database.all(&format!("{PEER} ORDER BY site, transport"), [], read_peer)
    }

    /// One peer.
    pub fn peer(&self, transport: &TransportKey) -> Result<Option<Peer>> {
        let sql = format!("{PEER} WHERE transport = ?1");
        self.database.one(&sql, [transport.as_bytes()], read_peer)
    }

    /// Remembers a peer, or what has changed of it; the time of the last sync stays.
    pub fn put_peer(&mut self, peer: &Peer) -> Result<()> {
        let sql = "INSERT INTO peers (transport, node, site, addresses, origin)
                   VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT (transport) DO UPDATE SET node = excluded.node,
                       site = excluded.site, addresses = excluded.addresses,
                       origin = excluded.origin";
        let row = (
            peer.transport.as_bytes(),
            peer.node.as_ref().map(NodeId::as_bytes),
            &peer.site,
            peer.addresses.join("\n"),
            peer.origin as u8,
        );
        self.database.write(sql, row).map(drop)
    }

    /// Forgets a peer; its receipts stay. False when it was not known.
    pub fn remove_peer(&mut self, transport: &TransportKey) -> Result<bool> {
        let key = [transport.as_bytes()];
        self.database.write("DELETE FROM peer_frontiers WHERE transport = ?1", key)?;
        Ok(self.database.write("DELETE FROM peers WHERE transport = ?1", key)? > 0)
    }

    /// Remembers what a peer said that it holds.
    pub fn note_peer_frontier(
        &mut self,
        transport: &TransportKey,
        frontier: &Frontier,
    ) -> Result<()> {
        let bytes = postcard::to_stdvec(frontier).expect("a frontier can be encoded");
        let sql = "INSERT INTO peer_frontiers (transport, frontier) VALUES (?1, ?2)
                   ON CONFLICT (transport) DO UPDATE SET frontier = excluded.frontier";
        self.database.write(sql, (transport.as_bytes(), bytes)).map(drop)
    }

    /// What a peer last said that it holds.
    pub fn peer_frontier(&self, transport: &TransportKey) -> Result<Option<Frontier>> {
        let sql = "SELECT frontier FROM peer_frontiers WHERE transport = ?1";
        let bytes: Option<Vec<u8>> =
            self.database.one(sql, [transport.as_bytes()], |row| row.get(0))?;
        let decode = |bytes: Vec<u8>| {
            postcard::from_bytes(&bytes)
                .map_err(|_| StoreError::corrupt(self.path(), "a peer's frontier is unreadable"))
        };
        bytes.map(decode).transpose()
    }

    /// Remembers that a sync with a peer ended.
    pub fn note_sync(&mut self, transport: &TransportKey, at_ms: u64) -> Result<()> {
        let sql = "UPDATE peers SET last_sync = ?2 WHERE transport = ?1";
        self.database.write(sql, (transport.as_bytes(), at_ms as i64)).map(drop)
    }

    /// Keeps a receipt; the same one twice is kept once.
    pub fn put_receipt(
        &mut self,
        transport: &TransportKey,
        id: &ReceiptId,
        at_ms: u64,
        bytes: &[u8],
    ) -> Result<()> {
        let sql = "INSERT INTO receipts (transport, id, time, bytes) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (transport, id) DO NOTHING";
        let row = (transport.as_bytes(), id.as_bytes(), at_ms as i64, bytes);
        self.database.write(sql, row).map(drop)
    }

    /// The receipt that came last from a peer; clocks do not count.
    pub fn last_receipt(&self, transport: &TransportKey) -> Result<Option<StoredBytes>> {
        let sql = "SELECT id, time, bytes FROM receipts WHERE transport = ?1
                   ORDER BY receipt DESC LIMIT 1";
        self.database.one(sql, [transport.as_bytes()], read_receipt)
    }

    /// The receipts of all peers, the latest first.
    pub fn receipts(&self, limit: usize) -> Result<Vec<(TransportKey, StoredBytes)>> {
        let sql = "SELECT id, time, bytes, transport FROM receipts ORDER BY receipt DESC LIMIT ?1";
        self.database
            .all(sql, [limit as i64], |row| Ok((TransportKey(row.get(3)?), read_receipt(row)?)))
    }

    /// Uses up a one-use grant. False when another node used it before; the same node may ask
    /// again, since it may have missed the answer.
    pub fn use_grant(&mut self, id: &[u8; 16], by: &NodeId, at_ms: u64) -> Result<bool> {
        let sql = "INSERT INTO grants (id, node, time) VALUES (?1, ?2, ?3)
                   ON CONFLICT (id) DO NOTHING";
        self.database.write(sql, (id, by.as_bytes(), at_ms as i64))?;
        Ok(self.grant_used_by(id)? == Some(*by))
    }

    /// Who used a grant.
    pub fn grant_used_by(&self, id: &[u8; 16]) -> Result<Option<NodeId>> {
        let sql = "SELECT node FROM grants WHERE id = ?1";
        self.database.one(sql, [id], |row| Ok(NodeId(row.get(0)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carnet_sync_protocol::frontier::Head;
    use carnet_sync_protocol::id::{Author, Channel, EntryId, Incarnation, LogId, PracticeId};

    fn ledger() -> (tempfile::TempDir, Ledger) {
        let directory = tempfile::tempdir().unwrap();
        let ledger = Ledger::create(&directory.path().join("log.db"), PracticeId([1; 32])).unwrap();
        (directory, ledger)
    }

    fn peer(key: u8) -> Peer {
        Peer {
            transport: TransportKey([key; 32]),
            node: None,
            site: "Sédhiou".into(),
            addresses: vec!["10.0.0.2:7000".into(), "clinic.example:7000".into()],
            origin: PeerOrigin::Invitation,
            last_sync_ms: None,
        }
    }

    #[test]
    fn a_peer_is_remembered_changed_and_forgotten() {
        let (_directory, mut ledger) = ledger();
        let mut known = peer(1);
        ledger.put_peer(&known).unwrap();
        ledger.note_sync(&known.transport, 77).unwrap();
        known.node = Some(NodeId([9; 32]));
        known.addresses.clear();
        ledger.put_peer(&known).unwrap();
        known.last_sync_ms = Some(77);
        assert_eq!(ledger.peers().unwrap(), [known.clone()]);
        assert_eq!(ledger.peer(&known.transport).unwrap(), Some(known.clone()));
        assert!(ledger.remove_peer(&known.transport).unwrap());
        assert!(!ledger.remove_peer(&known.transport).unwrap());
        assert_eq!(ledger.peer(&known.transport).unwrap(), None);
    }

    #[test]
    fn the_last_receipt_is_the_one_that_came_last_whatever_the_clock_says() {
        let (_directory, mut ledger) = ledger();
        let key = TransportKey([1; 32]);
        ledger.put_receipt(&key, &ReceiptId([1; 32]), 900, b"one").unwrap();
        ledger.put_receipt(&key, &ReceiptId([2; 32]), 100, b"two").unwrap();
        ledger.put_receipt(&key, &ReceiptId([1; 32]), 900, b"one").unwrap();
        let last = ledger.last_receipt(&key).unwrap().unwrap();
        assert_eq!((last.id, last.bytes), (ReceiptId([2; 32]), b"two".to_vec()));
        assert_eq!(ledger.receipts(10).unwrap().len(), 2);
        assert_eq!(ledger.last_receipt(&TransportKey([3; 32])).unwrap(), None);
    }

    #[test]
    fn a_peers_frontier_comes_back_as_it_was() {
        let (_directory, mut ledger) = ledger();
        let author = Author { node: NodeId([2; 32]), incarnation: Incarnation([3; 8]) };
        let log = LogId { channel: Channel::Critical, author };
        let mut frontier = Frontier::default();
        frontier.set(log, vec![Head { sequence: 5, id: EntryId([4; 32]) }]);
        let key = TransportKey([1; 32]);
        assert_eq!(ledger.peer_frontier(&key).unwrap(), None);
        ledger.note_peer_frontier(&key, &frontier).unwrap();
        assert_eq!(ledger.peer_frontier(&key).unwrap(), Some(frontier));
    }

    #[test]
    fn a_grant_is_used_once_though_its_user_may_ask_again() {
        let (_directory, mut ledger) = ledger();
        let (first, second) = (NodeId([1; 32]), NodeId([2; 32]));
        assert!(ledger.use_grant(&[5; 16], &first, 1).unwrap());
        assert!(ledger.use_grant(&[5; 16], &first, 2).unwrap());
        assert!(!ledger.use_grant(&[5; 16], &second, 3).unwrap());
        assert_eq!(ledger.grant_used_by(&[5; 16]).unwrap(), Some(first));
    }
}
