"""Schedules: cron texts, time zones and policies, as pure decisions with the time passed in."""
