"""Metrics for the four questions of whoever runs a coordinator: is it working, slow, stuck, and what needs me."""
