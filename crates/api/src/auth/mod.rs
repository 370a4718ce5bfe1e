//! Who is calling, and what they may do.

mod guard;
mod matrix;
mod principal;
mod token;

pub(crate) use self::guard::with_principal;
pub use self::{
    matrix::{MATRIX, Right, Who},
    principal::{AuthMode, Principal, Role},
    token::{AuthError, Claims, TokenKey},
};
