"""Train runs that differ only in numbers as one model with stacked weights."""
