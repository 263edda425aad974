//! A host for the unit tests of the core: threads of `std`, short locks that block, memory that is counted and can be
//! made to run out.
