"""Schedules without a daemon: what is to run when, written for the scheduler that is there already."""
