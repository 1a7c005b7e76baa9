//! The planner alone: which actions it gives, at which times, without a driver.
