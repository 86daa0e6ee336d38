#[path = "../tools/mod.rs"]
mod tools;
