//! Who may stay connected. When there is no room for a new connection, the one with the least claim
//! to its place is closed: nobody can lock out clients with a valid token.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::net::IpAddr;
use std::net::Ipv6Addr;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use tokio::sync::Notify;

/// A connection in the order in which connections are closed: those without a valid token first, of
/// these the idle ones first, of these those that nothing is to be read from, and of these the one that
/// has been idle for the longest time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    known: bool,
    busy: bool,
    /// Nobody has looked yet whether the client has sent something.
    fresh: bool,
    turn: u64,
    id: u64,
}

/// What the table has of a connection.
struct Member {
    place: Place,
    /// The peer that the connection counts for; none if that peer has no limit.
    peer: Option<IpAddr>,
    leave: Arc<Notify>,
}

#[derive(Default)]
struct Table {
    turns: u64,
    members: HashMap<u64, Member>,
    places: BTreeSet<Place>,
    /// The connections of each peer that have shown no valid token.
    strangers: HashMap<IpAddr, BTreeSet<Place>>,
}

/// The table of all connections.
pub(crate) struct Admission {
    connections: usize,
    per_peer: usize,
    table: Mutex<Table>,
}

/// A connection in the table. Dropping it frees its place.
pub(crate) struct Guest {
    admission: Arc<Admission>,
    id: u64,
    leave: Arc<Notify>,
}

/// A request that is being answered.
pub(crate) struct Busy(Arc<Guest>);

impl Admission {
    pub(crate) fn new(connections: usize, per_peer: usize) -> Self {
        Self { connections, per_peer, table: Mutex::default() }
    }

    /// Finds a place for a new connection. Returns it, and how many others have lost theirs for it;
    /// none if all others have a better claim.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<(Guest, usize)> {
        let (peer, mut table) = (peer_of(address), self.lock());
        let mut closed = 0;
        let of_peer = peer.and_then(|peer| table.strangers.get(&peer)).filter(|of| of.len() >= self.per_peer);
        if let Some(first) = of_peer.and_then(BTreeSet::first).copied() {
            table.close(first.id);
            closed += 1;
        }
        if table.members.len() >= self.connections {
            let first = table.places.first().filter(|place| !(place.known && place.busy)).copied()?;
            table.close(first.id);
            closed += 1;
        }
        let place = Place { known: false, busy: false, fresh: true, turn: table.turns, id: table.turns };
        table.turns += 1;
        let leave = Arc::new(Notify::new());
        table.insert(Member { place, peer, leave: Arc::clone(&leave) });
        Some((Guest { admission: Arc::clone(self), id: place.id, leave }, closed))
    }

    /// Closes the connection with the least claim, if there is one without a valid token.
    pub(crate) fn make_room(&self) {
        let mut table = self.lock();
        if let Some(first) = table.places.first().filter(|place| !place.known).copied() {
            table.close(first.id);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn insert(&mut self, member: Member) {
        self.places.insert(member.place);
        if let Some(peer) = member.peer.filter(|_| !member.place.known) {
            self.strangers.entry(peer).or_default().insert(member.place);
        }
        self.members.insert(member.place.id, member);
    }

    fn remove(&mut self, id: u64) -> Option<Member> {
        let member = self.members.remove(&id)?;
        self.places.remove(&member.place);
        if let Some(peer) = member.peer
            && let Some(of_peer) = self.strangers.get_mut(&peer)
        {
            of_peer.remove(&member.place);
            if of_peer.is_empty() {
                self.strangers.remove(&peer);
            }
        }
        Some(member)
    }

    fn close(&mut self, id: u64) {
        if let Some(member) = self.remove(id) {
            member.leave.notify_one();
        }
    }

    fn change(&mut self, id: u64, change: impl FnOnce(&mut Place)) {
        let Some(mut member) = self.remove(id) else { return };
        change(&mut member.place);
        member.place.turn = self.turns;
        self.turns += 1;
        self.insert(member);
    }
}

impl Guest {
    /// Notes that the connection has shown a valid token.
    pub(crate) fn trust(&self) {
        self.admission.lock().change(self.id, |place| place.known = true);
    }

    /// Notes that the client has sent nothing so far.
    pub(crate) fn wait(&self) {
        self.admission.lock().change(self.id, |place| place.fresh = false);
    }

    /// Notes that a request has begun, until the returned value is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.admission.lock().change(self.id, |place| place.busy = true);
        Busy(Arc::clone(self))
    }

    /// Waits until the connection has lost its place.
    pub(crate) async fn lost_place(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.admission.lock().remove(self.id);
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let guest = &self.0;
        guest.admission.lock().change(guest.id, |place| place.busy = false);
    }
}

