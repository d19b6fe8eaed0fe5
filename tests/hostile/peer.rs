//! The hostile peer: a service that sends what the topic of a request asks for.
//! A back end says how: `Embedded` sends through the embedded broker, `Raw`
//! through libflux functions that do not check what they send.

use std::sync::Arc;
use std::time::Duration;

use flux::backend::{Handle, Match, Message, NODEID_ANY, embedded, msgtype};

use super::payloads;

/// The credentials in a message that a peer sends.
#[derive(Clone, Copy)]
pub struct Credentials {
    pub userid: u32,
    pub rolemask: u32,
}

pub const GUEST: Credentials = Credentials {
    userid: 12345,
    rolemask: 2,
};

/// A response's header.
#[derive(Clone, Copy, Default)]
pub struct Header {
    pub errnum: i32,
    /// Added to the request's matchtag.
    pub tag_offset: u32,
    pub streaming: bool,
}

/// How a peer receives and sends. The functions that send return false if the
/// back end cannot send such a message.
pub trait Peer {
    type Request;
    fn next(&self) -> Option<(Self::Request, String)>;
    fn respond(&self, request: &Self::Request, header: Header, payload: Option<&[u8]>) -> bool;
    fn event(&self, topic: &[u8], payload: Option<&[u8]>, from: Option<Credentials>) -> bool;
    fn request(&self, topic: &[u8], payload: Option<&[u8]>, from: Option<Credentials>) -> bool;
    fn control(&self) -> bool;
    /// Enters a barrier as a guest, then as the owner.
    fn enter(&self, _name: &str) -> bool {
        false
    }
}

/// Answers requests until none comes any more. Their topics are
/// SERVICE.ROUTE.NAME.NUMBER.VICTIM.
pub fn serve<P: Peer>(peer: &P) {
    while let Some((request, topic)) = peer.next() {
        let mut parts = topic.split('.').skip(1);
        let route = parts.next().unwrap_or_default();
        let name = parts.next().unwrap_or_default();
        let number: i64 = parts.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let victim = parts.next().unwrap_or("nobody");
        if route == "disconnect" {
            continue;
        }
        let is_sent = answer(peer, &request, route, name, number, victim);
        if !is_sent {
            let refusal = Some(&b"this back end has no way to send that"[..]);
            let header = Header {
                errnum: libc::EOPNOTSUPP,
                ..Header::default()
            };
            peer.respond(&request, header, refusal);
        }
    }
}

/// Sends what a request asks for: `route` says what kind of message, `name` and
/// `number` its contents, and `victim` the start of its topic.
fn answer<P: Peer>(
    peer: &P,
    request: &P::Request,
    route: &str,
    name: &str,
    number: i64,
    victim: &str,
) -> bool {
    let plain = Header::default();
    let payload = || payloads::make(name, number as usize);
    // Answers the request after another message was sent.
    let and_answer = |is_sent: bool| is_sent && peer.respond(request, plain, None);
    match route {
        "respond" => peer.respond(request, plain, payload().as_deref()),
        "fail" => {
            let header = Header {
                errnum: number as i32,
                ..plain
            };
            peer.respond(request, header, payloads::error_text(name).as_deref())
        }
        "event" => {
            and_answer(peer.event(event_topic(victim).as_bytes(), payload().as_deref(), None))
        }
        "topic" => {
            let topic = topic(name, victim, number as usize);
            and_answer(peer.event(&topic, Some(b"{}"), None))
        }
        "guest-event" => {
            let topic = event_topic(victim);
            and_answer(peer.event(topic.as_bytes(), Some(b"{}"), Some(GUEST)))
        }
        "request" => {
            let topic = format!("{victim}.hit");
            and_answer(peer.request(topic.as_bytes(), payload().as_deref(), None))
        }
        "request-topic" => {
            let topic = topic(name, victim, number as usize);
            and_answer(peer.request(&topic, Some(b"{}"), None))
        }
        "guest" => {
            let from = Some(GUEST);
            let topic = format!("{victim}.hit");
            and_answer(peer.request(topic.as_bytes(), Some(b"{}"), from))
        }
        "twice" => (0..2).all(|_| peer.respond(request, plain, payload().as_deref())),
        "stranger" => {
            let header = Header {
                tag_offset: 7_000_000,
                ..plain
            };
            peer.respond(request, header, payload().as_deref())
                && peer.respond(request, plain, Some(b"{}"))
        }
        "stream" => {
            let header = Header {
                streaming: true,
                ..plain
            };
            (0..number.max(1)).all(|_| peer.respond(request, header, payload().as_deref()))
        }
        "barrier" => and_answer(peer.enter(name)),
        "control" => and_answer(peer.control()),
        _ => peer.respond(request, plain, Some(b"{}")),
    }
}

