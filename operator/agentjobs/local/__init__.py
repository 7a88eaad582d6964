"""An embedded Postgres and a local control plane, for `agentjobs local`, the demo and the tests."""
