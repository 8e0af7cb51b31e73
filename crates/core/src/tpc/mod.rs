//! Third-party containers: names, sources, arguments, limits and plans, as pure values (seed 004, DESIGN.md section 6).
