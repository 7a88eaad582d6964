"""ScheduledAgentJobs: children for due ticks, each tick once. The decisions are ``agentjobs.schedule``'s."""
