//! `onedoor`: argv → command → exit code.

use std::process::ExitCode;

/// Least resident memory per idle connection of the allocators measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    onedoor::cli::main(std::env::args_os())
}
