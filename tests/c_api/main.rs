//! The C boundary, from C: the header, the exported symbols, and programs in C99 and C++11 against both libraries.

mod build;
mod examples;
mod header;
mod mpi;
mod programs;
