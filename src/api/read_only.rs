//! Assignments to fields of objects that scripts cannot change.

use std::ffi::CStr;

use crate::api::quote::quoted;
use crate::lua::{Class, Error, Result, State};

/// The body of `__newindex` for such a class. Always raises an error, which says where to
/// keep the value instead. `fields` are the fields of the class.
pub fn refuse_assignment<T: Class, F>(state: State<'_>, fields: &[(&CStr, F)]) -> Result<()> {
    let label = T::info().label;
    if !state.is_object::<T>(1) {
        return Err(Error::expected(state, 1, label));
    }
    let Some(name) = state.bytes(2) else {
        return Err(Error::raise(format!(
            "cannot set an index of a {label}: keep the value in a table of your own"
        )));
    };
    let advice = match fields.iter().any(|(field, _)| field.to_bytes() == name) {
        true => "it can only be read",
        false => "keep the value in a variable or a table of your own",
    };
    let name = quoted(&String::from_utf8_lossy(name));
    Err(Error::raise(format!(
        "cannot set field {name} of a {label}: {advice}"
    )))
}
