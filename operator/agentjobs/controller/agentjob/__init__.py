"""AgentJobs: from object to job (intake), from job to status and Events, and one file per policy."""
