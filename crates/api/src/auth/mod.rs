//! Who is calling, and what they may do.

mod principal;
mod token;

pub use self::{
    principal::{AuthMode, Principal, Role},
    token::{AuthError, Claims, TokenKey},
};