fn event_topic(victim: &str) -> String {
    format!("{victim}.event")
}

/// A topic that begins with the victim's name. `name` selects the rest.
fn topic(name: &str, victim: &str, n: usize) -> Vec<u8> {
    let tail = match name {
        "long" => "x".repeat(n),
        "percent" => "%s%n%d".to_owned(),
        "glob" => "*?[a-".to_owned(),
        "control" => "a\x1b[2J\r\nb".to_owned(),
        "prefix" => "event-but-longer".to_owned(),
        _ => name.to_owned(),
    };
    format!("{victim}.{tail}").into_bytes()
}

/// A thread's handles on the victim's embedded instance.
pub struct Embedded {
    owner: Box<dyn Handle>,
    /// Opened with the credentials of another user.
    guest: Box<dyn Handle>,
}

impl Embedded {
    /// `guest` is a handle with the credentials of another user.
    pub fn open(uri: &str, service: &str, guest: Box<dyn Handle>) -> Embedded {
        let owner = embedded::open(uri).expect("an embedded instance opens");
        let name = format!(r#"{{"service":"{service}"}}"#);
        let added = owner.rpc("service.add", Some(name.as_bytes()), NODEID_ANY, 0);
        let added = added.and_then(|future| future.payload().map(|_| ()));
        added.expect("the service's name is free");
        Embedded { owner, guest }
    }

    fn sender(&self, from: Option<Credentials>) -> &dyn Handle {
        match from {
            Some(_) => &*self.guest,
            None => &*self.owner,
        }
    }
}

impl Peer for Embedded {
    type Request = Arc<dyn Message>;

    fn next(&self) -> Option<(Arc<dyn Message>, String)> {
        let wait = Some(Duration::from_secs(3600));
        let request = self.owner.recv(&Match::of(msgtype::REQUEST), wait).ok()?;
        let topic = String::from_utf8_lossy(request.topic()?).into_owned();
        Some((request, topic))
    }

    fn respond(&self, request: &Arc<dyn Message>, header: Header, payload: Option<&[u8]>) -> bool {
        if header.tag_offset != 0 || header.streaming {
            return false;
        }
        if header.errnum == 0 {
            return self.owner.respond(&**request, payload).is_ok();
        }
        match payload.map(std::str::from_utf8).transpose() {
            Ok(text) => self
                .owner
                .respond_error(&**request, header.errnum, text)
                .is_ok(),
            Err(_) => false,
        }
    }

    fn event(&self, topic: &[u8], payload: Option<&[u8]>, from: Option<Credentials>) -> bool {
        let topic = std::str::from_utf8(topic).ok();
        topic.is_some_and(|topic| self.sender(from).send_event(topic, payload).is_ok())
    }

    fn request(&self, topic: &[u8], payload: Option<&[u8]>, from: Option<Credentials>) -> bool {
        let topic = std::str::from_utf8(topic).ok();
        topic.is_some_and(|topic| self.sender(from).send(topic, payload, NODEID_ANY).is_ok())
    }

    fn control(&self) -> bool {
        false
    }

    fn enter(&self, name: &str) -> bool {
        let key = format!("flux-lua.barrier.={name}");
        // Wait until a process has offered to count the barrier's entries.
        let service = (0..30_000).find_map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            let found = self.owner.lookup(Some("primary"), 0, &key).ok()?;
            let value: serde_json::Value = serde_json::from_slice(found.payload().ok()??).ok()?;
            Some(value["service"].as_str()?.to_owned())
        });
        let Some(service) = service else {
            return false;
        };
        let topic = format!("{service}.enter");
        [&self.guest, &self.owner].into_iter().all(|sender| {
            let request = format!(r#"{{"id":"{:p}","nprocs":2}}"#, *sender);
            let sent = sender.send(&topic, Some(request.as_bytes()), NODEID_ANY);
            std::thread::sleep(Duration::from_millis(500));
            sent.is_ok()
        })
    }
}
