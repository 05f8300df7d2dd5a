// What is planted for the checks of `model/ends.rs`.
const BUGS_AT_ENDS: &[Bug] = &[];
