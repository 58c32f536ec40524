"""The commands on trained runs: evaluate, predict, export."""
