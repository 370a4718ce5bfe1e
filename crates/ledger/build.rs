//! A migration that is added makes the schema another, which the compiler would not notice.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
