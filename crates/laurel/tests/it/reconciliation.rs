//! `laurel audit reconcile` on a settled world: nothing found where nothing was done, and every corruption named.

mod corruptions;
mod lying;
mod outside;
mod reports;
mod rows;
mod settled;
mod traffic;
