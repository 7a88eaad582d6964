"""When things are due: cron, time zones and policies as pure decisions."""