/// Returns the peer that a connection counts for. Clients on this machine may all be behind one
/// proxy, so they have no limit of their own. An IPv6 network gives a machine 2^64 addresses.
fn peer_of(address: IpAddr) -> Option<IpAddr> {
    let address = address.to_canonical();
    match address {
        _ if address.is_loopback() => None,
        IpAddr::V4(_) => Some(address),
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            Some(Ipv6Addr::from_bits(network).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use futures_util::FutureExt;

    use super::*;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn other(last: u8) -> IpAddr {
        Ipv4Addr::new(192, 0, 2, last).into()
    }

    fn has_place(guest: &Guest) -> bool {
        let there = guest.admission.lock().members.contains_key(&guest.id);
        assert_eq!(there, guest.lost_place().now_or_never().is_none());
        there
    }

    fn admit(admission: &Arc<Admission>, address: IpAddr) -> Arc<Guest> {
        Arc::new(admission.admit(address).unwrap().0)
    }

    #[test]
    fn the_least_claim_goes_first() {
        let admission = Arc::new(Admission::new(5, 9));
        let all: Vec<_> = (0..5).map(|_| admit(&admission, LOCAL)).collect();
        let [known_idle, known_busy, busy, first, second] = &all[..] else { panic!() };
        known_idle.trust();
        let _busy = [known_busy.begin(), busy.begin()];
        known_busy.trust();
        // A request that ends puts a connection at the end of its row.
        drop(first.begin());
        let mut newer = Vec::new();
        for gone in [second, first] {
            let guest = admit(&admission, LOCAL);
            assert!(!has_place(gone));
            guest.trust();
            newer.push((guest.begin(), guest));
        }
        assert!(has_place(busy));
        let guest = admit(&admission, LOCAL);
        assert!(!has_place(busy) && has_place(known_idle));
        guest.trust();
        newer.push((guest.begin(), guest));
        let guest = admit(&admission, LOCAL);
        assert!(!has_place(known_idle));
        guest.trust();
        let last = guest.begin();
        assert!(admission.admit(LOCAL).is_none(), "all others are answered with a valid token");
        assert!(has_place(known_busy));
        drop(last);
        drop(guest);
        assert!(admission.admit(LOCAL).is_some());
    }

    #[test]
    fn a_client_that_may_have_sent_something_stays() {
        let admission = Arc::new(Admission::new(2, 9));
        let (fresh, waiting) = (admit(&admission, LOCAL), admit(&admission, LOCAL));
        waiting.wait();
        let _third = admit(&admission, LOCAL);
        assert!(has_place(&fresh) && !has_place(&waiting));
    }

    #[test]
    fn a_peer_loses_its_own_connections_and_not_those_of_others() {
        let admission = Arc::new(Admission::new(9, 2));
        let (one, two, three) =
            (admit(&admission, other(1)), admit(&admission, other(2)), admit(&admission, other(1)));
        let known = admit(&admission, other(1));
        assert!(!has_place(&one) && has_place(&two) && has_place(&three));
        known.trust();
        let _fourth = admit(&admission, other(1));
        assert!(has_place(&three), "a connection with a valid token does not count");
        let local: Vec<_> = (0..4).map(|_| admit(&admission, LOCAL)).collect();
        assert!(local.iter().all(|guest| has_place(guest)));
        drop((two, three, known, local, _fourth, one));
        let table = admission.lock();
        assert!(table.members.is_empty() && table.places.is_empty() && table.strangers.is_empty());
    }

    #[test]
    fn a_network_of_ipv6_is_one_peer() {
        let peer = |text: &str| peer_of(text.parse().unwrap());
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:2"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:192.0.2.1"), Some(other(1)));
        assert_eq!((peer("::1"), peer("127.9.9.9"), peer("::ffff:127.0.0.1")), (None, None, None));
    }
}
