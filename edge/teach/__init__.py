"""Teach an article from clean cloth: fit, calibrate under a budget of false alarms, publish, verify."""
