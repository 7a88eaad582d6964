"""The Kubernetes side: intake, projector, events, sweeper, leader."""
