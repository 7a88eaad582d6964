"""Schedules: from ScheduledAgentJobs to AgentJobs, each tick once. Decisions are ``agentjobs.schedule``'s."""
