//! Tests of the library as a whole, one file for each layer.

mod config;
