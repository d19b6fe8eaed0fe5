//! Tests of the embedded broker: it must answer as a real broker does. The tests
//! are in the modules below, one for each subject; this file has the helpers
//! that they share.

#[path = "embedded/connection.rs"]
mod connection;
#[path = "embedded/growth.rs"]
mod growth;
#[path = "embedded/kvs.rs"]
mod kvs;
#[path = "embedded/loopback.rs"]
mod loopback;
mod measure;
#[path = "embedded/objects.rs"]
mod objects;
#[path = "embedded/routing.rs"]
mod routing;
#[path = "embedded/services.rs"]
mod services;
#[path = "embedded/watch.rs"]
mod watch;

use std::sync::Arc;
use std::time::Duration;

use flux::backend::embedded;
use flux::backend::{Future, Handle, Match, Message, NODEID_ANY, Result, msgtype};
use serde_json::{Value, json};

const NOW: Option<Duration> = Some(Duration::ZERO);

/// Opens a handle. Each test names an instance of its own.
fn open(uri: &str) -> Box<dyn Handle> {
    embedded::open(uri).unwrap()
}

/// Sends a request to a rank and returns the answer.
fn call_at(handle: &dyn Handle, nodeid: u32, topic: &str, payload: Value) -> Result<Value> {
    let payload = payload.to_string().into_bytes();
    let future = handle.rpc(topic, Some(&payload), nodeid, 0)?;
    answer(&*future)
}

/// Sends a request to any rank and returns the answer.
fn call(handle: &dyn Handle, topic: &str, payload: Value) -> Result<Value> {
    call_at(handle, NODEID_ANY, topic, payload)
}

/// Waits for a future and returns its payload as JSON: null if it has none.
fn answer(future: &dyn Future) -> Result<Value> {
    let payload = future.payload()?;
    Ok(payload.map_or(Value::Null, |p| serde_json::from_slice(p).unwrap()))
}

/// The errno of an error, and its text if it has one. Panics if there is no error.
fn failure<T>(result: Result<T>) -> (i32, Option<String>) {
    match result {
        Ok(_) => panic!("the call succeeded, but it must fail"),
        Err(error) => (error.errnum, error.detail.clone()),
    }
}

fn errnum<T>(result: Result<T>) -> i32 {
    failure(result).0
}

/// Removes the next message of these types from the queue, if there is one.
fn take(handle: &dyn Handle, typemask: i32) -> Option<Arc<dyn Message>> {
    match handle.recv(&Match::of(typemask), NOW) {
        Ok(message) => Some(message),
        Err(error) if error.errnum == libc::ETIMEDOUT => None,
        Err(error) => panic!("{error}"),
    }
}

fn topic(message: &dyn Message) -> &str {
    std::str::from_utf8(message.topic().unwrap()).unwrap()
}

fn data(message: &dyn Message) -> Value {
    serde_json::from_slice(message.payload().unwrap()).unwrap()
}

fn take_request(handle: &dyn Handle) -> Option<Arc<dyn Message>> {
    take(handle, msgtype::REQUEST)
}

fn take_event(handle: &dyn Handle) -> Option<Arc<dyn Message>> {
    take(handle, msgtype::EVENT)
}

fn add_service(handle: &dyn Handle, name: &str) -> Result<Value> {
    call(handle, "service.add", json!({ "service": name }))
}
