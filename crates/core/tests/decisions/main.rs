//! What each verb, the gate and the daemon decide, row by row: SONIC.md 3.3 to 3.6, 3.8, 4.2 and 5.5 with their bugs
//! mended, and DESIGN.md section 4. Each case is a situation and the words of what is then done.
//!
//! That the decisions together keep a switch right in any order of events is shown in `tests/model`.

#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod agent;
mod case;
mod gate;
mod native;
mod properties;
mod start;
mod stop;
mod wait;
mod words;
