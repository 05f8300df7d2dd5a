//! Programs that must not compile, each beside the one that differs only in what is wrong with
//! the first.
