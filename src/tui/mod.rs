//! The terminal board: keys in, screens out. It knows pages and nothing else: no sockets, no engine, no clock.

mod body;
pub mod keys;
pub mod model;
pub mod paint;
pub mod screen;
#[cfg(test)]
mod tests;
