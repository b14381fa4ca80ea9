//! The one door to the charts.
