//! carnet-simulations
