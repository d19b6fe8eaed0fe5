//! Converts the error of a back end to the error of a Lua call: `nil, text, errno, detail`.

use crate::backend::{self, ErrorParts};
use crate::lua::{self, Failure};

impl From<backend::Error> for lua::Error {
    fn from(error: backend::Error) -> lua::Error {
        let text = error.text().into_owned();
        let ErrorParts { errnum, detail } = error.into();
        let failure = Failure {
            text,
            code: Some(errnum),
            detail,
        };
        failure.into()
    }
}
