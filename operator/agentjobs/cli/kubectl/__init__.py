"""The kubectl plugin: ``kubectl agentjobs …`` runs the program ``kubectl-agentjobs`` on the path."""
