//! Whatever somebody changes in a sealed repository is noticed.
